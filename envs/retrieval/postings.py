"""Postings of an index that grow in place: by term, where it stands and of what kind each place is.

Places are given out in the order of writing and never given twice, so a posting is sorted by place without sorting.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Numbers = NDArray[np.float64]
_SMALLEST = 4
_DENSE = 32
"""Places for each entry below which a posting is worth a row with every place: reading a row is many times as fast as
looking places up, and a text has few words that are as frequent."""


class Kinds:
    """The kinds of places: how often a term stands there, and the length of the text. They are few, so that what
    depends on these two alone is computed once a kind and not once a place. Kind 0 is that the term is not there."""

    def __init__(self) -> None:
        self._numbers: dict[tuple[int, int], int] = {(0, 0): 0}
        self._counts: Numbers = np.zeros(16)
        self._lengths: Numbers = np.zeros(16)

    def __len__(self) -> int:
        return len(self._numbers)

    @property
    def counts(self) -> Numbers:
        return self._counts[: len(self)]

    @property
    def lengths(self) -> Numbers:
        return self._lengths[: len(self)]

    def number(self, count: int, length: int) -> int:
        """Return the number of a kind, the next one where it is new."""
        known = self._numbers.get((count, length))
        if known is not None:
            return known
        number = self._numbers[count, length] = len(self._numbers)
        if number == len(self._counts):
            self._counts = np.concatenate([self._counts, np.zeros(number)])
            self._lengths = np.concatenate([self._lengths, np.zeros(number)])
        self._counts[number] = count
        self._lengths[number] = length
        return number


class Posting:
    """The places that hold one term, with the kind of each. Arrays grow by doubling: a write costs the same, however
    many there are. Entries of removed items stay until `keep`; `held` is the number of the others."""

    __slots__ = ("_kinds", "_places", "_row", "held", "least", "most", "size")

    def __init__(self) -> None:
        self._places: Integers = np.empty(_SMALLEST, dtype=np.int64)
        self._kinds: Integers = np.empty(_SMALLEST, dtype=np.int64)
        self._row: NDArray[np.int32] | None = None
        """Kinds by place, of the places there were and as many more."""
        self.size = 0
        """Entries, those of removed items among them."""
        self.held = 0
        """Items that hold the term."""
        self.most = 0
        """The greatest count there ever was."""
        self.least = 2**62
        """The length of the shortest text there ever was."""

    @property
    def places(self) -> Integers:
        return self._places[: self.size]

    @property
    def kinds(self) -> Integers:
        return self._kinds[: self.size]

    def append(self, place: int, kind: int, count: int, length: int) -> None:
        """Add the last place; `kind` is the number of its count and the length of its text."""
        size = self.size
        if size == len(self._places):
            self._places = np.concatenate([self._places, np.empty(size, dtype=np.int64)])
            self._kinds = np.concatenate([self._kinds, np.empty(size, dtype=np.int64)])
        self._places[size] = place
        self._kinds[size] = kind
        if self._row is not None:
            if place < len(self._row):
                self._row[place] = kind
            else:
                self._row = None
        self.size = size + 1
        self.held += 1
        if count > self.most:
            self.most = count
        if length < self.least:
            self.least = length

    def pop(self) -> None:
        """Forget the last place, whose item is held."""
        self.size -= 1
        self.held -= 1
        if self._row is not None:
            self._row[self._places[self.size]] = 0

    def kinds_at(self, places: Integers, used: int) -> Integers | NDArray[np.int32]:
        """Return the kinds of places, 0 where the term is not.

        Args:
            used: how many places there are.
        """
        if self._row is None or len(self._row) < used:
            if self.size * _DENSE < used:
                held = self.places
                at = held[:-1].searchsorted(places)
                return (held[at] == places) * self._kinds[at]
            self._row = np.zeros(2 * used, dtype=np.int32)  # half the memory: it is read here and there
            self._row[self.places] = self.kinds
        return self._row[places]

    def keep(self, held: NDArray[np.bool_], renamed: Integers) -> None:
        """Forget the places of removed items, and rename the others.

        Args:
            held: by place, whether its item is held.
            renamed: by place, its new name.
        """
        which = held[self.places]
        self._kinds = self.kinds[which]
        self._places = renamed[self.places[which]]
        self.size = len(self._places)
        self._row = None
