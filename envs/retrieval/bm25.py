"""BM25 over memory items, kept up to date as items come and go.

One index lives as long as its memory: a write costs the words of one item, a search the postings of the query's rare
terms. Nothing is rebuilt, and what nobody looks at is not ranked. Every score is the whole formula's, summed in the
order of the query's terms: what a search leaves out could not have come among the first.

How it leaves out (after MaxScore: Turtle and Flood 1995): a term can add no more to a score than its bound. Where
`wanted` items score more by the rarest terms of the query than all its other terms could add together, an item with
none of the rare ones is not among the first, so the postings of the others are looked at only for items that lead.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice

import numpy as np
from numpy.typing import NDArray

from memrl.envs.retrieval import WANTED
from memrl.envs.retrieval.order import ordered
from memrl.envs.retrieval.postings import Integers, Kinds, Numbers, Posting
from memrl.envs.terms import terms

_SPARE = 1024
"""Places of removed items that are kept before the index is packed."""
_FEW = 2048
"""Entries of postings a term, and ten times more, that are cheaper to add up than to think about."""
_TINY = 5e-324
"""The least number above 0."""
_SCORED = 4
"""Items for each wanted one that are cheaper to score than to thin out."""
_SHARE = 16
"""Part of all entries that the rarest terms' are likely to be enough of."""
_PROBED = 8
"""Entries of the rarest terms for each wanted item that are read for a first guess of the last one's score."""
_PASS = 16
"""Places that are looked at in one pass while one of them is found by itself."""
_ROUNDING = 1e-9
"""Share of a sum that the order of its terms could change, and far more."""


@dataclass(frozen=True)
class Removed:
    """The place of an item that was removed, and its terms: what `put_back` needs."""

    item_id: str
    place: int
    counts: Counter[str]


