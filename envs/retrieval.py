"""BM25 over memory items, kept up to date as items come and go.

One index lives as long as its memory: a write costs the words of one item, a search the postings of the query's words.
Nothing is rebuilt per question.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from functools import lru_cache

import snowballstemmer

_WORD = re.compile(r"\w+")
_STEMMER = snowballstemmer.stemmer("english")


def words(text: str) -> list[str]:
    """Lower-cased runs of word characters."""
    return _WORD.findall(text.lower())


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    return str(_STEMMER.stemWord(word))


def terms(text: str) -> list[str]:
    """Words as they are indexed: stemmed (Porter 2, English), so that "live" finds "lives"."""
    return [_stem(word) for word in words(text)]


class BM25Index:
    """Okapi BM25 with the non-negative idf `ln(1 + (N - df + 0.5) / (df + 0.5))`.

    Args:
        k1: saturation of the term frequency.
        b: strength of the length normalisation, 0 to 1.
    """

    def __init__(self, k1: float = 1.5, b: float = 0.75) -> None:
        self.k1 = k1
        self.b = b
        self._postings: dict[str, dict[str, int]] = defaultdict(dict)
        self._terms: dict[str, Counter[str]] = {}
        self._length: dict[str, int] = {}
        self._total = 0
        self._order: dict[str, int] = {}
        self._writes = 0

    def __len__(self) -> int:
        return len(self._terms)

    def add(self, item_id: str, text: str) -> None:
        """Index an item; an id that is there already is replaced."""
        self.remove(item_id)
        counts = Counter(terms(text))
        self._terms[item_id] = counts
        self._length[item_id] = counts.total()
        self._total += counts.total()
        self._writes += 1
        self._order[item_id] = self._writes
        for term, count in counts.items():
            self._postings[term][item_id] = count

    def remove(self, item_id: str) -> None:
        """Forget an item; an unknown id is ignored."""
        counts = self._terms.pop(item_id, None)
        if counts is None:
            return
        self._total -= self._length.pop(item_id)
        del self._order[item_id]
        for term in counts:
            posting = self._postings[term]
            del posting[item_id]
            if not posting:
                del self._postings[term]

    def search(self, query: str, limit: int | None = None) -> list[tuple[str, float]]:
        """Items that share a word with the query as (id, score), best first; of equals, the last written first."""
        if not self._terms:
            return []
        number = len(self._terms)
        mean_length = self._total / number or 1.0
        scores: dict[str, float] = defaultdict(float)
        for term in dict.fromkeys(terms(query)):
            posting = self._postings.get(term)
            if not posting:
                continue
            idf = math.log(1 + (number - len(posting) + 0.5) / (len(posting) + 0.5))
            for item_id, count in posting.items():
                norm = self.k1 * (1 - self.b + self.b * self._length[item_id] / mean_length)
                scores[item_id] += idf * count * (self.k1 + 1) / (count + norm)
        ranked = sorted(scores.items(), key=lambda pair: (-pair[1], -self._order[pair[0]]))
        return ranked if limit is None else ranked[:limit]
