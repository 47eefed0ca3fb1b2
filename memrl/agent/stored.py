"""Items with all that a memory file has of them: metadata that callers gave, when they came, when they last changed.

The policy and the reader are shown items alone; metadata are the program's own, and it finds items by them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from memrl.envs.designs import MemoryItem
from memrl.envs.tools import clean_text
from memrl.errors import DataError, TooLong

Metadata = Mapping[str, Any]
Filters = Mapping[str, Any]
"""Keys of metadata, and the value that each must have, or a list of values of which it must have one."""
LONGEST_METADATA = 1 << 14
"""Characters of an item's metadata as JSON."""
DEEPEST = 16
_STORED = """
SELECT items.id, store, said.text, time, place, coalesce(told.text, '{}'), added, changed
FROM items JOIN texts AS said ON said.number = items.text LEFT JOIN texts AS told ON told.number = items.metadata
WHERE items.user = ?
"""
_AT_ONCE = 500


@dataclass(frozen=True)
class StoredItem(MemoryItem):
    """An item as it stands in a memory's file."""

    metadata: dict[str, Any] = field(default_factory=dict)
    added: float | None = None
    """When it came, in seconds since 1970; None: before files kept that."""
    changed: float | None = None
    """When it last changed."""


def metadata_text(metadata: Metadata) -> str:
    """Return metadata as the file holds them.

    Raises:
        DataError: they are no object of JSON.
        TooLong: they have more than LONGEST_METADATA characters, or are nested too deep.
    """
    if not isinstance(metadata, Mapping):
        raise DataError("metadata must be an object: names and values.")
    try:
        text = json.dumps(_cleaned(dict(metadata)), ensure_ascii=False, allow_nan=False, sort_keys=True)
    except (TypeError, ValueError) as error:
        raise DataError(f"metadata must be what JSON can hold: {clean_text(str(error))[:200]}.") from None
    if len(text) > LONGEST_METADATA:
        raise TooLong(f"the metadata have {len(text)} characters as JSON; {LONGEST_METADATA} are allowed.")
    return text


def matches(metadata: Metadata, filters: Filters) -> bool:
    """Return whether metadata have, for each filter's name, its value, or one of its list of values."""
    return all(
        name in metadata
        and any(_same(metadata[name], value) for value in ([*wanted, wanted] if isinstance(wanted, list) else [wanted]))
        for name, wanted in filters.items()
    )


def stored_item(database: sqlite3.Connection, user: str, item_id: str) -> StoredItem | None:
    """Return one item of a user, if it is there."""
    row = database.execute(f"{_STORED} AND items.id = ?", (user, item_id)).fetchone()
    return None if row is None else _item(row)


def stored_items(database: sqlite3.Connection, user: str, ids: Iterable[str]) -> list[StoredItem]:
    """Return a user's items of these ids, in this order; those that are not there are left out."""
    wanted = list(ids)
    found: dict[str, StoredItem] = {}
    for start in range(0, len(wanted), _AT_ONCE):
        some = wanted[start : start + _AT_ONCE]
        which = f"{_STORED} AND items.id IN ({', '.join('?' * len(some))})"
        found |= {row[0]: _item(row) for row in database.execute(which, (user, *some))}
    return [found[name] for name in wanted if name in found]


def ids_that_match(database: sqlite3.Connection, user: str, filters: Filters) -> set[str]:
    """Return the ids of a user's items whose metadata match."""
    rows = database.execute("SELECT id, metadata FROM items WHERE user = ? AND metadata IS NOT NULL", (user,))
    by_number: dict[int, list[str]] = {}
    for name, number in rows:
        by_number.setdefault(number, []).append(name)
    fit: set[str] = set()
    for number, names in by_number.items():  # one add gives all its items the same
        (text,) = database.execute("SELECT text FROM texts WHERE number = ?", (number,)).fetchone()
        if matches(json.loads(text), filters):
            fit.update(names)
    return fit


def metadata_of(database: sqlite3.Connection, user: str, item_id: str) -> dict[str, Any]:
    """Return the metadata of one item; empty where it has none, or is not there."""
    found = stored_item(database, user, item_id)
    return {} if found is None else found.metadata


def _item(row: tuple[Any, ...]) -> StoredItem:
    name, store, content, time, place, metadata, added, changed = row
    return StoredItem(name, store, content, time, place, json.loads(metadata), added, changed)


def _same(one: Any, other: Any) -> bool:
    """Return whether two values of JSON are the same: true is not 1 there."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _cleaned(value: Any, depth: int = 0) -> Any:
    """Return a value of JSON without halves of surrogate pairs."""
    if depth > DEEPEST:
        raise TooLong(f"the metadata are nested deeper than {DEEPEST} levels.")
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise TypeError("names must be text")
        return {clean_text(name): _cleaned(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_cleaned(inner, depth + 1) for inner in value]
    return value
