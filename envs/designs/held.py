"""The items that a memory holds: found by id, by their age and by their words, and what was changed undone.

A write costs the item that is written, whatever else is held: nothing here looks at all items but `snapshot`, and the
order of items after an undoing, which is mended once somebody asks for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from memrl.envs.designs.design import MemoryItem, TokenCounter, diff
from memrl.envs.errors import EnvironmentFault
from memrl.envs.retrieval import WANTED, Index
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.text import fold


@dataclass(frozen=True)
class Forgotten:
    """An item that was deleted or replaced, and what is needed to put it back."""

    item: MemoryItem
    tokens: int
    position: int
    told: bool
    """Whether a repetition was told by this item."""
    removed: Any
    """What the index has returned."""


class HeldItems:
    """The core paragraph and the other items of one memory.

    Args:
        count_tokens: tokens of a text.
        stores: names of the stores, the core not among them.
        says: the text of an item that another one must not repeat in the same store; None: what is counted of it.
        index: by which items are found, empty; None: one of `bm25`.
    """

    def __init__(
        self,
        count_tokens: TokenCounter,
        stores: Iterable[str] = ("semantic", "episodic"),
        says: Callable[[MemoryItem], str] | None = None,
        index: Index | None = None,
    ) -> None:
        self.core: MemoryItem | None = None
        self.index: Index = BM25Index() if index is None else index
        """All items but the core."""
        self.counters = dict.fromkeys(stores, 0)
        """Ids given out, by store."""
        self.writes = 0
        self.total = 0
        """Tokens of all items."""
        self.undone = 0
        """How often something was undone."""
        self._count = count_tokens
        self._says = says or counted
        self._items: dict[str, MemoryItem] = {}
        self._latest: dict[str, MemoryItem] = {}
        """All items, the last written last."""
        self._positions: dict[str, int] = {}
        """Numbers that grow along `_items`."""
        self._last_position = 0
        self._mixed = False
        """Whether an undoing has left `_items` and `_latest` out of order."""
        self._tokens: dict[str, int] = {}
        self._lines: dict[str, tuple[MemoryItem, int]] = {}
        """Items that a view has looked at, and the tokens of their lines."""
        self._told: dict[tuple[str, str], str] = {}
        """Ids by what the items say."""
        self._log: list[tuple[str, Forgotten | None]] = []
        """Ids that were written or deleted since the outermost open journal was opened, and what they were (None: not
        there)."""
        self._journals = 0

    def __len__(self) -> int:
        return len(self._tokens)

    @property
    def items(self) -> tuple[MemoryItem, ...]:
        """All items but the core, in the order in which they came."""
        self._sort()
        return tuple(self._items.values())

    @property
    def journals(self) -> int:
        """Journals that are open."""
        return self._journals

    def newest(self) -> Iterator[MemoryItem]:
        """Return the items but for the core, the last written first."""
        self._sort()
        return (item for item in reversed(self._latest.values()) if item is not self.core)

    def oldest(self) -> Iterator[MemoryItem]:
        """Return the items but for the core, the last written last."""
        self._sort()
        return (item for item in self._latest.values() if item is not self.core)

    def get(self, item_id: str) -> MemoryItem | None:
        """Return the item of that id, `core` for the core."""
        return self.core if item_id == "core" else self._items.get(item_id)

    def ranked(self, text: str, wanted: int = WANTED) -> Iterator[MemoryItem]:
        """Yield the items but for the core, those that match a text best first.

        Args:
            wanted: how many will be looked at, as far as is known.

        Raises:
            EnvironmentFault: the index names an item that is not held, or names one twice.
        """
        given: set[str] = set()
        for item_id, _ in self.index.ranked(text, wanted):
            item = self._items.get(item_id)
            if item is None or item_id in given:
                why = "a second time" if item_id in given else "which the memory does not hold"
                raise EnvironmentFault(
                    f"the index {type(self.index).__name__} finds the item {item_id!r}, {why}: it disagrees with what "
                    "was written. Mend it, or set memory.retrieval=bm25"
                )
            given.add(item_id)
            yield item

    def twin(self, item: MemoryItem) -> MemoryItem | None:
        """Return the item that says the same in the same store, if one is held; it may be the one of this id."""
        held = self._told.get(self._key(item))
        return self.get(held) if held else None

    def tokens(self, item_id: str) -> int:
        """Return the tokens of an item; 0 where there is none."""
        return self._tokens.get(item_id, 0)

    def line_tokens(self, item: MemoryItem) -> int:
        """Return the tokens of an item's line, counted once for an item."""
        known = self._lines.get(item.id)
        if known is not None and (known[0] is item or known[0] == item):
            return known[1]
        tokens = self._count(item.line())
        self._lines[item.id] = item, tokens
        return tokens

    # Writing ----------------------------------------------------------------------------------------------------

    def write(self, item: MemoryItem, tokens: int) -> None:
        """Hold an item in the place of the one of its id, if there is one."""
        old = self.get(item.id)
        self._note(item.id, None if old is None else self._forget(old))
        self.writes += 1
        self.keep(item, tokens)

    def delete(self, item: MemoryItem) -> None:
        """Forget an item, which is not the core."""
        self._note(item.id, self._forget(item))
        del self._items[item.id]
        del self._positions[item.id]

    def keep(self, item: MemoryItem, tokens: int) -> None:
        """Hold an item that was written before; there is none of its id."""
        self._tokens[item.id] = tokens
        self.total += tokens
        self._latest[item.id] = item
        self._told[self._key(item)] = item.id
        if item.store == "core":
            self.core = item
            return
        if item.id not in self._positions:
            self._last_position += 1
            self._positions[item.id] = self._last_position
        self._items[item.id] = item
        self.index.add(item.id, counted(item))

    def sort(self, ids: list[str]) -> None:
        """Take the order of these ids for that in which the items came."""
        self._items = {name: self._items[name] for name in ids}
        self._positions = {name: position for position, name in enumerate(self._items, start=1)}
        self._last_position = len(self._items)

    def _forget(self, item: MemoryItem) -> Forgotten:
        tokens, key = self._tokens.pop(item.id), self._key(item)
        self.total -= tokens
        del self._latest[item.id]
        told = self._told.get(key) == item.id
        if told:
            del self._told[key]
        self._lines.pop(item.id, None)
        return Forgotten(item, tokens, self._positions.get(item.id, 0), told, self.index.remove(item.id))

    def _sort(self) -> None:
        if self._mixed:
            self._items = dict(sorted(self._items.items(), key=lambda pair: self._positions[pair[0]]))
            self._latest = dict(sorted(self._latest.items(), key=lambda pair: pair[1].order))
            self._mixed = False

    # Journals ---------------------------------------------------------------------------------------------------

    @contextmanager
    def open_journal(self) -> Iterator[ItemJournal]:
        """Return a journal that is kept until the context is left. Journals may be opened one in another."""
        self._journals += 1
        self.index.hold()
        try:
            yield ItemJournal(self, len(self._log))
        finally:
            self._journals -= 1
            if not self._journals:
                self._log.clear()
                self.index.release()

    def changed(self, begin: int) -> dict[str, Forgotten | None]:
        """Return the ids that were written or deleted since the log had `begin` entries, in the order of their first
        change, and what they were (None: not there)."""
        found: dict[str, Forgotten | None] = {}
        for item_id, before in itertools.islice(self._log, begin, None):
            found.setdefault(item_id, before)
        return found

    def position(self, item_id: str) -> int:
        """Return a number that is greater for the later of two items; the core's is the least."""
        return self._positions.get(item_id, 0)

    def undo(self, begin: int) -> None:
        """Take back what was written or deleted since the log had `begin` entries."""
        self.undone += 1
        while len(self._log) > begin:
            item_id, before = self._log.pop()
            now = self.get(item_id)
            if now is not None:
                self._take_back(now, replaced=before is not None)
            if before is not None:
                self._put_back(before)

    def _take_back(self, item: MemoryItem, *, replaced: bool) -> None:
        """Undo `keep`, which was the last."""
        self.total -= self._tokens.pop(item.id)
        del self._latest[item.id]
        del self._told[self._key(item)]
        self._lines.pop(item.id, None)
        if item.store == "core":
            self.core = None
            return
        self.index.take_back(item.id)
        if not replaced:
            del self._items[item.id]
            del self._positions[item.id]

    def _put_back(self, before: Forgotten) -> None:
        """Undo `_forget`, which was the last."""
        item = before.item
        self._tokens[item.id] = before.tokens
        self.total += before.tokens
        self._latest[item.id] = item
        if before.told:
            self._told[self._key(item)] = item.id
        self._mixed = True
        if item.store == "core":
            self.core = item
            return
        self._items[item.id] = item
        self._positions[item.id] = before.position
        self.index.put_back(before.removed)

    def _key(self, item: MemoryItem) -> tuple[str, str]:
        return item.store, fold(self._says(item))

    def _note(self, item_id: str, before: Forgotten | None) -> None:
        if self._journals:
            self._log.append((item_id, before))


