"""Indices by which the items of a memory are found for a text: one protocol, one file an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

WANTED = 64
"""Items that are ranked at first, where nobody says how many; the others only where somebody looks further."""


class Index(Protocol):
    """Items by their texts, kept up to date as they come and go.

    Between `hold` and `release`, writes can be undone, the last first, each by its opposite.
    """

    def add(self, item_id: str, text: str) -> None:
        """Index an item; an id that is there already is replaced."""
        ...

    def remove(self, item_id: str) -> Any:
        """Forget an item; an unknown id is ignored. Returns what `put_back` takes."""
        ...

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        """Yield the items that match as (id, score), best first; of equals, the last written first.

        Args:
            wanted: how many will be looked at, as far as is known. More may be; they are found more slowly.
        """
        ...

    def hold(self) -> None:
        """Keep what undoing needs, until `release`."""
        ...

    def release(self) -> None:
        """Let go of what `hold` has kept."""
        ...

    def take_back(self, item_id: str) -> None:
        """Undo the last `add`, which was of a new id."""
        ...

    def put_back(self, removed: Any) -> None:
        """Undo a `remove`; given is what it returned."""
        ...
