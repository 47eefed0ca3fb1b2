"""A memory that survives: one SQLite file for any number of users and processes, with every change in its history.

Invariant: what `execute` has returned is on the disk, and nothing else is: a call's writes, its history and the user's
version are one transaction, and the memory that is shown changes once that is committed, or not at all. Two processes
that write at once are put in a row; each carries out its calls on what the other left. Users never meet: every
statement names its user. Any thread may call any method.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from pydantic import TypeAdapter

from memrl.agent import erasing
from memrl.agent.by_hand import KEEP, Hand, unknown
from memrl.agent.history import Change, History, changes
from memrl.agent.layout import marks, new_life, number_of
from memrl.agent.once import Once, keep_reply, reply_to
from memrl.agent.open_memory import LONGEST_NAME, LONGEST_WHY, OpenMemory, check_length, may_be
from memrl.agent.states import Touched, told
from memrl.agent.stored import Metadata, metadata_of, metadata_text
from memrl.agent.writing import last_change, write_changes, write_items
from memrl.envs.designs import MemoryItem
from memrl.envs.designs.stepping import begin_step
from memrl.envs.tools import ToolCall, ToolResult, clean_text
from memrl.errors import Erased, StoreBusy, StoreFailed
from memrl.rollout.replay import carry_out_again

__all__ = ["LONGEST_NAME", "LONGEST_WHY", "History", "MemoryFile", "ReadStep", "check_length"]

_RESULTS = TypeAdapter(list[ToolResult])
_CHANGES = TypeAdapter(list[Change])


@dataclass(frozen=True)
class ReadStep:
    """A step of a memory in which time passes (`memrl.envs.wrappers`)."""

    text: str | None
    """What was read; None: nothing, the memory was tidied."""


class MemoryFile(OpenMemory):
    """One user's memory in a file, of any design."""

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
        step: ReadStep | None = None,
        tried: Sequence[ToolResult] = (),
    ) -> list[ToolResult]:
        """Carry out calls, all in one transaction. A bad call is a typed result, and changes nothing.

        Args:
            time: stamped on events that name none.
            step: what the calls are the reading of; None: time does not pass in the memory by them.
            by, why: for the history.
            life: what `begin` has returned; nothing is done where the user was erased since.
            metadata: of the items that are written; what they bore under other names stays.
            asked: the request whose work this is; where it was carried out before, its results.
            tried: what came of each call when it was tried: a later one that names an item of an earlier one means that
                item, whatever its id is now.

        Raises:
            TooLong: `time`, `by`, `why` or `metadata` is.
            Erased: the user was, since `begin`; or something of the user, since the same request.
            KeyReused: the key was another request's.
            StoreBusy: another process holds the file; nothing was changed.
            StoreFailed: the disk is full, or fails; nothing was changed.
        """
        time = _checked_time(time)
        calls = [_cleaned(call) for call in calls]

        def work() -> list[ToolResult]:
            if step is not None:
                begin_step(self._memory, step.text)
            if not tried:
                return [self._memory.execute(call, time=time) for call in calls]
            return carry_out_again(self._memory, calls, tried, time)

        return self._carry_out(work, by=by, why=why, life=life, metadata=metadata, asked=asked)

    def keep(
        self,
        sentences: Sequence[str],
        *,
        event: bool = False,
        time: str | None = None,
        by: str = "",
        metadata: Metadata | None = None,
        asked: Once | None = None,
    ) -> list[ToolResult]:
        """Keep sentences by the calls that the design has for it, all in one transaction.

        Args:
            event: they tell what happened.
            time: when.

        Returns:
            The results of all calls; of a sentence that could not be kept, why.

        Raises:
            As `execute`.
        """
        time = _checked_time(time)

        def work() -> list[ToolResult]:
            return [result for each in sentences for result in self._hand.keep(each, event=event, time=time)]

        return self._carry_out(work, by=by, metadata=metadata, asked=asked)

    def drop(
        self, item_ids: Sequence[str], *, by: str = "", why: str = "", asked: Once | None = None
    ) -> list[ToolResult]:
        """Remove items by the calls that the design has for it, all in one transaction; a result each.

        Raises:
            As `execute`.
        """
        return self._carry_out(lambda: [self._hand.drop(each) for each in item_ids], by=by, why=why, asked=asked)

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
        by, why = _checked(by, why)
        bore = None if metadata is None else json.loads(metadata_text(metadata))
        with self._writing() as database:
            if asked is not None and (reply := reply_to(database, self.user, asked)) is not None:
                database.execute("COMMIT")
                return _RESULTS.validate_json(reply)[0]
            with self._state.watching():
                item = self._hand.find(item_id)
                if item is not None and (text is None or self._says(item, text)):
                    result = self._hand.unchanged(item)
                else:
                    result = unknown(KEEP, item_id) if text is None else self._hand.replace(item_id, text)
                touched = self._state.touched()
                bears: dict[str, int | None] = {}
                if result.ok and result.item_id is not None:
                    moved = item is not None and item.id != result.item_id and self._memory.get(result.item_id)
                    if bore is None and moved and item is not None:  # it stands in the other's place
                        bore = metadata_of(database, self.user, item.id) or None
                    if bore is not None:
                        bears[result.item_id] = self._number(database, bore)
                        touched.before.setdefault(result.item_id, item)
                known = self._write(database, touched, by, why, bears=bears)
                known = self._reply(database, known, asked, _RESULTS.dump_json([result]).decode())
                database.execute("COMMIT")
                self._known = known
        return result

    def release(self, name: str, *, by: str = "", asked: Once | None = None) -> ToolResult:
        """Carry out a call that the wrapper `guard` keeps apart, as if it were none that gives orders.

        Raises:
            NotOffered: the memory has no guard.
            Otherwise as `execute`.
        """
        guard = self._guarded()
        return self._carry_out(lambda: [guard.release(name)], by=by, asked=asked)[0]

    def discard(self, name: str, *, by: str = "") -> bool:
        """Forget a call that the wrapper `guard` keeps apart. Returns whether there was one.

        Raises:
            NotOffered: the memory has no guard.
            Otherwise as `execute`.
        """
        guard = self._guarded()
        found: list[bool] = []

        def work() -> list[ToolResult]:
            found.append(guard.discard(name))
            return []

        self._carry_out(work, by=by, asked=None)
        return found[-1]

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
        by, _ = _checked(by)
        with self._writing() as database:
            if asked is not None and (reply := reply_to(database, self.user, asked)) is not None:
                database.execute("COMMIT")
                return _CHANGES.validate_json(reply)
            last = last_change(database, self.user, self._state.floor)
            taken = [] if last is None else list(changes(database, self.user, version=last))
            known = self._known or (0, 0)
            if last is None and asked is None:
                return []
            if last is not None:
                borne = {
                    name: (number, added)
                    for name, number, added in database.execute(
                        "SELECT item, before_metadata, added FROM changes WHERE user = ? AND version = ?",
                        (self.user, last),
                    )
                }
                touched = self._state.take_back(database, last, taken)
                for change in taken:
                    touched.before.setdefault(change.item_id, self._memory.get(change.item_id))
                bears = {name: number for name, (number, _) in borne.items()}
                came = {name: added for name, (_, added) in borne.items()}
                known = self._write(database, touched, by, "", undoes=last, bears=bears, came=came)
            known = self._reply(database, known, asked, _CHANGES.dump_json(taken).decode())
            database.execute("COMMIT")
            self._known = known
            return taken

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

        Of a design whose state is more than items and counters, what was before an erasing can no longer be taken back.

        Raises:
            NotOffered: the design cannot remove the item, or holds elsewhere what it said; nothing was erased.
            StoreBusy, StoreFailed: nothing was erased; or `erased`: bytes may be left, until it is asked for again, or
                the file vacuumed.
        """
        if not may_be(item_id):
            return 0
        with self._writing() as database:
            life, version = self._known or (0, 0)
            touched = self._state.erase(database, item_id, version)
            touched.before.pop(item_id, None)  # its row goes with its history
            removed = erasing.erase_item(database, self.user, item_id, self._told_text)
            if removed is not None:
                write_items(database, self.user, touched, self._memory.get)
                self._state.write(database, None)
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
        if not may_be(user):
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

    # Parts ------------------------------------------------------------------------------------------------------

    @property
    def _hand(self) -> Hand:
        return Hand(self._memory, self.design)

    def _carry_out(
        self,
        work: Callable[[], list[ToolResult]],
        *,
        by: str,
        why: str = "",
        life: int | None = None,
        metadata: Metadata | None = None,
        asked: Once | None,
    ) -> list[ToolResult]:
        """Do what changes the memory, in one transaction."""
        by, why = _checked(by, why)
        borne = None if metadata is None else json.loads(metadata_text(metadata))
        with self._writing() as database:
            if life is not None and life != (self._known or (0,))[0]:
                raise Erased("the user was erased while a text was read; it is not remembered.")
            if asked is not None and (reply := reply_to(database, self.user, asked)) is not None:
                database.execute("COMMIT")
                return _RESULTS.validate_json(reply)
            with self._state.watching():
                results = work()
                touched = self._state.touched()
                bears: dict[str, int | None] = {}
                for name in self._written(results, touched) if borne else ():
                    bears[name] = self._number(database, {**metadata_of(database, self.user, name), **(borne or {})})
                known = self._write(database, touched, by, why, bears=bears)
                known = self._reply(database, known, asked, _RESULTS.dump_json(results).decode())
                database.execute("COMMIT")
                self._known = known
        return results

    def _says(self, item: MemoryItem, text: str) -> bool:
        """Return whether an item says exactly that, with or without what its design has written to it."""
        return " ".join(clean_text(text).split()) in (item.content, told(self._memory, item))

    def _written(self, results: Sequence[ToolResult], touched: Touched) -> set[str]:
        """Return the ids of the items whose text was written."""
        written = {str(result.item_id) for result in results if result.ok and result.content}
        now = {name: item for name in {*touched.before, *written} if (item := self._memory.get(name)) is not None}
        before = {name: told(self._memory, item) for name, item in touched.before.items() if item is not None}
        return {name for name, item in now.items() if name in written or before.get(name) != told(self._memory, item)}

    def _told_text(self, text: str) -> str:
        """Return the sentence in the text of an item."""
        return told(self._memory, MemoryItem("", "", text, None, 0))

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

    def _write(
        self,
        database: sqlite3.Connection,
        touched: Touched,
        by: str,
        why: str,
        *,
        undoes: int | None = None,
        bears: Mapping[str, int | None] | None = None,
        came: Mapping[str, float | None] | None = None,
    ) -> tuple[int, int]:
        """Bring the file to the state in memory (`write_changes` says what is given).

        Returns:
            The life and version that it then is of.
        """
        life, version = self._known or (0, 0)
        known, get = (life or new_life(), version + 1), self._memory.get
        shown = write_changes(
            database, self.user, known[1], touched, get, by=by, why=why, undoes=undoes, bears=bears, came=came
        )
        if not shown and not self._state.differs():
            return life, version
        noted_in = known[1] if shown else last_change(database, self.user, self._state.floor)
        self._state.write(database, None if undoes is not None else noted_in)
        self._note(database, *known)
        if self._keep is not None:
            erasing.forget(database, self.user, self._keep)
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
        row = (self.user, life, version, *self._state.counts())
        database.execute("INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?, ?)", row)


def _checked_time(time: str | None) -> str | None:
    time = None if time is None else clean_text(time)
    check_length("the time", time or "")
    return time


def _checked(by: str, why: str = "") -> tuple[str, str]:
    by, why = clean_text(by), clean_text(why)
    check_length("who asks for a change (by)", by)
    check_length("the reason (why)", why, LONGEST_WHY)
    return by, why


def _cleaned(call: ToolCall) -> ToolCall:
    """Return a call without halves of surrogate pairs in its arguments, which no file takes."""
    arguments = {
        clean_text(key): clean_text(value) if isinstance(value, str) else value for key, value in call.arguments.items()
    }
    return call if arguments == call.arguments else call.model_copy(update={"arguments": arguments})
