"""The writer of a change: the version that it is, the items that it has changed, and what they were before.

Invariant: all of it is in the transaction that is open, and a change that changes nothing is none.
"""

from __future__ import annotations

import sqlite3
import time as clock
from collections.abc import Callable, Mapping
from typing import Any

from memrl.agent.layout import number_of
from memrl.agent.states import Touched
from memrl.envs.designs import MemoryItem

Get = Callable[[str], MemoryItem | None]
_LAST = """
SELECT max(version) FROM versions WHERE user = :user AND undoes IS NULL AND version > :floor
AND version NOT IN (SELECT undoes FROM versions WHERE user = :user AND undoes IS NOT NULL)
"""


def last_change(database: sqlite3.Connection, user: str, floor: int) -> int | None:
    """Return the newest version that is no undoing, nor undone; None: there is none.

    Args:
        floor: the version up to which nothing can be taken back.
    """
    found: int | None = database.execute(_LAST, {"user": user, "floor": floor}).fetchone()[0]
    return found


def write_changes(
    database: sqlite3.Connection,
    user: str,
    version: int,
    touched: Touched,
    get: Get,
    *,
    by: str,
    why: str,
    undoes: int | None = None,
    bears: Mapping[str, int | None] | None = None,
    came: Mapping[str, float | None] | None = None,
) -> bool:
    """Bring a user's items to what they are in memory, and note what they were.

    Args:
        version: the number of the change.
        get: the item of an id, as it is now.
        undoes: the version that this takes back.
        bears: the numbers of metadata that items then have; those of others stay.
        came: when items came that are brought back.

    Returns:
        Whether there was a change.
    """
    at, bears, came = clock.time(), bears or {}, came or {}
    held_rows = {name: _held_row(database, user, name) for name in touched.before}
    changed = {
        name: before
        for name, before in touched.before.items()
        if before != get(name)
        or name in touched.altered
        or (before is not None and name in bears and bears[name] != (held_rows[name] or (None,))[0])
    }
    if not changed:
        return False
    told = (user, version, at, by, number_of(database, user, why) if why else None, undoes)
    database.execute("INSERT INTO versions VALUES (?, ?, ?, ?, ?, ?)", told)
    for name, before in changed.items():
        now = get(name)
        was, added = held_rows[name] or (None, came.get(name, at))
        becomes = None if now is None else bears.get(name, was)
        _write_item(database, user, name, now, (becomes, added, at))
        store = next((state.store for state in (now, before) if state is not None), "")
        states = [part for state in (before, now) for part in _parts(database, user, state)]
        change = (user, version, name, store, *states, was, becomes, added)
        database.execute("INSERT INTO changes VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", change)
    return True


def write_items(database: sqlite3.Connection, user: str, touched: Touched, get: Get) -> None:
    """Bring a user's items to what they are in memory, and note nothing: for what an erasing has changed."""
    at = clock.time()
    for name in touched.before:
        metadata, added = _held_row(database, user, name) or (None, at)
        _write_item(database, user, name, get(name), (metadata, added, at))


def _held_row(database: sqlite3.Connection, user: str, name: str) -> tuple[int | None, float | None] | None:
    """Return the number of an item's metadata, and when it came; None: it is not there."""
    row: tuple[int | None, float | None] | None = database.execute(
        "SELECT metadata, added FROM items WHERE user = ? AND id = ?", (user, name)
    ).fetchone()
    return row


def _write_item(
    database: sqlite3.Connection,
    user: str,
    name: str,
    item: MemoryItem | None,
    rest: tuple[int | None, float | None, float],
) -> None:
    if item is None:
        database.execute("DELETE FROM items WHERE user = ? AND id = ?", (user, name))
        return
    row = (user, name, item.store, number_of(database, user, item.content), item.time, item.order, *rest)
    database.execute("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", row)


def _parts(database: sqlite3.Connection, user: str, item: MemoryItem | None) -> tuple[Any, Any, Any]:
    return (None, None, None) if item is None else (number_of(database, user, item.content), item.time, item.order)
