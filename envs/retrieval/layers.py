"""Indices that are made of others: several that are written together, the plain texts, and one that waits with its
work until somebody asks.

Invariant: what is undone here is undone in the indices below, in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from memrl.envs.retrieval import WANTED, Index

_AT_ONCE = 4096
"""Writes whose texts are prepared at once."""


class Together:
    """Several indices with the same items. A subclass says how they are searched.

    Args:
        parts: the indices, empty.
    """

    def __init__(self, *parts: Index) -> None:
        self.parts = parts

    def add(self, item_id: str, text: str) -> None:
        for part in self.parts:
            part.add(item_id, text)

    def remove(self, item_id: str) -> tuple[Any, ...]:
        return tuple(part.remove(item_id) for part in self.parts)

    def hold(self) -> None:
        for part in self.parts:
            part.hold()

    def release(self) -> None:
        for part in self.parts:
            part.release()

    def take_back(self, item_id: str) -> None:
        for part in self.parts:
            part.take_back(item_id)

    def put_back(self, removed: tuple[Any, ...]) -> None:
        for part, one in zip(self.parts, removed, strict=True):
            part.put_back(one)


class Texts:
    """The texts of items by their ids: an index that finds nothing, beside one that needs what it has found."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}

    def __getitem__(self, item_id: str) -> str:
        return self._texts[item_id]

    def add(self, item_id: str, text: str) -> None:
        self._texts[item_id] = text

    def remove(self, item_id: str) -> tuple[str, str | None]:
        return item_id, self._texts.pop(item_id, None)

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        return iter(())

    def hold(self) -> None:
        """Do nothing: a text that is removed takes no place."""

    def release(self) -> None:
        """Do nothing, as `hold`."""

    def take_back(self, item_id: str) -> None:
        del self._texts[item_id]

    def put_back(self, removed: tuple[str, str | None]) -> None:
        item_id, text = removed
        if text is not None:
            self._texts[item_id] = text


@dataclass(eq=False)
class _Added:
    item_id: str
    text: str


@dataclass(eq=False)
class _Removed:
    item_id: str
    found: Any = None
    """What the index below has returned, once it was told."""


class Waiting:
    """An index that costs nothing until it is searched: what is written meanwhile is told to the index below then, all
    texts having been prepared at once.

    Args:
        index: the index below.
        prepare: does what is slow for texts, so that the index below finds it done.
    """

    def __init__(self, index: Index, prepare: Callable[[Sequence[str]], object]) -> None:
        self._index = index
        self._prepare = prepare
        self._there: set[str] = set()
        self._waiting: list[_Added | _Removed] = []
        self._held = False

    def add(self, item_id: str, text: str) -> None:
        self._there.add(item_id)
        self._waiting.append(_Added(item_id, text))

    def remove(self, item_id: str) -> _Removed | None:
        if item_id not in self._there:
            return None
        self._there.remove(item_id)
        removed = _Removed(item_id)
        self._waiting.append(removed)
        return removed

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        self._tell()
        return self._index.ranked(query, wanted)

    def hold(self) -> None:
        self._held = True
        self._index.hold()

    def release(self) -> None:
        self._held = False
        self._index.release()

    def take_back(self, item_id: str) -> None:
        self._there.remove(item_id)
        if self._waiting:
            self._waiting.pop()
        else:
            self._index.take_back(item_id)

    def put_back(self, removed: _Removed) -> None:
        self._there.add(removed.item_id)
        if self._waiting:
            self._waiting.pop()
        else:
            self._index.put_back(removed.found)

    def _tell(self) -> None:
        """Tell the index below what has been written."""
        if not self._held:
            self._waiting = _without_what_went_again(self._waiting)
        while self._waiting:
            some, self._waiting = self._waiting[:_AT_ONCE], self._waiting[_AT_ONCE:]
            try:
                self._prepare([one.text for one in some if isinstance(one, _Added)])
            except BaseException:
                self._waiting = some + self._waiting
                raise
            for one in some:
                if isinstance(one, _Added):
                    self._index.add(one.item_id, one.text)
                else:
                    one.found = self._index.remove(one.item_id)


def _without_what_went_again(written: Sequence[_Added | _Removed]) -> list[_Added | _Removed]:
    """Return what was written but for texts that were removed or replaced since: nobody can ask for them."""
    left: dict[int, _Added | _Removed] = {}
    added: dict[str, int] = {}
    for place, one in enumerate(written):
        if one.item_id in added:
            del left[added.pop(one.item_id)]
        if isinstance(one, _Added):
            added[one.item_id] = place
        left[place] = one
    return list(left.values())