@dataclass(frozen=True)
class _Asked:
    """One term of a query."""

    posting: Posting
    weights: Numbers
    """By kind of a place, what the term adds to its item's score."""
    bound: float
    """The most that the term adds to any score."""


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
        self.entries_read = 0
        """Entries of postings that searches have read so far."""
        self._postings: dict[str, Posting] = {}
        self._kinds = Kinds()
        self._terms: dict[str, Counter[str]] = {}
        self._place: dict[str, int] = {}
        self._ids: list[str] = []
        self._total = 0
        self._held_places = False
        # By place; the last are scratch paper of searches.
        self._lengths: Numbers = np.zeros(16)
        self._held: NDArray[np.bool_] = np.zeros(16, dtype=bool)
        self._sums: Numbers = np.zeros(16)

    def __len__(self) -> int:
        return len(self._terms)

    def terms_of(self, text: str) -> Sequence[str]:
        """Return what a text is searched by, each as often as it is there."""
        return terms(text)

    # Writing ----------------------------------------------------------------------------------------------------

    def add(self, item_id: str, text: str) -> None:
        """Index an item; an id that is there already is replaced."""
        self.remove(item_id)
        counts = Counter(self.terms_of(text))
        place, length = len(self._ids), counts.total()
        if place == len(self._lengths):
            self._grow()
        self._ids.append(item_id)
        self._terms[item_id] = counts
        self._place[item_id] = place
        self._lengths[place] = length
        self._held[place] = True
        self._total += length
        for term, count in counts.items():
            posting = self._postings.get(term)
            if posting is None:
                posting = self._postings[term] = Posting()
            posting.append(place, self._kinds.number(count, length), count, length)

    def remove(self, item_id: str) -> Removed | None:
        """Forget an item; an unknown id is ignored. Its place stays empty until the index is packed."""
        counts = self._terms.pop(item_id, None)
        if counts is None:
            return None
        place = self._place.pop(item_id)
        self._held[place] = False
        self._total -= counts.total()
        for term in counts:
            self._postings[term].held -= 1
        self._tidy()
        return Removed(item_id, place, counts)

    def take_back(self, item_id: str) -> None:
        """Undo the last `add`, which was of a new id. Only between `hold` and `release`."""
        counts = self._terms.pop(item_id)
        place = self._place.pop(item_id)
        assert place == len(self._ids) - 1, f"{item_id!r} was not the last to be added"
        self._ids.pop()
        self._held[place] = False
        self._total -= counts.total()
        for term in counts:
            posting = self._postings[term]
            posting.pop()
            if not posting.size:
                del self._postings[term]

    def put_back(self, removed: Removed) -> None:
        """Undo a `remove`. Only between `hold` and `release`, the last first."""
        self._terms[removed.item_id] = removed.counts
        self._place[removed.item_id] = removed.place
        self._held[removed.place] = True
        self._total += removed.counts.total()
        for term in removed.counts:
            self._postings[term].held += 1

    def hold(self) -> None:
        """Pack nothing until `release`, so that what is written can be undone."""
        self._held_places = True

    def release(self) -> None:
        self._held_places = False
        self._tidy()

    def _grow(self) -> None:
        size = len(self._lengths)
        self._lengths = np.concatenate([self._lengths, np.zeros(size)])
        self._held = np.concatenate([self._held, np.zeros(size, dtype=bool)])
        self._sums = np.zeros(2 * size)

    def _tidy(self) -> None:
        if not self._held_places and len(self._ids) > 2 * len(self._terms) + _SPARE:
            self._pack()

    def _pack(self) -> None:
        """Give up the places of removed items."""
        used = len(self._ids)
        held = self._held[:used]
        renamed = np.cumsum(held) - 1
        kept = int(held.sum())
        self._ids = [self._ids[place] for place in np.flatnonzero(held).tolist()]
        self._place = {item_id: place for place, item_id in enumerate(self._ids)}
        size = max(16, 2 * kept)
        lengths = np.zeros(size)
        lengths[:kept] = self._lengths[:used][held]
        self._postings = {term: posting for term, posting in self._postings.items() if posting.held}
        for posting in self._postings.values():
            posting.keep(held, renamed)
        self._lengths = lengths
        self._held = np.arange(size) < kept
        self._sums = np.zeros(size)

    # Searching --------------------------------------------------------------------------------------------------

    def search(self, query: str, limit: int | None = None) -> list[tuple[str, float]]:
        """Items that share a word with the query as (id, score), best first; of equals, the last written first."""
        return list(islice(self.ranked(query, len(self) if limit is None else limit), limit))

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        """`search`, one after another; what is not asked for is not ranked.

        Args:
            wanted: how many will be looked at, as far as is known. More may be; they are found more slowly.
        """
        asked = self._asked(query)
        given = 0
        for places, scores in self._rankings(asked, max(wanted, 1)):
            for place, score in ordered(places, scores, given):
                given += 1
                yield self._ids[place], score

    def _asked(self, query: str) -> list[_Asked]:
        """Return the query's terms that an item holds, each once, in the order of the query."""
        number = len(self._terms)
        mean_length = self._total / number if self._total else 1.0
        counts, lengths = self._kinds.counts, self._kinds.lengths
        norms = self.k1 * (1 - self.b + self.b * lengths / mean_length)
        norms[0] = 1.0  # of the kind that is not there: any number, so that it adds 0
        found = []
        for term in dict.fromkeys(self.terms_of(query)):
            posting = self._postings.get(term)
            if posting is not None and posting.held:
                idf = math.log(1 + (number - posting.held + 0.5) / (posting.held + 0.5))
                least = self.k1 * (1 - self.b + self.b * posting.least / mean_length)
                bound = idf * posting.most * (self.k1 + 1) / (posting.most + least)
                found.append(_Asked(posting, idf * counts * (self.k1 + 1) / (counts + norms), bound))
        return found

    def _rankings(self, asked: Sequence[_Asked], wanted: int) -> Iterator[tuple[Integers, Numbers]]:
        """Yield the places and scores of the first items of all, and of more each time; of all at last."""
        if sum(one.posting.size for one in asked) > _FEW * (10 + len(asked)):
            for number in (wanted, 8 * wanted):
                leaders = self._leaders(asked, number)
                if leaders is None:
                    break
                yield leaders
        if asked:
            yield self._added_up(asked)

    def _leaders(self, asked: Sequence[_Asked], wanted: int) -> tuple[Integers, Numbers] | None:
        """Return the first `wanted` items and those that equal the last, a few less where rounding blurs who is the
        last; None where that takes more than half of the postings."""
        ordered = sorted(asked, key=lambda one: -one.bound)
        entries = list(accumulate(one.posting.size for one in ordered))
        bounds = list(accumulate(one.bound for one in ordered))
        slack = _ROUNDING * bounds[-1]
        # rests[n]: the most that the terms behind the first n can add.
        rests = [bounds[-1] - bound + slack for bound in (0.0, *bounds)]
        # A guess: a share of the entries, of the rarest terms, tells the last of the wanted from the others.
        number = max(bisect_right(entries, entries[-1] // _SHARE), bisect_left(entries, _PROBED * wanted) + 1)
        if number > len(ordered) or 2 * entries[number - 1] > entries[-1]:
            return None
        read = self._read(ordered[:number])
        try:
            places, sums = self._best(read, wanted)
            if len(places) < wanted:
                return None
            least = float(sums.min()) - slack
            if least <= rests[number]:
                least = float(self._scored(asked, places).min()) - slack
                # The shortest row of terms, behind which all others together cannot lift an item to `least`.
                needed = next((number for number, rest in enumerate(rests) if rest < least), len(ordered))
                if 2 * entries[needed - 1] > entries[-1]:
                    return None
                if needed > number:
                    read = np.concatenate([read, self._read(ordered[number:needed])])
                    number = needed
            places, sums = self._found(read, least - rests[number])
        finally:
            self._sums[read] = 0
        if len(places) > wanted:
            least = max(least, float(np.partition(sums, -wanted)[-wanted]) - slack)
        for one in (*ordered[number:], None):
            hopeful = np.flatnonzero(sums >= least - rests[number])
            if len(hopeful) < len(places):
                places, sums = places[hopeful], sums[hopeful]
            if one is None or len(places) <= _SCORED * wanted:
                break
            sums += self._scored([one], places)
            number += 1
        scores = self._scored(asked, places)
        first = scores >= least
        return places[first], scores[first]

    def _added_up(self, asked: Sequence[_Asked]) -> tuple[Integers, Numbers]:
        """Return the items that hold any of these terms, sorted, and what the terms add, summed in their order."""
        read = self._read(asked)
        found = self._found(read, 0.0)
        self._sums[read] = 0
        return found

    def _read(self, asked: Sequence[_Asked]) -> Integers:
        """Add what terms add to `_sums`. Returns the places where they did, one for each entry."""
        for one in asked:
            np.add.at(self._sums, one.posting.places, one.weights[one.posting.kinds])
        places = np.concatenate([one.posting.places for one in asked])
        self.entries_read += len(places)
        return places

    def _found(self, read: Integers, least: float) -> tuple[Integers, Numbers]:
        """Return the items at these places that have `least` in `_sums`, each once and sorted, and what they have."""
        used = len(self._ids)
        if _PASS * len(read) > used:
            held = self._sums[:used] >= max(least, _TINY)
            held &= self._held[:used]
            found = np.flatnonzero(held)
        else:
            found = read[np.flatnonzero(self._sums[read] >= least)]
            found.sort()
            once = np.ones(len(found), dtype=bool)
            np.not_equal(found[1:], found[:-1], out=once[1:])
            once &= self._held[found]
            found = found[np.flatnonzero(once)]
        return found, self._sums[found]

    def _best(self, read: Integers, wanted: int) -> tuple[Integers, Numbers]:
        """Return the `wanted` items at these places that have the most in `_sums`, sorted by place, and what they have;
        fewer where there are not so many."""
        many = 4 * wanted  # an item may be there several times, and some are removed
        first = read
        if len(read) > 4 * many:
            first = read[np.argpartition(self._sums[read], -many)[-many:]]
        places, sums = self._found(first, 0.0)
        if len(places) < wanted and len(first) < len(read):
            places, sums = self._found(read, 0.0)
        if len(places) > wanted:
            best = np.sort(np.argpartition(sums, -wanted)[-wanted:])
            places, sums = places[best], sums[best]
        return places, sums

    def _scored(self, asked: Sequence[_Asked], places: Integers) -> Numbers:
        """Return what terms add to the scores of items: the whole scores, if these are all terms of the query."""
        self.entries_read += len(asked) * len(places)
        scores, used = np.zeros(len(places)), len(self._ids)
        for one in asked:
            scores += one.weights[one.posting.kinds_at(places, used)]
        return scores
