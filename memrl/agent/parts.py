"""The state of a memory of any design in parts, so that a file is written what a step has changed and no more.

A snapshot is split one level deep: each item of a list of items, each entry of a dictionary, and each other value is a
part. Invariant: parts put together are the state that was split, its order included.
"""

from __future__ import annotations

import json
import sqlite3
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, pairwise
from typing import Any

_WHOLE, _ITEM, _ENTRY = "", "id", "key"
_text = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode


def split(state: Mapping[str, Any]) -> dict[str, str]:
    """Return the parts of a state in their order: each one's name, and its value as JSON."""
    parts: dict[str, str] = {}
    for key, value in state.items():
        if _are_items(value):
            parts |= {part_of_item(item["id"], key): _text(item) for item in value}
        elif isinstance(value, dict) and value and all(isinstance(name, str) for name in value):
            parts |= {_text([key, _ENTRY, name]): _text(inner) for name, inner in value.items()}
        else:
            parts[_text([key, _WHOLE, ""])] = _text(value)
    return parts


def whole(parts: Mapping[str, str]) -> dict[str, Any]:
    """Return the state that these parts are of."""
    state: dict[str, Any] = {}
    named = ((json.loads(name), value) for name, value in parts.items())
    for (key, kind), some in groupby(named, lambda part: (part[0][0], part[0][1])):
        values = [(name[2], json.loads(value)) for name, value in some]
        state[key] = (
            dict(values) if kind == _ENTRY else [value for _, value in values] if kind == _ITEM else values[0][1]
        )
    return state


def part_of_item(item_id: str, key: str = "items") -> str:
    """Return the name of the part that is an item of the list `key`."""
    return _text([key, _ITEM, item_id])


def kept_apart(database: sqlite3.Connection, user: str | None = None) -> list[dict[str, Any]]:
    """Return what the wrapper `guard` keeps apart in a file: of each write `user`, `id`, `tool`, `text`, `why`, `time`.

    Args:
        user: whose; None: of all.
    """
    rows = database.execute("SELECT user, name, value FROM parts WHERE name LIKE '[\"guard\",%' ORDER BY user, name")
    found = []
    for owner, name, value in rows:
        key, note = json.loads(name)[2], json.loads(value)
        if isinstance(note, dict) and note and user in (None, owner):
            told = {each: note[each] for each in ("tool", "text", "why", "time")}
            found.append({"user": owner, "id": key, **told})
    return found


def placed(names: Sequence[str], known: Mapping[str, float]) -> dict[str, float]:
    """Return a number for each name, growing along them. As many as can be keep the one that they have."""
    kept = _longest_run([(name, known[name]) for name in names if name in known])
    places: dict[str, float] = {}
    last: float | None = None
    for fixed, some in groupby(names, lambda name: name in kept):
        run = list(some)
        if fixed:
            places |= {name: known[name] for name in run}
        else:
            following = next((known[name] for name in names[len(places) + len(run) :] if name in kept), None)
            places |= zip(run, _between(last, following, len(run)), strict=True)
        last = places[run[-1]]
    numbers = list(places.values())
    if any(one >= other for one, other in pairwise(numbers)):  # no room is left between two
        return {name: float(number) for number, name in enumerate(names)}
    return places


def _are_items(value: Any) -> bool:
    if not isinstance(value, list) or not value:
        return False
    ids = [item.get("id") if isinstance(item, dict) else None for item in value]
    return all(isinstance(name, str) for name in ids) and len(set(ids)) == len(ids)


def _between(low: float | None, high: float | None, count: int) -> Iterable[float]:
    if high is None:
        return (float(number + 1 + (low or 0.0)) for number in range(count))
    if low is None:
        return (high - count + number for number in range(count))
    return (low + (high - low) * (number + 1) / (count + 1) for number in range(count))


def _longest_run(pairs: Sequence[tuple[str, float]]) -> set[str]:
    """Return the names of a longest run of growing numbers."""
    if all(one[1] < other[1] for one, other in pairwise(pairs)):
        return {name for name, _ in pairs}
    ends: list[float] = []
    """The least number with which a run of each length ends."""
    lengths: list[int] = []
    for _, number in pairs:
        length = bisect_left(ends, number)
        if length == len(ends):
            ends.append(number)
        else:
            ends[length] = number
        lengths.append(length)
    found: set[str] = set()
    wanted, most = len(ends) - 1, float("inf")
    for place in range(len(pairs) - 1, -1, -1):
        if lengths[place] == wanted and pairs[place][1] < most:
            found.add(pairs[place][0])
            wanted, most = wanted - 1, pairs[place][1]
    return found
