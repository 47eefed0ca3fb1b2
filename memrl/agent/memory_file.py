"""A memory that survives: one SQLite file for any number of users and processes, with every change in its history.

Invariant: what `execute` has returned is on the disk, and nothing else is: a call's writes, its history and the user's
version are one transaction, and the memory that is shown changes once that is committed, or not at all. Two processes
that write at once are put in a row; each carries out its calls on what the other left. Users never meet: every
statement names its user. Any thread may call any method.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import threading
import time as clock
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from memrl.agent import erasing
from memrl.agent.database import Database
from memrl.agent.history import Change, History, changes, page, place_of
from memrl.agent.layout import marks, new_life, number_of
from memrl.agent.once import Once, keep_reply, reply_to
from memrl.agent.stored import (
    Filters,
    Metadata,
    StoredItem,
    ids_that_match,
    metadata_of,
    metadata_text,
    stored_item,
    stored_items,
)
from memrl.envs.designs import MemoryItem, MemoryView, TokenCounter, count_words
from memrl.envs.designs.stores import DELETE, UPDATE, StoreMemory
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, clean_text
from memrl.errors import Closed, DataError, Erased, StoreBusy, StoreFailed, TooLong

LONGEST_WHY = 1 << 16
"""Characters of a reason."""
LONGEST_NAME = 256
"""Characters of a time, of who asks for a change, and of a user's name."""
_RESULTS = TypeAdapter(list[ToolResult])
_CHANGES = TypeAdapter(list[Change])
_ITEMS = """
SELECT id, store, texts.text, time, place FROM items JOIN texts ON number = items.text WHERE items.user = ? ORDER BY id
"""
_LAST = """
SELECT max(version) FROM versions WHERE user = :user AND undoes IS NULL
AND version NOT IN (SELECT undoes FROM versions WHERE user = :user AND undoes IS NOT NULL)
"""


