"""Text into chunks by tokens: never inside a sentence, dialogue turns whole, one date and one section a chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace

from memrl.envs.building.prose import sentences
from memrl.envs.building.tokens import count_tokens


@dataclass(frozen=True)
class Unit:
    """A piece of text that chunks are made of: a paragraph, a dialogue turn, a sentence."""

    text: str
    keys: tuple[str, ...] = ()
    """What a source's evidence calls it; unique in its document."""
    time: str | None = None
    """When it was said. A chunk never joins two times."""
    section: str = ""
    """A chunk never joins two sections (sessions, articles)."""
    turn: bool = False
    """A dialogue turn: kept whole, on a line of its own. Other units, where too long, are cut between sentences."""
    points: tuple[str, ...] = ()
    """What a perfect memory would store of it, where the source says."""
    filler: bool = False
    """Nothing is asked about it: its source has it to make the document long."""


@dataclass
class Piece:
    """A chunk to be."""

    text: str
    tokens: int
    time: str | None
    section: str
    keys: set[str] = field(default_factory=set)
    points: list[str] = field(default_factory=list)
    filler: bool = True
    """All of it is."""


def _fitting(unit: Unit, limit: int, longest: int | None, count: Callable[[str], int]) -> Iterator[tuple[Unit, int]]:
    """A unit, or, where it is too long and may be cut, runs of its sentences; too long a sentence stays whole, and a
    turn, unless they are over `longest`."""
    size = count(unit.text)
    if size <= limit or (unit.turn and (longest is None or size <= longest)):
        yield unit, size
        return
    held: list[str] = []
    room = limit
    points = unit.points
    for sentence, size in _parts(unit.text, limit, longest, count):
        if held and size > room:
            yield replace(unit, text=" ".join(held), points=points), limit - room
            held, room, points = [], limit, ()
        held.append(sentence)
        room -= size
    yield replace(unit, text=" ".join(held), points=points), limit - room


def _parts(text: str, limit: int, longest: int | None, count: Callable[[str], int]) -> Iterator[tuple[str, int]]:
    """The sentences of a text with their sizes; one that is over `longest` in halves of its words, and halves of these,
    a word without end in halves of its letters, until each is within `limit`."""
    waiting = [(sentence, longest) for sentence in reversed(sentences(text))]
    while waiting:
        part, most = waiting.pop()
        size = count(part)
        if most is None or size <= most or len(part) < 2:
            yield part, size
            continue
        middle = len(part) // 2
        blank = part.rfind(" ", 1, middle + 1)
        place = blank if blank > 0 else middle
        halves = [half for half in (part[:place].strip(), part[place:].strip()) if half]
        waiting += [(half, limit) for half in reversed(halves)]


def cut(
    units: Iterable[Unit],
    chunk_tokens: int,
    count: Callable[[str], int] = count_tokens,
    *,
    longest: int | None = None,
) -> list[Piece]:
    """Chunks of at most `chunk_tokens` (a longer turn or sentence is a chunk of its own), in order.

    Args:
        longest: a turn or a sentence of more tokens is cut all the same; None: none is.
        count: tokens of a text; by default an estimate that needs no tokenizer.
    """
    pieces: list[Piece] = []
    for unit in units:
        for part, size in _fitting(unit, chunk_tokens, longest, count):
            if not part.text.strip():
                continue
            last = pieces[-1] if pieces else None
            if last and (last.time, last.section) == (part.time, part.section) and last.tokens + size <= chunk_tokens:
                last.text += ("\n" if part.turn else "\n\n") + part.text
                last.tokens += size
            else:
                last = Piece(part.text, size, part.time, part.section)
                pieces.append(last)
            last.keys.update(part.keys)
            last.points.extend(part.points)
            last.filler = last.filler and part.filler
    return pieces
