"""The state of a memory as its file holds it: read when it is asked for, and written with each change.

A memory of a design that is laid out as `stores` is (`HeldDesign`) is its items and two counters, and its journal tells
what a step has touched: a step costs what it changes. Of any other design two snapshots are compared, part by part, and
the parts that differ are written.
Invariant: what is read is what was written last, order included; what is taken back is what was there before.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, Protocol

from memrl.agent.erasing import texts_of
from memrl.agent.history import Change
from memrl.agent.parts import part_of_item, placed, split, whole
from memrl.envs.designs import MemoryDesign, MemoryItem
from memrl.envs.designs.base import HeldDesign
from memrl.envs.designs.held import ItemJournal
from memrl.errors import NotOffered

_ITEMS = """
SELECT id, store, texts.text, time, place FROM items JOIN texts ON number = items.text WHERE items.user = ? ORDER BY id
"""
_LAYOUT = ("snapshot", "restore", "counts", "open_journal")


@dataclass(frozen=True)
class Touched:
    """The items that may have changed, and what they were (None: not there)."""

    before: dict[str, MemoryItem | None]
    altered: frozenset[str] = field(default_factory=frozenset)
    """Those that have changed, also where what is shown of them is the same."""


class State(Protocol):
    """The state of one user's memory between a design and the file."""

    @property
    def floor(self) -> int:
        """The version up to which nothing can be taken back."""
        ...

    def read(self, database: sqlite3.Connection, writes: int | None, counters: str | None) -> None:
        """Make the memory what the file holds.

        Args:
            writes, counters: as the file has them; None: it knows nothing of the user.
        """
        ...

    def watching(self) -> AbstractContextManager[None]:
        """Return a time in which `touched` tells what has changed since it began."""
        ...

    def touched(self) -> Touched:
        """Return what has changed."""
        ...

    def differs(self) -> bool:
        """Return whether `touched` found something to write that no item shows."""
        ...

    def write(self, database: sqlite3.Connection, version: int | None) -> None:
        """Write what `touched` found.

        Args:
            version: what takes it back; None: nothing does.
        """
        ...

    def counts(self) -> tuple[int, str]:
        """Return what the file keeps with the user: the number of writes, and counters as JSON."""
        ...

    def take_back(self, database: sqlite3.Connection, version: int, taken: Sequence[Change]) -> Touched:
        """Make the memory what it was before a version, whose changes are `taken`. Returns what has changed."""
        ...

    def erase(self, database: sqlite3.Connection, item_id: str, version: int) -> Touched:
        """Take an item out of the memory, and all that could bring it back.

        Args:
            version: the newest.

        Raises:
            NotOffered: the design cannot remove it, or holds elsewhere what it said.
        """
        ...


def open_state(memory: MemoryDesign, design: str, user: str) -> State:
    """Return the state of a new memory of a design, as a user's file will hold it."""
    if isinstance(memory, HeldDesign) and _is_items_alone(type(memory)):
        return ItemState(memory, user)
    return PartState(memory, design, user)


def _is_items_alone(design: type[HeldDesign]) -> bool:
    """Return whether a design's state is laid out as its base says: items of five fields, and counters."""
    same = all(getattr(design, name) is getattr(HeldDesign, name) for name in _LAYOUT)
    return same and {each.name for each in fields(design.item_type)} == {each.name for each in fields(MemoryItem)}


def all_items(memory: MemoryDesign) -> list[MemoryItem]:
    """Return the items of a memory; the core paragraph first, which `stores` does not count as one of its items."""
    items = list(memory.items)
    core = memory.get("core")
    return items if core is None or any(item.id == "core" for item in items) else [core, *items]


def told(memory: MemoryDesign, item: MemoryItem) -> str:
    """Return the sentence of an item, without what its design has written to it."""
    return memory.told(item) if isinstance(memory, HeldDesign) else item.content


class ItemState:
    """The state of a memory of items: these, and the counters beside them."""

    floor = 0

    def __init__(self, memory: HeldDesign, user: str) -> None:
        self._memory = memory
        self._empty = memory.snapshot()
        self._user = user
        self._journal: ItemJournal | None = None

    def read(self, database: sqlite3.Connection, writes: int | None, counters: str | None) -> None:
        rows = database.execute(_ITEMS, (self._user,))
        items = [dict(zip(("id", "store", "content", "time", "order"), row, strict=True)) for row in rows]
        counted = dict(self._empty["counters"] if counters is None else json.loads(counters))
        self._memory.restore({**self._empty, "items": items, "counters": counted, "writes": writes or 0})

    @contextmanager
    def watching(self) -> Iterator[None]:
        with self._memory.open_journal() as self._journal:
            yield
        self._journal = None

    def touched(self) -> Touched:
        assert self._journal is not None
        return Touched(self._journal.touched())

    def differs(self) -> bool:
        return False

    def write(self, database: sqlite3.Connection, version: int | None) -> None:
        """Write nothing: the items are rows that the history's writer brings up, and counters stand with the user."""

    def counts(self) -> tuple[int, str]:
        state = self._memory.counts()
        return state["writes"], json.dumps(state["counters"])

    def take_back(self, database: sqlite3.Connection, version: int, taken: Sequence[Change]) -> Touched:
        state = self._memory.snapshot()
        held = {item["id"]: item for item in state["items"]}
        now = {change.item_id: self._memory.get(change.item_id) for change in taken}
        for change in taken:
            held.pop(change.item_id, None)
            if change.before is not None:
                held[change.item_id] = dict(vars(change.before))
        self._memory.restore({**state, "items": list(held.values())})
        return Touched(now)

    def erase(self, database: sqlite3.Connection, item_id: str, version: int) -> Touched:
        """Take the item out by the design's own calls, so that no other one points to it."""
        item = self._memory.get(item_id)
        if item is None:
            return Touched({})
        with self._memory.open_journal() as journal:
            for call in self._memory.drop(item):
                self._memory.execute(call)
            return Touched(journal.touched())


