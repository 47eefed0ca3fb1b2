"""The tables of a memory file, how it is told from other programs' files, and how an older one of ours is brought up.

Invariant: a file that is not ours is never written. A text stands in the file once for each user, whoever refers to it:
an item, an earlier state of it, or the reason for a change.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import sqlite3
from pathlib import Path
from typing import Any

from memrl.errors import DataError
from memrl.storage.formats import FORMATS, check_format

APPLICATION = int.from_bytes(b"mrlM")
"""SQLite's `application_id` of our files."""
STORES = "stores"
"""The design of all memories in files of format 3 and before."""
DESIGN, DESIGN_VERSION = "design", "design_version"
UNCLEAN = "unclean"
"""The first word of marks of a file whose free pages may hold what was erased."""
_TABLES = """
CREATE TABLE users (
    user TEXT PRIMARY KEY, life INTEGER, version INTEGER, writes INTEGER, counters TEXT) WITHOUT ROWID;
CREATE TABLE texts (number INTEGER PRIMARY KEY, user TEXT, digest BLOB, text TEXT, UNIQUE (user, digest));
CREATE TABLE items (
    user TEXT, id TEXT, store TEXT, text INTEGER, time TEXT, place INTEGER,
    metadata INTEGER, added REAL, changed REAL, PRIMARY KEY (user, id)) WITHOUT ROWID;
CREATE TABLE versions (
    user TEXT, version INTEGER, at REAL, by TEXT, why INTEGER, undoes INTEGER, PRIMARY KEY (user, version))
    WITHOUT ROWID;
CREATE TABLE changes (
    number INTEGER PRIMARY KEY, user TEXT, version INTEGER, item TEXT, store TEXT,
    before INTEGER, before_time TEXT, before_place INTEGER, after INTEGER, after_time TEXT, after_place INTEGER,
    before_metadata INTEGER, after_metadata INTEGER, added REAL);
CREATE TABLE marks (name TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE replies (user TEXT, key BLOB, request BLOB, at REAL, reply TEXT, PRIMARY KEY (user, key)) WITHOUT ROWID;
CREATE INDEX changes_of_version ON changes (user, version);
CREATE INDEX changes_of_item ON changes (user, item);
"""
_OF_DESIGNS = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT) WITHOUT ROWID;
CREATE TABLE parts (user TEXT, name TEXT, place REAL, value TEXT, PRIMARY KEY (user, name)) WITHOUT ROWID;
CREATE TABLE part_changes (
    user TEXT, version INTEGER, name TEXT, place REAL, value TEXT, PRIMARY KEY (user, version, name)) WITHOUT ROWID;
"""
# `life`: a number of its own for each user from the first write to the erasing, so that no version is taken for one of
# an earlier life. `text`, `why`, `before`, `after`, `metadata`: numbers in `texts`. `added`: when the item came,
# the same in all its lives, since ids are not used again. `replies`: what was answered to requests that bore a key.
# `about`: the design of the memories and its version, under DESIGN and DESIGN_VERSION. `parts`: the state of a memory
# that is more than items and counters (`memrl.agent.states`); its items stand in `items` all the same. `part_changes`:
# what a version's parts were before it (NULL: not there).
_SECOND = {"users", "texts", "items", "versions", "changes", "marks", "changes_of_version", "changes_of_item"}
_THIRD = _SECOND | {"replies"}
_OURS = _THIRD | {"about", "parts", "part_changes"}
_TABLES_OF = {2: _SECOND, 3: _THIRD}
_FROM_SECOND = """
ALTER TABLE items ADD COLUMN metadata INTEGER;
ALTER TABLE items ADD COLUMN added REAL;
ALTER TABLE items ADD COLUMN changed REAL;
ALTER TABLE changes ADD COLUMN before_metadata INTEGER;
ALTER TABLE changes ADD COLUMN after_metadata INTEGER;
ALTER TABLE changes ADD COLUMN added REAL;
CREATE TABLE replies (user TEXT, key BLOB, request BLOB, at REAL, reply TEXT, PRIMARY KEY (user, key)) WITHOUT ROWID;
"""
_TIMES = """
UPDATE items SET (added, changed) = (
    SELECT min(at), max(at) FROM changes JOIN versions USING (user, version)
    WHERE changes.user = items.user AND changes.item = items.id);
UPDATE changes SET added = (
    SELECT min(at) FROM changes AS all_of JOIN versions USING (user, version)
    WHERE all_of.user = changes.user AND all_of.item = changes.item)
