"""Items in the order of their scores, sorted as far as somebody looks."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from memrl.envs.retrieval.postings import Integers, Numbers

_FIRST = 256
"""Items that are sorted at first."""


def ordered(places: Integers, scores: Numbers, skipped: int) -> Iterator[tuple[int, float]]:
    """Yield places and scores, best first, of equals the last place first, but for the first `skipped`."""
    for part in _halves(scores):
        if skipped >= len(part):
            skipped -= len(part)
            continue
        part = part[np.lexsort((-places[part], -scores[part]))][skipped:]
        skipped = 0
        yield from zip(places[part].tolist(), scores[part].tolist(), strict=True)


def _halves(scores: Numbers) -> Iterator[Integers]:
    """Yield the best `_FIRST` with all that equal the last of them, then the others."""
    if len(scores) <= _FIRST:
        yield np.arange(len(scores))
        return
    worst = np.partition(scores, -_FIRST)[-_FIRST]
    yield np.flatnonzero(scores >= worst)
    yield np.flatnonzero(scores < worst)
