"""Questions on the order of a text, made from the text alone: which of two passages came first (arXiv 2410.08133)."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import DocumentQuestion
from memrl.envs.building.prose import sentences
from memrl.envs.building.tokens import count_tokens
from memrl.envs.text import word_count

MIN_WORDS = 8
"""A shorter passage tells nobody where it stood."""
_TRIES = 30


@dataclass(frozen=True)
class _Passage:
    text: str
    unit: Unit
    start: int
    """Tokens of the document before its unit."""


def order_asks(
    document_key: str,
    units: Sequence[Unit],
    count: int,
    seed: int | str,
    *,
    length: int = 3,
    chunk_tokens: int = 1024,
) -> list[DocumentQuestion]:
    """Questions that show two passages of a document, as A and B, and ask which came first.

    Both are of units that no chunk of `chunk_tokens` joins. A passage whose text comes twice is not asked for. Which
    are asked depends on the document's key, its text and the seed alone.

    Args:
        document_key: what the document is called; the questions' ids begin with it.
        count: how many at most; fewer, or none, where the document is short.
        length: sentences of a passage, at most; a unit (a dialogue turn) may have fewer.

    Returns:
        Questions with the metric `choice` and both units' last keys as evidence.
    """
    rng = random.Random(f"{seed}/{document_key}")
    passages = list(_passages(units, length, chunk_tokens, rng))
    asked: dict[tuple[int, int], DocumentQuestion] = {}
    for _ in range(count * _TRIES if len(passages) > 1 else 0):
        if len(asked) == count:
            break
        first, second = sorted(rng.sample(range(len(passages)), 2))
        early, late = passages[first], passages[second]
        if (first, second) in asked or not _apart(early, late, chunk_tokens):
            continue
        swapped = rng.random() < 0.5
        a, b = (late, early) if swapped else (early, late)
        text = (
            f"Which of these two passages came first?\n\nA: {a.text}\n\nB: {b.text}\n\n"
            "Answer with the letter alone, A or B."
        )
        name = f"{document_key}-order-{len(asked)}"
        evidence = (*early.unit.keys[-1:], *late.unit.keys[-1:])
        asked[first, second] = DocumentQuestion(
            name, text, ("B" if swapped else "A",), "choice", evidence or None, "order"
        )
    return list(asked.values())


def _passages(units: Sequence[Unit], length: int, chunk_tokens: int, rng: random.Random) -> Iterator[_Passage]:
    """One of each unit that has a telling one; none of a unit that may be cut, whose place would be unclear."""
    sizes = [count_tokens(unit.text) for unit in units]
    found = []
    for unit, size, end in zip(units, sizes, accumulate(sizes), strict=True):
        said = sentences(unit.text)
        first = rng.randrange(max(len(said) - length, 0) + 1)
        text = " ".join(said[first : first + length])
        if size <= chunk_tokens and word_count(text) >= MIN_WORDS:
            found.append(_Passage(text, unit, end - size))
    yield from (passage for passage, once in zip(found, _come_once(found, units), strict=True) if once)


def _come_once(passages: Sequence[_Passage], units: Sequence[Unit]) -> Iterator[bool]:
    """Return for each passage whether its text comes once in the units.

    Text that comes twice has runs of words that do: only where one has is the whole looked through, which for every
    passage would take time by the square of a text's length.
    """
    whole = "\n".join(unit.text for unit in units)
    runs = [
        hash(tuple(passage.text.split()[1 : MIN_WORDS - 1])) for passage in passages
    ]  # the words at its ends may be
    told = dict.fromkeys(runs, 0)  # parts of longer ones elsewhere
    said = whole.split()
    for place in range(len(said) - MIN_WORDS + 3):
        run = hash(tuple(said[place : place + MIN_WORDS - 2]))
        if run in told:
            told[run] += 1
    for passage, run in zip(passages, runs, strict=True):
        yield told[run] < 2 or whole.count(passage.text) < 2


def _apart(early: _Passage, late: _Passage, chunk_tokens: int) -> bool:
    joinable = (early.unit.time, early.unit.section) == (late.unit.time, late.unit.section)
    return not joinable or late.start - early.start >= chunk_tokens
