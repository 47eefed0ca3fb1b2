"""Questions drawn from all that can be asked, so that no kind crowds out another."""

from __future__ import annotations

import itertools
import random
from typing import Protocol, TypeVar


class OfKind(Protocol):
    """Something that is of a kind."""

    @property
    def kind(self) -> str:
        """The kind."""
        ...


Item = TypeVar("Item", bound=OfKind)


def by_turns(pool: list[Item], most: int, rng: random.Random) -> list[Item]:
    """Return at most so many of a pool, which is shuffled: kind by kind in turn, so that rare kinds come too."""
    rng.shuffle(pool)
    kinds: dict[str, list[Item]] = {}
    for one in pool:
        kinds.setdefault(one.kind, []).append(one)
    turns = itertools.zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [one for turn in turns for one in turn if one is not None][:most]
