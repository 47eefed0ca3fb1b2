"""The changes that calls make in a memory, told without a look at the rest of it.

    with open_journal(memory) as journal:
        memory.execute(call)
        changes = journal.diff()
        journal.undo()

A design may keep a journal itself (`open_journal`, as `stores` does); of any other, two snapshots are compared. Both
tell the same: the diff is that of the snapshots before and after, and an undone memory is the one that was.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol, cast

from memrl.envs.designs.design import MemoryDesign, diff


class Journal(Protocol):
    """The changes of a memory since the journal was opened."""

    def diff(self) -> list[dict[str, Any]]:
        """Return what `diff` tells of the snapshots then and now."""
        ...

    def undo(self) -> None:
        """Make the memory what it was."""
        ...


class JournaledDesign(MemoryDesign, Protocol):
    """A memory that keeps its own journal."""

    def open_journal(self) -> AbstractContextManager[Journal]:
        """Return a journal that is kept until the context is left. Journals may be opened one in another."""
        ...


class SnapshotJournal:
    """A journal of any design, by its snapshots: the whole memory is copied."""

    def __init__(self, memory: MemoryDesign) -> None:
        self._memory = memory
        self._before = memory.snapshot()

    def diff(self) -> list[dict[str, Any]]:
        return diff(self._before, self._memory.snapshot())

    def undo(self) -> None:
        self._memory.restore(self._before)


@contextmanager
def open_journal(memory: MemoryDesign) -> Iterator[Journal]:
    """Open the memory's own journal, or one by its snapshots where it has none."""
    if _keeps_journal(type(memory)):
        with cast(JournaledDesign, memory).open_journal() as journal:
            yield journal
    else:
        yield SnapshotJournal(memory)


def _keeps_journal(design: type) -> bool:
    """Return whether a class has a journal that knows its state: a subclass that lays the state out otherwise, and does
    not say how a journal of that is kept, has none."""
    owners = {
        name: next((place for place, base in enumerate(design.__mro__) if name in vars(base)), None)
        for name in ("open_journal", "snapshot", "restore")
    }
    own = owners.pop("open_journal")
    return own is not None and all(other is None or own <= other for other in owners.values())