"""
_OLDER = {"users", "items", "history", "history_of"}


def kind_of(database: sqlite3.Connection, path: Path) -> str:
    """Return what a file is: `new` (it is empty), `ours`, `third`, `second` (of these formats) or `older` (of format 1
    or before).

    Raises:
        DataError: it is another program's.
        FormatError: a newer version wrote it.
        sqlite3.Error: it is no database, damaged or held.
    """
    (application,) = database.execute("PRAGMA application_id").fetchone()
    (version,) = database.execute("PRAGMA user_version").fetchone()
    names = {name for (name,) in database.execute("SELECT name FROM sqlite_master")}
    names = {name for name in names if not name.startswith("sqlite_")}
    if application == APPLICATION:
        check_format("memory", version, path)
        if names == _TABLES_OF.get(version, _OURS):
            return {2: "second", 3: "third"}.get(version, "ours")
        raise DataError(f"{path} is damaged: its tables are not those of a memory. Restore it from a copy.")
    if not application and names == _OLDER:
        check_format("memory", version, path)
        return "older"
    if application or names or version:
        raise DataError(
            f"{path} is an SQLite file of another program ({', '.join(sorted(names)[:5]) or 'no tables'}), and no "
            "memory. Nothing was changed in it; give another path."
        )
    return "new"


def adopt(database: sqlite3.Connection, path: Path) -> None:
    """Make a new or older file one of ours, in the transaction that is open. Whoever was faster has done it already."""
    kind = kind_of(database, path)
    if kind == "ours":
        return
    if kind == "older":
        for table in ("users", "items", "history"):
            database.execute(f"ALTER TABLE {table} RENAME TO old_{table}")
    if kind != "third":
        _run(database, _FROM_SECOND if kind == "second" else _TABLES)
    _run(database, _OF_DESIGNS)
    if kind != "new":
        database.execute("INSERT INTO about VALUES (?, ?)", (DESIGN, STORES))
    if kind == "second":
        _run(database, _TIMES)
    if kind == "older":
        _bring_up(database)
        _run(database, _TIMES)
        for table in ("users", "items", "history"):
            database.execute(f"DROP TABLE old_{table}")
        mark(database)  # texts stood there many times
    database.execute(f"PRAGMA application_id = {APPLICATION}")
    database.execute(f"PRAGMA user_version = {FORMATS['memory']}")


def design_of(database: sqlite3.Connection) -> tuple[str, int] | None:
    """Return the design of a file's memories and its version; None: nobody has said it yet. The version that is not
    told is the first."""
    told = dict(database.execute("SELECT name, value FROM about"))
    return (str(told[DESIGN]), int(told.get(DESIGN_VERSION, 1))) if DESIGN in told else None


def name_design(database: sqlite3.Connection, design: str, version: int) -> None:
    """Write the design of a file's memories and its version, unless there is one already."""
    if design_of(database) is None:
        database.executemany("INSERT INTO about VALUES (?, ?)", [(DESIGN, design), (DESIGN_VERSION, str(version))])


def _run(database: sqlite3.Connection, statements: str) -> None:
    for statement in filter(str.strip, statements.split(";")):
        database.execute(statement)


def mark(database: sqlite3.Connection) -> None:
    """Note in the file that its free pages may hold what is erased now. The mark has a name of its own, so that whoever
    clears the file for another erasure does not take it away."""
    database.execute("INSERT INTO marks VALUES (?)", (f"{UNCLEAN} {secrets.token_hex(8)}",))


def marks(database: sqlite3.Connection) -> list[str]:
    """Return the marks of erasures that are not finished."""
    return [name for (name,) in database.execute("SELECT name FROM marks") if name.partition(" ")[0] == UNCLEAN]


def new_life() -> int:
    """Return the number of a user's life: any but 0, which is that of a user who has none."""
    return secrets.randbits(62) + 1


def number_of(database: sqlite3.Connection, user: str, text: str) -> int:
    """Return the number of a text, which is written where it is not there yet."""
    digest = hashlib.blake2b(text.encode("utf-8"), digest_size=16).digest()
    known = database.execute("SELECT number FROM texts WHERE user = ? AND digest = ?", (user, digest)).fetchone()
    if known is None:
        return database.execute("INSERT INTO texts VALUES (NULL, ?, ?, ?)", (user, digest, text)).lastrowid or 0
    return int(known[0])


def _bring_up(database: sqlite3.Connection) -> None:
    """Copy what format 1 held: a reason with each change, and items and their states as JSON."""
    for user, version, writes, counters in database.execute("SELECT user, version, writes, counters FROM old_users"):
        database.execute("INSERT INTO users VALUES (?, ?, ?, ?, ?)", (user, new_life(), version, writes, counters))
    for user, name, store, content, time, place in database.execute("SELECT * FROM old_items"):
        row = (user, name, store, number_of(database, user, content), time, place)
        database.execute("INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, NULL)", row)
    columns = "number, user, version, at, by, why, item, before, after, undoes"
    for number, user, version, at, by, why, item, before, after, undoes in database.execute(
        f"SELECT {columns} FROM old_history ORDER BY number"
    ):
        reason = number_of(database, user, why) if why else None
        told = (user, version, at, by, reason, undoes)
        database.execute("INSERT OR IGNORE INTO versions VALUES (?, ?, ?, ?, ?, ?)", told)
        states = [None if state is None else json.loads(state) for state in (before, after)]
        store = next((state["store"] for state in states if state), "")
        parts = [part for state in states for part in _parts(database, user, state)]
        database.execute(
            "INSERT INTO changes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL, NULL)",
            (number, user, version, item, store, *parts),
        )


def _parts(database: sqlite3.Connection, user: str, state: dict[str, Any] | None) -> tuple[Any, Any, Any]:
    if state is None:
        return None, None, None
    return number_of(database, user, state["content"]), state["time"], state["order"]
