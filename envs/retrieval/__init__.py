"""Indices by which the items of a memory are found for a text: one protocol, one file an index."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol


class Index(Protocol):
    """Items by their texts, kept up to date as they come and go."""

    def add(self, item_id: str, text: str) -> None:
        """Index an item; an id that is there already is replaced."""
        ...

    def remove(self, item_id: str) -> None:
        """Forget an item; an unknown id is ignored."""
        ...

    def ranked(self, query: str) -> Iterator[tuple[str, float]]:
        """Yield the items that match as (id, score), best first; of equals, the last written first."""
        ...
