"""BM25 over memory items, kept up to date as items come and go.

One index lives as long as its memory: a write costs the words of one item, a search the postings of the query's terms.
Nothing is rebuilt per question, and what nobody looks at is not ranked: searching 100,000 items takes milliseconds.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from memrl.envs.terms import terms

_FIRST = 256
"""Items that are ranked at first; the others only where somebody looks further."""
_SPARE = 1024
"""Places of removed items that are kept before the index is packed."""


class BM25Index:
    """Okapi BM25 with the non-negative idf `ln(1 + (N - df + 0.5) / (df + 0.5))`.

    Each write takes the next place in the arrays, so that places also tell which item was written last.

    Args:
        k1: saturation of the term frequency.
        b: strength of the length normalisation, 0 to 1.
    """

    def __init__(self, k1: float = 1.5, b: float = 0.75) -> None:
        self.k1 = k1
        self.b = b
        self._clear()

    def _clear(self) -> None:
        self._postings: dict[str, dict[int, int]] = defaultdict(dict)
        self._arrays: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        """Postings as places and counts, of the terms that were searched since they last changed."""
        self._terms: dict[str, Counter[str]] = {}
        self._place: dict[str, int] = {}
        self._ids: list[str] = []
        self._lengths: NDArray[np.float64] = np.zeros(16)
        self._total = 0

    def __len__(self) -> int:
        return len(self._terms)

    def add(self, item_id: str, text: str) -> None:
        """Index an item; an id that is there already is replaced."""
        self.remove(item_id)
        self._put(item_id, Counter(terms(text)))

    def _put(self, item_id: str, counts: Counter[str]) -> None:
        place = len(self._ids)
        if place == len(self._lengths):
            self._lengths = np.concatenate([self._lengths, np.zeros(place)])
        self._ids.append(item_id)
        self._terms[item_id] = counts
        self._place[item_id] = place
        self._lengths[place] = counts.total()
        self._total += counts.total()
        for term, count in counts.items():
            self._postings[term][place] = count
            self._arrays.pop(term, None)

    def remove(self, item_id: str) -> None:
        """Forget an item; an unknown id is ignored."""
        counts = self._terms.pop(item_id, None)
        if counts is None:
            return
        place = self._place.pop(item_id)
        self._total -= counts.total()
        for term in counts:
            posting = self._postings[term]
            del posting[place]
            self._arrays.pop(term, None)
            if not posting:
                del self._postings[term]
        if len(self._ids) > 2 * len(self._terms) + _SPARE:
            self._pack()

    def _pack(self) -> None:
        """Give up the places of removed items."""
        held = sorted(self._terms.items(), key=lambda item: self._place[item[0]])
        self._clear()
        for item_id, counts in held:
            self._put(item_id, counts)

    def search(self, query: str, limit: int | None = None) -> list[tuple[str, float]]:
        """Items that share a word with the query as (id, score), best first; of equals, the last written first."""
        return list(islice(self.ranked(query), limit))

    def ranked(self, query: str) -> Iterator[tuple[str, float]]:
        """`search`, one after another; what is not asked for is not ranked."""
        if not self._terms:
            return
        number = len(self._terms)
        mean_length = self._total / number or 1.0
        scores = np.zeros(len(self._ids))
        for term in dict.fromkeys(terms(query)):
            if term not in self._postings:
                continue
            places, counts = self._posting(term)
            idf = math.log(1 + (number - len(places) + 0.5) / (len(places) + 0.5))
            norm = self.k1 * (1 - self.b + self.b * self._lengths[places] / mean_length)
            scores[places] += idf * counts * (self.k1 + 1) / (counts + norm)
        found = np.flatnonzero(scores)
        for part in _halves(found, scores):
            for place in part[np.lexsort((-part, -scores[part]))].tolist():
                yield self._ids[place], float(scores[place])

    def _posting(self, term: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if term not in self._arrays:
            posting = self._postings[term]
            places = np.fromiter(posting, dtype=np.int64, count=len(posting))
            self._arrays[term] = places, np.fromiter(posting.values(), dtype=np.float64, count=len(posting))
        return self._arrays[term]


def _halves(found: NDArray[np.int64], scores: NDArray[np.float64]) -> Iterator[NDArray[np.int64]]:
    """The best `_FIRST` places with all that equal the last of them, then the others."""
    if len(found) <= _FIRST:
        yield found
        return
    held = scores[found]
    worst = np.partition(held, -_FIRST)[-_FIRST]
    yield found[held >= worst]
    yield found[held < worst]
