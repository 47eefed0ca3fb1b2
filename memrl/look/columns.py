"""Tables of text, none wider than WIDTH columns of a terminal, and nothing cut: what has no room stands below."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from itertools import zip_longest

WIDTH = 80
_GAP = "  "
_LEAST = 16
"""Columns that are left to a text which is broken."""


def table(rows: Sequence[Sequence[str]], indent: str = "", *, long: int | None = None) -> Iterator[str]:
    """Yield rows, the first of which is the head, in columns as wide as they need.

    Where they are wider than WIDTH, the words of the head stand below each other; then the texts of the long column are
    broken; then the last columns stand in a table below, after the first one again.

    Args:
        long: place of the column whose texts may be broken.
    """
    room = WIDTH - len(indent)
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    if _total(widths) > room:
        widths = [max(map(len, (*head.split(), "", *cells))) for head, *cells in columns]
    if long is not None:
        widths[long] = max(min(_LEAST, widths[long]), widths[long] - max(0, _total(widths) - room))
    places = [0]
    for place in range(1, len(columns)):
        if len(places) > 1 and _total([widths[one] for one in (*places, place)]) > room:
            yield from _part(rows, widths, places, indent)
            yield ""
            places = [0]
        places.append(place)
    yield from _part(rows, widths, places, indent)


def width_of(rows: Sequence[Sequence[str]]) -> int:
    """Return how wide rows are where nothing of them is broken."""
    return _total([max(map(len, column)) for column in zip(*rows, strict=True)])


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _part(rows: Sequence[Sequence[str]], widths: Sequence[int], places: Sequence[int], indent: str) -> Iterator[str]:
    for row in rows:
        cells = [textwrap.wrap(row[place], max(1, widths[place])) or [""] for place in places]
        for lines in zip_longest(*cells, fillvalue=""):
            told = (text.ljust(widths[place]) for text, place in zip(lines, places, strict=True))
            yield (indent + _GAP.join(told)).rstrip()
