"""A memory that survives: one SQLite file for any number of users and processes, with every change in its history.

Invariant: what `execute` has returned is on the disk, and nothing else is: a call's writes, its history and the user's
version are one transaction. Two processes that write at once are put in a row by SQLite; each carries out its calls on
what the other left. Users never meet: every statement names its user.
"""

from __future__ import annotations

import json
import sqlite3
import time as clock
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memrl.envs.designs import MemoryItem, TokenCounter, count_words
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.tools import ToolCall, ToolResult
from memrl.envs.whole import whole_file
from memrl.errors import DataError
from memrl.storage.formats import FORMATS, check_format

BUSY_SECONDS = 30.0
"""How long another process may hold the file."""
_LAST = """
SELECT max(version) FROM history WHERE user = :user AND undoes IS NULL
AND version NOT IN (SELECT undoes FROM history WHERE user = :user AND undoes IS NOT NULL)
"""
_SCHEMA = """
CREATE TABLE IF NOT EXISTS users (user TEXT PRIMARY KEY, version INTEGER, writes INTEGER, counters TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS items (
    user TEXT, id TEXT, store TEXT, content TEXT, time TEXT, place INTEGER, PRIMARY KEY (user, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
    number INTEGER PRIMARY KEY, user TEXT, version INTEGER, at REAL, by TEXT, why TEXT, item TEXT,
    before TEXT, after TEXT, undoes INTEGER);
CREATE INDEX IF NOT EXISTS history_of ON history (user, version);
"""


@dataclass(frozen=True)
class Change:
    """One item's change: who, when, why, and what it was before and after (None: it was not there)."""

    version: int
    at: float
    """Seconds since 1970."""
    by: str
    why: str
    item_id: str
    before: MemoryItem | None
    after: MemoryItem | None
    undoes: int | None = None
    """The version that it takes back, where it is an undoing."""


