"""The history of a memory: one record for each item that a change has touched, and how long lists come in pages."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from memrl.envs.designs import MemoryItem

_MOST = 2**62
"""Numbers of changes are lower: SQLite takes none of more bits."""
PAGE_CHARACTERS = 1 << 20
"""A page ends before its texts have more."""
Each = TypeVar("Each")
Name = TypeVar("Name")
_CHANGES = """
SELECT changes.number, changes.version, at, by, coalesce(why.text, ''), item, store,
    before.text, before_time, before_place, after.text, after_time, after_place, undoes,
    was.text, became.text
FROM changes JOIN versions ON versions.user = changes.user AND versions.version = changes.version
LEFT JOIN texts AS why ON why.number = versions.why
LEFT JOIN texts AS before ON before.number = changes.before
LEFT JOIN texts AS after ON after.number = changes.after
LEFT JOIN texts AS was ON was.number = changes.before_metadata
LEFT JOIN texts AS became ON became.number = changes.after_metadata
WHERE changes.user = :user AND changes.number > :after
"""


@dataclass(frozen=True)
class History:
    """Bounds of the history that is kept."""

    keep: int | None = 1000
    """Changes of each user, counted as `undo` takes them back (one text, one `execute`). Older ones are forgotten, some
    at once, and can no longer be undone. None: all."""


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
    number: int = 0
    """The change's place among all of the file."""
    before_metadata: dict[str, Any] | None = None
    """What the item bore (None: nothing, or it was not there)."""
    after_metadata: dict[str, Any] | None = None

    def characters(self) -> int:
        """Return the length of its texts."""
        states = sum(len(state.content) for state in (self.before, self.after) if state is not None)
        told = sum(len(json.dumps(each)) for each in (self.before_metadata, self.after_metadata) if each)
        return len(self.why) + states + told


def changes(
    database: sqlite3.Connection,
    user: str,
    item_id: str | None = None,
    *,
    version: int | None = None,
    after: int = 0,
    limit: int | None = None,
) -> Generator[Change, None, None]:
    """Yield changes of a user's memory, oldest first.

    Args:
        item_id, version: of that item or version alone.
        after: the number of the change after which they begin.
        limit: changes at most; None: all.
    """
    after = max(0, min(after, _MOST))
    limit = -1 if limit is None else max(0, min(limit, _MOST))
    given = {"user": user, "item": item_id, "version": version, "after": after, "limit": limit}
    which = "" if item_id is None else " AND item = :item"
    which += "" if version is None else " AND changes.version = :version"
    rows = database.execute(f"{_CHANGES}{which} ORDER BY changes.number LIMIT :limit", given)
    for number, version_, at, by, why, item, store, *states, undoes, was, became in rows:
        before, after_ = (_item(item, store, *states[place : place + 3]) for place in (0, 3))
        told = (None if text is None else json.loads(text) for text in (was, became))
        yield Change(version_, at, by, why, item, before, after_, undoes, number, *told)


def page(
    found: Iterable[Each], limit: int, size: Callable[[Each], int], name: Callable[[Each], Name]
) -> tuple[list[Each], Name | None]:
    """Return the page that begins with `found`, and the name of its last where something comes after it.

    Args:
        limit: of what is found; fewer where that has more than PAGE_CHARACTERS.
        size: characters of one.
    """
    taken: list[Each] = []
    characters = 0
    for each in found:
        if taken and (len(taken) == limit or characters + size(each) > PAGE_CHARACTERS):
            return taken, name(taken[-1])
        taken.append(each)
        characters += size(each)
    return taken, None


def place_of(item: MemoryItem | str) -> tuple[bool, str, int, str]:
    """Return the place of an item, or of its id, among all: the core first, then by store and number."""
    name = item if isinstance(item, str) else item.id
    store, _, number = name.rpartition("_")
    counted = number.isascii() and number.isdecimal() and len(number) < 20
    return name != "core", store, int(number) if counted else -1, name


def _item(name: str, store: str, content: str | None, time: str | None, place: int | None) -> MemoryItem | None:
    return None if content is None or place is None else MemoryItem(name, store, content, time, place)
