"""An open memory of a file, to be looked at: its items, what is shown for a question, its history.

Invariant: what is looked at is what the file holds at that moment, whoever has written it; users never meet: every
statement names its user. Any thread may call any method.
"""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Self

from memrl.agent.database import Database
from memrl.agent.history import Change, History, changes, page, place_of
from memrl.agent.layout import STORES, design_of, name_design
from memrl.agent.once import Once, reply_to
from memrl.agent.states import all_items, open_state
from memrl.agent.stored import Filters, StoredItem, ids_that_match, stored_item, stored_items
from memrl.envs.designs import MemoryDesign, MemoryItem, MemoryView, TokenCounter, count_words
from memrl.envs.designs.searching import with_retrieval
from memrl.envs.retrieval import BM25
from memrl.envs.tools import ToolSchema, clean_text
from memrl.envs.wrappers import open_design
from memrl.envs.wrappers.consolidate import Consolidate, tidying_due
from memrl.envs.wrappers.guard import Apart, OrderGuard
from memrl.errors import Closed, DataError, NotOffered, TooLong

LONGEST_WHY = 1 << 16
"""Characters of a reason."""
LONGEST_NAME = 256
"""Characters of a time, of who asks for a change, and of a user's name."""


class OpenMemory:
    """One user's memory in a file, without what changes it.

    Args:
        path: the file, made where there is none, its owner's alone; or a database that is open already, which `close`
            then closes.
        user: whose; any text of up to LONGEST_NAME characters, or of more where it is in the file already.
        design: of the memory: a name, or an import path, as `memory.design` of a config.
        retrieval, retrieval_options: by which its items are found, as those of a config; the file holds nothing of it.
        wrappers: over it, as `memory.wrappers`.
        budget, core_budget: tokens that it may hold.
        count_tokens: of a text.
        history: how much of it is kept.

    Raises:
        DataError, FormatError, StoreBusy, StoreFailed: as `Database`; DataError also for a name that is none, and for a
            file whose memories are of another design.
        PluginError: the design or the retrieval is unknown, or somebody else's and cannot be imported; or the retrieval
            does not take its options.
    """

    def __init__(
        self,
        path: Path | str | Database,
        user: str = "default",
        *,
        design: str = STORES,
        retrieval: str = BM25,
        retrieval_options: Mapping[str, Any] | None = None,
        wrappers: Sequence[Any] = (),
        budget: int = 2**62,
        core_budget: int = 512,
        count_tokens: TokenCounter = count_words,
        history: History | None = None,
    ) -> None:
        if clean_text(user) != user:
            raise DataError(f"{user[:60]!r} is no name of a user: it holds half a surrogate pair.")
        self.user = user
        self._given = design, tuple(wrappers)
        self._retrieval = retrieval, dict(retrieval_options or {})
        self._core_budget = core_budget
        self._keep = (history or History()).keep
        self._count_tokens = count_tokens
        self._memory = with_retrieval(
            open_design(design, wrappers)(budget, core_budget, count_tokens), *self._retrieval
        )
        stamp = self._memory.snapshot()
        self._version: int = stamp.get("version", 1)
        self.design: str = stamp.get("design") or design
        """As its snapshots name it."""
        self._state = open_state(self._memory, self.design, user)
        self._known: tuple[int, int] | None = None
        """The life and version that the memory is of; None: it must be read."""
        self._guard = threading.RLock()
        """Held while the memory is looked at or changed."""
        self._closed = False
        self._database = path if isinstance(path, Database) else Database(path)
        self.path = self._database.path
        try:
            self._check_name()
            self._check_design()
        except BaseException:
            if self._database is not path:
                self._database.close()
            raise

    def for_user(self, user: str) -> Self:
        """Return another user's memory in the same open file, with the same limits."""
        self._check_open()
        database = self._database.share()
        try:
            return type(self)(
                database,
                user,
                design=self._given[0],
                wrappers=self._given[1],
                retrieval=self._retrieval[0],
                retrieval_options=self._retrieval[1],
                budget=self._memory.budget,
                core_budget=self._core_budget,
                count_tokens=self._count_tokens,
                history=History(self._keep),
            )
        except BaseException:
            database.close()
            raise

    @property
    def tools(self) -> Sequence[ToolSchema]:
        """The tools of its design."""
        return self._memory.tools

    @contextmanager
    def reading(self) -> Iterator[MemoryDesign]:
        """The memory as it is now, to be shown and searched; nobody changes it for as long as the block lasts. What is
        written to it is lost: only `execute` keeps.

        Raises:
            Closed, StoreBusy, StoreFailed, DataError: as the names say.
        """
        with self._guard:
            with self._seen():
                pass
            yield self._memory

    def state(self) -> MemoryDesign:
        """The memory as it is now, for a program that uses this file in one thread; else `reading`."""
        with self.reading() as memory:
            return memory

    @property
    def apart(self) -> list[Apart]:
        """The calls that the wrapper `guard` keeps apart: nobody is shown them. None where the memory has no guard."""
        with self.reading() as memory:
            return memory.apart if isinstance(memory, OrderGuard) else []

    @property
    def tidies(self) -> bool:
        """True for a memory under the wrapper `consolidate`."""
        return isinstance(self._memory, Consolidate)

    def tidying_due(self) -> bool:
        """Return whether the wrapper `consolidate` wants the memory tidied now."""
        with self.reading() as memory:
            return tidying_due(memory)

    def retrieve(self, question: str, budget: int) -> MemoryView:
        """Return what is shown for a question, at most `budget` tokens of it."""
        with self.reading() as memory:
            return memory.retrieve(question, budget)

    @property
    def budget(self) -> int:
        """The tokens that it may hold."""
        return self._memory.budget

    def token_count(self) -> int:
        """Return the tokens that it holds."""
        with self.reading() as memory:
            return memory.token_count()

    @property
    def items(self) -> tuple[MemoryItem, ...]:
        """All items in the order of their ids, the core paragraph first where there is one."""
        with self.reading() as memory:
            return tuple(sorted(all_items(memory), key=place_of))

    def page(self, after: str | None = None, limit: int = 1000) -> tuple[list[MemoryItem], str | None]:
        """Return items in the order of their ids, and the id after which the next page begins (None: there is none).

        Args:
            after: the id after which this page begins; the item may be gone by now.
            limit: items at most; fewer where their texts are long.
        """
        begin = None if after is None else place_of(after)
        rest = (item for item in self.items if begin is None or place_of(item) > begin)
        return page(rest, limit, lambda item: len(item.content), lambda item: item.id)

    def stored(self, item_id: str) -> StoredItem | None:
        """Return an item with its metadata; None: there is none of that id."""
        self._check_open()
        with self._database.reading() as database:
            return stored_item(database, self.user, clean_text(item_id).strip())

    def stored_page(
        self, after: str | None = None, limit: int = 1000, filters: Filters | None = None
    ) -> tuple[list[StoredItem], str | None]:
        """Return what `page` does, with metadata; of the items alone whose metadata match."""
        begin = None if after is None else place_of(after)
        with self._seen() as database:
            fit = ids_that_match(database, self.user, filters) if filters else None
            held = sorted(all_items(self._memory), key=place_of)
            names = [item.id for item in held if begin is None or place_of(item) > begin]
            names = [name for name in names if fit is None or name in fit][: limit + 1]
            found = stored_items(database, self.user, names)
        return page(found, limit, lambda item: len(item.content) + len(str(item.metadata)), lambda item: item.id)

    def best(self, query: str, limit: int = 10, filters: Filters | None = None) -> list[StoredItem]:
        """Return the items that match a query, the best first; of those alone whose metadata match."""
        with self._seen() as database:
            fit = ids_that_match(database, self.user, filters) if filters else None
            found = (item.id for item in self._memory.relevant(query) if fit is None or item.id in fit)
            return stored_items(database, self.user, itertools.islice(found, limit))

    def history(self, item_id: str | None = None, *, after: int = 0, limit: int | None = None) -> list[Change]:
        """Return the changes of this user's memory that are kept, or those of one item, oldest first.

        Args:
            after: the `number` of the change after which they begin.
            limit: changes at most; None: all.
        """
        self._check_open()
        if not may_be(item_id):
            return []
        with self._database.reading() as database:
            return list(changes(database, self.user, item_id, after=after, limit=limit))

    def history_page(
        self, item_id: str | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[list[Change], int | None]:
        """Return what `history` does, and the number after which the next page begins (None: there is none). A page has
        `limit` changes at most, and fewer where their texts are long."""
        self._check_open()
        if not may_be(item_id):
            return [], None
        with (
            self._database.reading() as database,
            closing(changes(database, self.user, item_id, after=after, limit=limit + 1)) as found,
        ):
            return page(found, limit, Change.characters, lambda change: change.number)

    def replied(self, asked: Once) -> str | None:
        """Return what was answered to a request with a key; None: it was not carried out yet.

        Raises:
            Erased, KeyReused: as `execute`.
        """
        self._check_open()
        with self._database.reading() as database:
            return reply_to(database, self.user, asked)

    def hurry(self) -> None:
        """Have those who wait for their turn to write wait for no longer than CLOSING_SECONDS, since all ends."""
        self._database.hurry()

    def check(self) -> None:
        """Look whether the file is where it was and can be read, without waiting for anybody.

        Raises:
            DataError: it is gone, another, or destroyed.
            Closed, StoreBusy, StoreFailed: as the names say.
        """
        self._check_open()
        self._database.check()

    def save(self, path: Path | str) -> None:
        """Copy the whole file (of all users) to `path`, whole or not at all, while others may write."""
        self._check_open()
        self._database.save(path)

    def close(self) -> None:
        """Let go of the file."""
        with self._guard:
            if self._closed:
                return
            self._closed = True
        self._database.close()

    # Parts ------------------------------------------------------------------------------------------------------

    @contextmanager
    def _seen(self) -> Iterator[sqlite3.Connection]:
        """A look at the file, of which the memory is."""
        self._check_open()
        with self._guard, self._database.reading() as database:
            self._refresh(database)
            yield database

    def _check_name(self) -> None:
        """See that nobody begins here under a name that is too long. Earlier versions took them."""
        if len(self.user) <= LONGEST_NAME:
            return
        with self._database.reading() as database:
            known = database.execute("SELECT 1 FROM users WHERE user = ?", (self.user,)).fetchone()
        if known is None:
            check_length("a user's name", self.user)

    def _guarded(self) -> OrderGuard:
        if not isinstance(self._memory, OrderGuard):
            raise NotOffered(
                f"a memory of the design {self.design} keeps nothing apart: memory.wrappers names no guard."
            )
        return self._memory

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the memory of {self.path} is closed. Open it again.")

    def _check_design(self) -> None:
        """See that the file's memories are of this design and version. Whoever comes first says of which."""
        with self._database.reading() as database:
            found = design_of(database)
        if found is None:
            with self._database.writing() as database:
                name_design(database, self.design, self._version)
                found = design_of(database)
                database.execute("COMMIT")
        named, version = found or (self.design, self._version)
        if named == self.design and version != self._version:
            raise DataError(
                f"{self.path} holds memories of version {version} of the design {named!r}, which is here of version "
                f"{self._version}. Nothing was changed; open it by the release of the design that wrote it."
            )
        if named != self.design:
            raise DataError(
                f"{self.path} holds memories of the design {named!r}, and this policy keeps one of {self.design!r}. "
                "Nothing was changed; give it a file of its own, or a policy of that design."
            )

    def _refresh(self, database: sqlite3.Connection) -> None:
        """Read the state again where another process has changed it."""
        row = database.execute(
            "SELECT life, version, writes, counters FROM users WHERE user = ?", (self.user,)
        ).fetchone()
        life, version, writes, counters = row or (0, 0, None, None)
        if (life, version) == self._known:
            return
        self._known = None
        self._state.read(database, writes, counters)
        self._known = life, version


def check_length(what: str, text: str, most: int = LONGEST_NAME) -> None:
    """Refuse a text of more characters than a file takes.

    Raises:
        TooLong: names `what` it is.
    """
    if len(text) > most:
        raise TooLong(f"{what} has {len(text)} characters; {most} are allowed. Shorten it.")


def may_be(name: str | None) -> bool:
    """Return whether a file may hold such a name: none has half a surrogate pair."""
    return name is None or clean_text(name) == name