class ItemJournal:
    """The changes of held items since the journal was opened. It costs what was changed, not what is held.

    Args:
        begin: entries of the log before.
    """

    def __init__(self, held: HeldItems, begin: int) -> None:
        self._held = held
        self._begin = begin
        self._counters = dict(held.counters)
        self._writes = held.writes

    def touched(self) -> dict[str, MemoryItem | None]:
        """Return the ids that were written or deleted, in the order of their first change, and what they were (None:
        not there)."""
        changed = self._held.changed(self._begin)
        return {name: None if before is None else before.item for name, before in changed.items()}

    def diff(self) -> list[dict[str, Any]]:
        """Return what `diff` tells of the snapshots then and now."""
        changed = self._held.changed(self._begin)
        was = sorted((before for before in changed.values() if before), key=lambda before: before.position)
        now = [item for name in sorted(changed, key=self._held.position) if (item := self._held.get(name))]
        return diff({"items": [vars(before.item) for before in was]}, {"items": [vars(item) for item in now]})

    def undo(self) -> None:
        """Make the items what they were."""
        self._held.undo(self._begin)
        self._held.counters = dict(self._counters)
        self._held.writes = self._writes


def counted(item: MemoryItem) -> str:
    """Return the text of an item that its tokens are counted of, and that is searched."""
    return f"{item.time} {item.content}" if item.time else item.content
