"""Questions that a source has and no stream asks: how many, and why. Counted where somebody asks for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

Counts = dict[tuple[str, str], int]
"""Questions by the reason and by what they belong to."""
_COUNTED: ContextVar[Counts | None] = ContextVar("counted", default=None)


@contextmanager
def counting() -> Iterator[Counts]:
    """Count the questions that are left out within; yields the counts."""
    counts: Counts = {}
    token = _COUNTED.set(counts)
    try:
        yield counts
    finally:
        _COUNTED.reset(token)


def leave_out(why: str, of: str, questions: int = 1) -> None:
    """Note that so many questions are left out.

    Args:
        why: in words that go on after a number ("unanswerable").
        of: what they belong to (a record, a split): a file that is read once more for another split counts once.
    """
    counts = _COUNTED.get()
    if counts is not None and questions > 0:
        counts[why, of] = questions


def by_reason(counts: Counts) -> dict[str, int]:
    """Return the sums for each reason."""
    sums: Counter[str] = Counter()
    for (why, _), questions in counts.items():
        sums[why] += questions
    return dict(sums)


def explain_left_out(counts: Mapping[str, int], asked: int) -> str:
    """Return it in words: how many are asked of how many, and why not the others; empty where none is left out."""
    if not counts:
        return ""
    reasons = ", ".join(f"{count:,} {why}" for why, count in counts.items())
    return f"{asked:,} of {asked + sum(counts.values()):,} questions are asked; left out: {reasons}"