class PartState:
    """The state of a memory of any design, in parts (`memrl.agent.parts`).

    Args:
        design: its name, for messages.
    """

    def __init__(self, memory: MemoryDesign, design: str, user: str) -> None:
        self.floor = 0
        self._memory = memory
        self._design = design
        self._user = user
        self._empty = split(memory.snapshot())
        self._parts: dict[str, str] = {}
        """What the file holds, in order."""
        self._places: dict[str, float] = {}
        self._items: dict[str, MemoryItem] = {}
        self._next: dict[str, str] = {}
        """What `touched` has found."""
        self._next_places: Mapping[str, float] = {}

    def read(self, database: sqlite3.Connection, writes: int | None, counters: str | None) -> None:
        rows = database.execute(
            "SELECT name, place, value FROM parts WHERE user = ? ORDER BY place, name", (self._user,)
        ).fetchall()
        self._hold({name: value for name, _, value in rows}, {name: place for name, place, _ in rows})
        self.floor = json.loads(counters or "{}").get("floor", 0)
        self._memory.restore(whole(self._parts or self._empty))
        self._items = self._held()

    @contextmanager
    def watching(self) -> Iterator[None]:
        yield

    def touched(self) -> Touched:
        return self._compared(self._places)

    def differs(self) -> bool:
        return self._next != self._parts

    def write(self, database: sqlite3.Connection, version: int | None) -> None:
        places = placed(list(self._next), self._next_places)
        for name in {**self._parts, **self._next}:
            before = self._places.get(name), self._parts.get(name)
            now = places.get(name), self._next.get(name)
            if before == now:
                continue
            if version is not None:
                database.execute(
                    "INSERT OR IGNORE INTO part_changes VALUES (?, ?, ?, ?, ?)", (self._user, version, name, *before)
                )
            if now[1] is None:
                database.execute("DELETE FROM parts WHERE user = ? AND name = ?", (self._user, name))
            else:
                database.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?, ?)", (self._user, name, *now))
        self._hold(self._next, places)
        self._items = self._held()

    def counts(self) -> tuple[int, str]:
        return 0, json.dumps({"floor": self.floor} if self.floor else {})

    def take_back(self, database: sqlite3.Connection, version: int, taken: Sequence[Change]) -> Touched:
        parts, places = dict(self._parts), dict(self._places)
        for name, place, value in database.execute(
            "SELECT name, place, value FROM part_changes WHERE user = ? AND version = ?", (self._user, version)
        ):
            if value is None:
                parts.pop(name, None)
                places.pop(name, None)
            else:
                parts[name], places[name] = value, place
        ordered = sorted(parts, key=lambda name: (places[name], name))
        self._memory.restore(whole({name: parts[name] for name in ordered} or self._empty))
        return self._compared(places)

    def erase(self, database: sqlite3.Connection, item_id: str, version: int) -> Touched:
        said, item = texts_of(database, self._user, item_id), self._memory.get(item_id)
        if not said:
            return Touched({})
        if item is not None:
            calls = self._memory.drop(item)
            done = [self._memory.execute(call) for call in calls]
            if not calls or not all(result.ok for result in done) or self._memory.get(item_id) is not None:
                raise NotOffered(f"a memory of the design {self._design} cannot remove {item_id}. Erase the user.")
        touched = self._compared(self._places)
        if any(map(self._still_says, said)):
            raise NotOffered(
                f"a memory of the design {self._design} holds what {item_id} said elsewhere too. Erase the user."
            )
        database.execute("DELETE FROM part_changes WHERE user = ?", (self._user,))
        self.floor = version + 1
        return touched

    def _hold(self, parts: dict[str, str], places: Mapping[str, float]) -> None:
        self._parts, self._places = parts, dict(places)
        self._next, self._next_places = parts, self._places

    def _held(self) -> dict[str, MemoryItem]:
        return {item.id: item for item in all_items(self._memory)}

    def _compared(self, places: Mapping[str, float]) -> Touched:
        """Compare the memory with what the file holds.

        Args:
            places: the numbers that parts keep where they can.
        """
        self._next, self._next_places = split(self._memory.snapshot()), places
        items = self._held()
        names = list({**self._items, **items})
        altered = {name for name in names if self._part_has_changed(part_of_item(name))}
        before = {
            name: self._items.get(name) for name in names if name in altered or self._items.get(name) != items.get(name)
        }
        return Touched(before, frozenset(altered))

    def _part_has_changed(self, name: str) -> bool:
        return self._parts.get(name) != self._next.get(name)

    def _still_says(self, text: str) -> bool:
        """Return whether a part says a text that is not one of an item which says the same."""
        items = {part_of_item(item.id): item.content for item in all_items(self._memory)}
        said = re.compile(rf"(?<!\w){re.escape(text)}(?!\w)")
        return any(
            said.search(each)
            for name, value in self._next.items()
            if text not in items.get(name, "")
            for each in _strings(json.loads(value))
        )


def _strings(value: Any) -> Iterator[str]:
    """Yield the texts in a value of JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
        value = list(value.values())
    if isinstance(value, list):
        for each in value:
            yield from _strings(each)