class MemoryFile:
    """One user's memory in a file.

    Args:
        path: the file, made where there is none, its owner's alone; or a database that is open already, which `close`
            then closes.
        user: whose; any text of up to LONGEST_NAME characters, or of more where it is in the file already.
        budget, core_budget: tokens that it may hold.
        count_tokens: of a text.
        history: how much of it is kept.

    Raises:
        DataError, FormatError, StoreBusy, StoreFailed: as `Database`; DataError also for a name that is none.
    """

    def __init__(
        self,
        path: Path | str | Database,
        user: str = "default",
        *,
        budget: int = 2**62,
        core_budget: int = 512,
        count_tokens: TokenCounter = count_words,
        history: History | None = None,
    ) -> None:
        if clean_text(user) != user:
            raise DataError(f"{user[:60]!r} is no name of a user: it holds half a surrogate pair.")
        self.user = user
        self._keep = (history or History()).keep
        self._count_tokens = count_tokens
        self._memory = StoreMemory(budget, core_budget, count_tokens)
        self._known: tuple[int, int] | None = None
        """The life and version that the memory is of; None: it must be read."""
        self._guard = threading.RLock()
        """Held while the memory is looked at or changed."""
        self._closed = False
        self._database = path if isinstance(path, Database) else Database(path)
        self.path = self._database.path
        try:
            self._check_name()
        except BaseException:
            if self._database is not path:
                self._database.close()
            raise

    def for_user(self, user: str) -> MemoryFile:
        """Return another user's memory in the same open file, with the same limits."""
        self._check_open()
        database = self._database.share()
        try:
            return MemoryFile(
                database,
                user,
                budget=self._memory.budget,
                core_budget=self._memory.core_budget,
                count_tokens=self._count_tokens,
                history=History(self._keep),
            )
        except BaseException:
            database.close()
            raise

    # Reading ----------------------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[StoreMemory]:
        """The memory as it is now, to be shown and searched; nobody changes it for as long as the block lasts. What is
        written to it is lost: only `execute` keeps.

        Raises:
            Closed, StoreBusy, StoreFailed, DataError: as the names say.
        """
        with self._guard:
            with self._seen():
                pass
            yield self._memory

    def state(self) -> StoreMemory:
        """The memory as it is now, for a program that uses this file in one thread; else `reading`."""
        with self.reading() as memory:
            return memory

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
            core = memory.get("core")
            found = ((core,) if core else ()) + memory.items
        return tuple(sorted(found, key=place_of))

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
            core = self._memory.get("core")
            held = ((core,) if core else ()) + self._memory.items
            names = [item.id for item in sorted(held, key=place_of) if begin is None or place_of(item) > begin]
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
        if not _may_be(item_id):
            return []
        with self._database.reading() as database:
            return list(changes(database, self.user, item_id, after=after, limit=limit))

    def history_page(
        self, item_id: str | None = None, after: int = 0, limit: int = 1000
    ) -> tuple[list[Change], int | None]:
        """Return what `history` does, and the number after which the next page begins (None: there is none). A page has
        `limit` changes at most, and fewer where their texts are long."""
        self._check_open()
        if not _may_be(item_id):
            return [], None
        with (
            self._database.reading() as database,
            closing(changes(database, self.user, item_id, after=after, limit=limit + 1)) as found,
        ):
            return page(found, limit, Change.characters, lambda change: change.number)

    # Writing ----------------------------------------------------------------------------------------------------

    def execute(
        self,
        calls: Sequence[ToolCall],
        *,
        time: str | None = None,
        by: str = "",
        why: str = "",
        life: int | None = None,
        metadata: Metadata | None = None,
        asked: Once | None = None,
    ) -> list[ToolResult]:
        """Carry out calls, all in one transaction. A bad call is a typed result, and changes nothing.

        Args:
            time: stamped on episodic items that name none.
            by, why: for the history.
            life: what `begin` has returned; nothing is done where the user was erased since.
            metadata: of the items that are written; what they bore under other names stays.
            asked: the request whose work this is; where it was carried out before, its results.

        Raises:
            TooLong: `time`, `by`, `why` or `metadata` is.
            Erased: the user was, since `begin`; or something of the user, since the same request.
            KeyReused: the key was another request's.
            StoreBusy: another process holds the file; nothing was changed.
            StoreFailed: the disk is full, or fails; nothing was changed.
        """
        time = None if time is None else clean_text(time)
        by, why = clean_text(by), clean_text(why)
        check_length("the time", time or "")
        check_length("who asks for a change (by)", by)
        check_length("the reason (why)", why, LONGEST_WHY)
        calls = [_cleaned(call) for call in calls]
        if metadata is not None:
            metadata = json.loads(metadata_text(metadata))
        with self._writing() as database:
            if life is not None and life != (self._known or (0,))[0]:
                raise Erased("the user was erased while a text was read; it is not remembered.")
            if asked is not None and (reply := reply_to(database, self.user, asked)) is not None:
                database.execute("COMMIT")
                return _RESULTS.validate_json(reply)
            with self._memory.open_journal() as journal:
                results = [self._memory.execute(call, time=time) for call in calls]
                written = {str(result.item_id) for result in results if result.ok and result.name != DELETE.name}
                bears: dict[str, int | None] = {}
                for name in written if metadata else ():
                    bears[name] = self._number(database, {**metadata_of(database, self.user, name), **(metadata or {})})
                known = self._write(database, journal.touched(), by, why, bears=bears)
                known = self._reply(database, known, asked, _RESULTS.dump_json(results).decode())
                database.execute("COMMIT")
                self._known = known
        return results

    def revise(
        self,
        item_id: str,
        text: str | None = None,
        *,
        metadata: Metadata | None = None,
        by: str = "",
        why: str = "",
        asked: Once | None = None,
    ) -> ToolResult:
        """Replace an item's text, its metadata, or both, in one transaction.

        Raises:
            As `execute`.
        """
        by, why = clean_text(by), clean_text(why)
        check_length("who asks for a change (by)", by)
        check_length("the reason (why)", why, LONGEST_WHY)
        told = None if metadata is None else json.loads(metadata_text(metadata))
        call = _cleaned(ToolCall(name=UPDATE.name, arguments={"memory_id": item_id, "content": text}))
        with self._writing() as database:
            if asked is not None and (reply := reply_to(database, self.user, asked)) is not None:
                database.execute("COMMIT")
                return _RESULTS.validate_json(reply)[0]
            with self._memory.open_journal() as journal:
                item = self._memory.get(item_id)
                if item is not None and (text is None or " ".join(call.arguments["content"].split()) == item.content):
                    result = ToolResult(
                        name=call.name, code=ResultCode.OK, item_id=item.id, store=item.store, content=item.content
                    )
                elif text is None:
                    result = ToolResult(name=call.name, code=ResultCode.UNKNOWN_ID, message=f"no item {item_id[:80]!r}")
                else:
                    result = self._memory.execute(call)
                touched = journal.touched()
                bears: dict[str, int | None] = {}
                if result.ok and told is not None:
                    bears[str(result.item_id)] = self._number(database, told)
                    touched.setdefault(str(result.item_id), item)
                known = self._write(database, touched, by, why, bears=bears)
                known = self._reply(database, known, asked, _RESULTS.dump_json([result]).decode())
                database.execute("COMMIT")
                self._known = known
        return result

    def undo(self, *, by: str = "", asked: Once | None = None) -> list[Change]:
        """Take back the newest change that is not an undoing, nor undone: all that one `execute` did.

        Args:
            by: who asks for it, for the history.
            asked: as in `execute`.

        Returns:
            What was taken back; empty where nothing is left. The undoing is itself in the history.

        Raises:
            StoreBusy, StoreFailed: as `execute`.
        """
        by = clean_text(by)
        check_length("who asks for a change (by)", by)
        with self._writing() as database:
            if asked is not None and (reply := reply_to(database, self.user, asked)) is not None:
                database.execute("COMMIT")
                return _CHANGES.validate_json(reply)
            (last,) = database.execute(_LAST, {"user": self.user}).fetchone()
            taken = [] if last is None else list(changes(database, self.user, version=last))
            if not taken and asked is None:
                return []
            borne = {
                name: (number, added)
                for name, number, added in database.execute(
                    "SELECT item, before_metadata, added FROM changes WHERE user = ? AND version = ?", (self.user, last)
                )
            }
            state = self._memory.snapshot()
            held = {item["id"]: item for item in state["items"]}
            now = {change.item_id: self._memory.get(change.item_id) for change in taken}
            for change in taken:
                held.pop(change.item_id, None)
                if change.before is not None:
                    held[change.item_id] = dict(vars(change.before))
            self._memory.restore({**state, "items": list(held.values())})
            bears = {name: number for name, (number, _) in borne.items()}
            came = {name: added for name, (_, added) in borne.items()}
            known = self._write(database, now, by, "", undoes=last, bears=bears, came=came)
            known = self._reply(database, known, asked, _CHANGES.dump_json(taken).decode())
            database.execute("COMMIT")
            self._known = known
            return taken

    def replied(self, asked: Once) -> str | None:
        """Return what was answered to a request with a key; None: it was not carried out yet.

        Raises:
            Erased, KeyReused: as `execute`.
        """
        self._check_open()
        with self._database.reading() as database:
            return reply_to(database, self.user, asked)

    def begin(self) -> int:
        """Return the number of this user's life, which ends when the user is erased; it begins here if it must."""
        self._check_open()
        with self._database.reading() as database:
            life: tuple[int] | None = database.execute("SELECT life FROM users WHERE user = ?", (self.user,)).fetchone()
        if life is None:
            with self._writing() as database:
                known = self._known or (0, 0)
                if not known[0]:
                    known = (new_life(), 0)
                    self._note(database, *known)
                    database.execute("COMMIT")
                    self._known = known
                return known[0]
        return life[0]

    # Erasing ----------------------------------------------------------------------------------------------------

    def erase(self, item_id: str) -> int:
        """Remove an item, its history and the reasons of its changes, so that no byte of them is left in the file.

        With it go the history of items that are gone by now and said the same, the changes of others that said so
        earlier, and reasons that spell out what it said. What other items say now stays. The file is written anew,
        which takes as long as a copy of it.

        Returns:
            How many items and changes are gone; 0 where nothing is known of that item, and no byte is left of an
            erasure that was not finished.

        Raises:
            StoreBusy, StoreFailed: nothing was erased; or `erased`: bytes may be left, until it is asked for again, or
                the file vacuumed.
        """
        if not _may_be(item_id):
            return 0
        with self._writing() as database:
            removed = erasing.erase_item(database, self.user, item_id)
            if removed is not None:
                life, version = self._known or (0, 0)
                self._note(database, life, version + 1)  # so that other processes read it again
                database.execute("COMMIT")
                self._known = None
            unclean = removed is not None or bool(marks(database))
        if unclean:
            self._clean(f"item {item_id} is erased from the memory")
        return removed or 0

    def erase_user(self, user: str) -> int:
        """Remove all that the file has of a user, the name included, as `erase` does.

        Returns:
            How many items and changes are gone; 0 where nobody of that name is known, as `erase`.

        Raises:
            StoreBusy, StoreFailed: as `erase`.
        """
        self._check_open()
        if not _may_be(user):
            return 0
        with self._database.writing() as database:
            removed = erasing.erase_user(database, user)
            if removed is not None:
                database.execute("COMMIT")
            unclean = removed is not None or bool(marks(database))
        if unclean:
            self._clean("the user is erased from the memory")
        return removed or 0

    def vacuum(self) -> None:
        """Write the file anew, so that it takes no more room than what it holds.

        Raises:
            StoreBusy, StoreFailed: others have used the file all the time, or the disk has no room for a second copy.
        """
        self._check_open()
        self._database.clean()

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

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction in which the memory is the newest, and nobody looks at it. The block ends it by COMMIT; else
        the memory is read again."""
        with self.reading():
            pass  # a long memory is read before anybody must wait for us
        with self._database.writing() as database, self._guard:
            self._check_open()
            self._refresh(database)
            try:
                yield database
            except BaseException:
                self._known = None  # what was carried out in memory did not happen
                raise

    def _clean(self, done: str) -> None:
        try:
            self._database.clean()
        except (StoreBusy, StoreFailed) as error:
            told = type(error)(
                f"{done}, but bytes of it may be left in {self.path}, whose free pages could not be cleared ({error}) "
                f"Erase it again, or run: memrl agent vacuum {self.path}"
            )
            told.erased = True
            raise told from error

    def _check_name(self) -> None:
        """See that nobody begins here under a name that is too long. Earlier versions took them."""
        if len(self.user) <= LONGEST_NAME:
            return
        with self._database.reading() as database:
            known = database.execute("SELECT 1 FROM users WHERE user = ?", (self.user,)).fetchone()
        if known is None:
            check_length("a user's name", self.user)

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"the memory of {self.path} is closed. Open it again.")

    def _refresh(self, database: sqlite3.Connection) -> None:
        """Read the state again where another process has changed it."""
        row = database.execute(
            "SELECT life, version, writes, counters FROM users WHERE user = ?", (self.user,)
        ).fetchone()
        life, version, writes, counters = row or (0, 0, 0, json.dumps({"semantic": 0, "episodic": 0}))
        if (life, version) == self._known:
            return
        rows = database.execute(_ITEMS, (self.user,))
        items = [dict(zip(("id", "store", "content", "time", "order"), row, strict=True)) for row in rows]
        self._known = None
        self._memory.restore({"items": items, "counters": json.loads(counters), "writes": writes})
        self._known = life, version

    def _write(
        self,
        database: sqlite3.Connection,
        touched: dict[str, MemoryItem | None],
        by: str,
        why: str,
        *,
        undoes: int | None = None,
        bears: Mapping[str, int | None] | None = None,
        came: Mapping[str, float | None] | None = None,
    ) -> tuple[int, int]:
        """Bring the file to the state in memory.

        Args:
            touched: items that may have changed, and what they were.
            undoes: the version that this takes back.
            bears: the numbers of metadata that items then have; those of others stay.
            came: when items came that are brought back.

        Returns:
            The life and version that it then is of.
        """
        life, version = self._known or (0, 0)
        user, at = self.user, clock.time()
        bears, came = bears or {}, came or {}
        held_rows = {
            name: database.execute(
                "SELECT metadata, added FROM items WHERE user = ? AND id = ?", (user, name)
            ).fetchone()
            for name in touched
        }
        changed = {
            name: before
            for name, before in touched.items()
            if before != self._memory.get(name)
            or (before is not None and name in bears and bears[name] != held_rows[name][0])
        }
        if not changed:
            return life, version
        known = (life or new_life(), version + 1)
        told = (user, known[1], at, by, number_of(database, user, why) if why else None, undoes)
        database.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", told)
        for name, before in changed.items():
            now = self._memory.get(name)
            was, added = held_rows[name] or (None, came.get(name, at))
            becomes = None
            if now is None:
                database.execute("DELETE FROM items WHERE user = ? AND id = ?", (user, name))
            else:
                becomes = bears.get(name, was)
                held = (user, name, now.store, number_of(database, user, now.content), now.time, now.order)
                row = (*held, becomes, added, at)
                database.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            store = (now or before).store  # type: ignore[union-attr]  # one of them is there: they differ
            states = [part for state in (before, now) for part in _parts(database, user, state)]
            change = (user, known[1], name, store, *states, was, becomes, added)
            database.execute("INSERT INTO changes VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", change)
        self._note(database, *known)
        if self._keep is not None:
            erasing.forget(database, user, self._keep)
        return known

    def _number(self, database: sqlite3.Connection, metadata: Metadata) -> int | None:
        """Return the number of metadata in the file; None where there are none."""
        return number_of(database, self.user, metadata_text(metadata)) if metadata else None

    def _reply(
        self, database: sqlite3.Connection, known: tuple[int, int], asked: Once | None, reply: str
    ) -> tuple[int, int]:
        """Write what is answered to a request with a key; return the life and version that the file is then of."""
        if asked is None:
            return known
        if not known[0]:  # a user who has a reply is known, and can be erased
            known = (new_life(), known[1])
            self._note(database, *known)
        keep_reply(database, self.user, asked, reply)
        return known

    def _note(self, database: sqlite3.Connection, life: int, version: int) -> None:
        """Write what the file has of the user beside items."""
        state = self._memory.counts()
        database.execute(
            "INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?, ?)",
            (self.user, life, version, state["writes"], json.dumps(state["counters"])),
        )


def check_length(what: str, text: str, most: int = LONGEST_NAME) -> None:
    """Refuse a text of more characters than a file takes.

    Raises:
        TooLong: names `what` it is.
    """
    if len(text) > most:
        raise TooLong(f"{what} has {len(text)} characters; {most} are allowed. Shorten it.")


def _may_be(name: str | None) -> bool:
    """Return whether a file may hold such a name: none has half a surrogate pair."""
    return name is None or clean_text(name) == name


def _cleaned(call: ToolCall) -> ToolCall:
    """Return a call without halves of surrogate pairs in its arguments, which no file takes."""
    arguments = {
        clean_text(key): clean_text(value) if isinstance(value, str) else value for key, value in call.arguments.items()
    }
    return call if arguments == call.arguments else call.model_copy(update={"arguments": arguments})


def _parts(database: sqlite3.Connection, user: str, item: MemoryItem | None) -> tuple[Any, Any, Any]:
    return (None, None, None) if item is None else (number_of(database, user, item.content), item.time, item.order)