class MemoryFile:
    """One user's memory in a file.

    Args:
        path: the file; made where there is none.
        user: whose; any text.
        budget, core_budget: tokens that it may hold.
        count_tokens: of a text.

    Raises:
        DataError: the file is none of ours, or damaged.
        FormatError: a newer version wrote it.
    """

    def __init__(
        self,
        path: Path | str,
        user: str = "default",
        *,
        budget: int = 2**62,
        core_budget: int = 512,
        count_tokens: TokenCounter = count_words,
    ) -> None:
        self.path = Path(path)
        self.user = user
        self._memory = StoreMemory(budget, core_budget, count_tokens)
        self._version = -1
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self.path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            (found,) = self._database.execute("PRAGMA user_version").fetchone()
            check_format("memory", found, self.path)  # before anything is written, the journal's mode included
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = FULL")
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    self._database.execute(statement)
                self._database.execute(f"PRAGMA user_version = {FORMATS['memory']}")
            self._refresh()
            found = self.path.stat()
            self._place = (found.st_dev, found.st_ino)
        except DataError:
            self._database.close()
            raise
        except sqlite3.DatabaseError as error:
            self._database.close()
            raise DataError(f"{self.path} is no memory file, or damaged ({error}). Restore it from a copy.") from error

    @property
    def items(self) -> tuple[MemoryItem, ...]:
        """All items, the core paragraph first where there is one."""
        memory = self.state()
        core = memory.get("core")
        return ((core,) if core else ()) + memory.items

    def execute(
        self, calls: Sequence[ToolCall], *, time: str | None = None, by: str = "", why: str = ""
    ) -> list[ToolResult]:
        """Carry out calls, all in one transaction. A bad call is a typed result, and changes nothing.

        Args:
            time: stamped on episodic items that name none.
            by, why: for the history.
        """
        with self._transaction():
            self._refresh()
            with self._memory.open_journal() as journal:
                results = [self._memory.execute(call, time=time) for call in calls]
                self._write(journal.touched(), by, why)
        return results

    def undo(self, *, by: str = "") -> list[Change]:
        """Take back the newest change that is not an undoing, nor undone: all that one `execute` did.

        Returns:
            What was taken back; empty where nothing is left. The undoing is itself in the history.
        """
        with self._transaction():
            self._refresh()
            (last,) = self._database.execute(_LAST, {"user": self.user}).fetchone()
            if last is None:
                return []
            changes = self._changes("AND version = ?", last)
            state = self._memory.snapshot()
            held = {item["id"]: item for item in state["items"]}
            now = {change.item_id: self._memory.get(change.item_id) for change in changes}
            for change in changes:
                held.pop(change.item_id, None)
                if change.before is not None:
                    held[change.item_id] = dict(vars(change.before))
            self._memory.restore({**state, "items": list(held.values())})
            self._write(now, by, "", undoes=last)
            return changes

    def history(self, item_id: str | None = None) -> list[Change]:
        """Every change of this user's memory, or of one item, oldest first."""
        return self._changes() if item_id is None else self._changes("AND item = ?", item_id)

    def _changes(self, which: str = "", *given: Any) -> list[Change]:
        columns = "version, at, by, why, item, before, after, undoes"
        query = f"SELECT {columns} FROM history WHERE user = ? {which} ORDER BY number"
        return [
            Change(version, at, by, why, item, _item(before), _item(after), undoes)
            for version, at, by, why, item, before, after, undoes in self._database.execute(query, (self.user, *given))
        ]

    def state(self) -> StoreMemory:
        """The memory as it is now, to be shown and searched. What is written to it is lost: only `execute` keeps."""
        self._refresh()
        return self._memory

    def save(self, path: Path | str) -> None:
        """Copy the whole file (of all users) to `path`, whole or not at all, while others may write."""
        target = Path(path)
        if target.exists():
            raise DataError(f"{target} exists already; give another path.")
        with whole_file(target) as partial, closing(sqlite3.connect(partial)) as copy:
            self._database.backup(copy)

    def check(self) -> None:
        """Look whether the file is where it was and can be read, on a connection of its own. Any thread may call.

        Raises:
            DataError: it is gone, another, or destroyed.
        """
        try:
            found = self.path.stat()
            if (found.st_dev, found.st_ino) != self._place:
                raise DataError(f"{self.path} is another file than the one that was opened; start again.")
            address = f"{self.path.resolve().as_uri()}?mode=ro"
            with closing(sqlite3.connect(address, 0, uri=True)) as database:
                database.execute("SELECT count(*) FROM (SELECT 1 FROM users LIMIT 1)").fetchone()
        except FileNotFoundError:
            raise DataError(f"{self.path} is gone; start again, from a copy where there is one.") from None
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) and "busy" not in str(error):  # somebody writes: it is there
                raise DataError(f"{self.path} cannot be read ({error}).") from error
        except (OSError, sqlite3.Error) as error:
            raise DataError(f"{self.path} cannot be read ({error}).") from error

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            self._version = -1  # what was carried out in memory did not happen
            raise
        self._database.execute("COMMIT")

    def _refresh(self) -> None:
        """Read the state again where another process has changed it."""
        row = self._database.execute(
            "SELECT version, writes, counters FROM users WHERE user = ?", (self.user,)
        ).fetchone()
        version, writes, counters = row or (0, 0, json.dumps({"semantic": 0, "episodic": 0}))
        if version == self._version:
            return
        rows = self._database.execute("SELECT id, store, content, time, place FROM items WHERE user = ?", (self.user,))
        items = [dict(zip(("id", "store", "content", "time", "order"), row, strict=True)) for row in rows]
        self._memory.restore({"items": items, "counters": json.loads(counters), "writes": writes})
        self._version = version

    def _write(self, touched: dict[str, MemoryItem | None], by: str, why: str, *, undoes: int | None = None) -> None:
        """Bring the file to the state in memory.

        Args:
            touched: items that may have changed, and what they were.
            undoes: the version that this takes back.
        """
        changed = {name: before for name, before in touched.items() if before != self._memory.get(name)}
        if not changed:
            return
        database, version = self._database, self._version + 1
        for name, before in changed.items():
            after = self._memory.get(name)
            if after is None:
                database.execute("DELETE FROM items WHERE user = ? AND id = ?", (self.user, name))
            else:
                row = (self.user, name, after.store, after.content, after.time, after.order)
                database.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?)", row)
            told = (self.user, version, clock.time(), by, why, name, _json(before), _json(after), undoes)
            database.execute("INSERT INTO history VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?)", told)
        state = self._memory.counts()
        database.execute(
            "INSERT OR REPLACE INTO users VALUES (?, ?, ?, ?)",
            (self.user, version, state["writes"], json.dumps(state["counters"])),
        )
        self._version = version


def _json(item: MemoryItem | None) -> str | None:
    return None if item is None else json.dumps(vars(item))


def _item(text: str | None) -> MemoryItem | None:
    return None if text is None else MemoryItem(**json.loads(text))
