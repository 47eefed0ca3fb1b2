"""The canary: two models that should be the same score the same completion (law 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from memrl.records import Sample

BOUND = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.1}
"""Mean gap (nats a token) that is still rounding, by the models' dtype."""
_STATE_BOUND = 1e-3
"""The bound, where it is not wider, for models that carry a state from token to token. To compute it of all tokens at
once, as a learner does, is another algorithm, and not only another order of sums: with transformers 5.23 Zamba2 and
Nemotron-H bound their time steps in that one alone (7e-4 nats at most with random weights, in float64 too)."""
_CANARY_TOKENS = 32
_ERRORS, _SHARE = 5.0, 0.01


def bound_of(dtype: str, *, carried: bool = False) -> float:
    """Return the mean gap (nats a token) up to which two models of this dtype are the same.

    Args:
        carried: they carry a state from token to token (`carries_state`).
    """
    return max(BOUND[dtype], _STATE_BOUND) if carried else BOUND[dtype]


def mean_gap(one: Sequence[float], other: Sequence[float]) -> float:
    """Mean distance (nats a token) of two lists of log-probs of one completion."""
    return sum(abs(a - b) for a, b in zip(one, other, strict=True)) / len(one)


def worst_gap(gaps: Sequence[float]) -> float:
    """Return the largest gap; NaN where one is no number, since `max` would pass it over."""
    return math.nan if any(map(math.isnan, gaps)) else max(gaps)


def first_canary(prompt_ids: list[int]) -> Sample:
    """Something to score before anything was sampled: the end of a prompt as if it were an answer."""
    asked = max(1, len(prompt_ids) - _CANARY_TOKENS)
    return Sample(prompt_ids[:asked], prompt_ids[asked:], [0.0] * (len(prompt_ids) - asked), 0.0, 0)


@dataclass(frozen=True)
class Leaning:
    """The adapter that an engine's log-probs lie closer to, the one before or the newest, token by token.

    Rounding moves single log-probs further than one update does in low precision, so a mean gap tells nothing; but it
    moves them as far from either adapter, and over many tokens the nearer one shows. With the engine's log-prob e, the
    learner's old and new ones p and n,

        d = (e - p)^2 - (e - n)^2,     E[d] = (p - n)^2 where the engine holds the newest, else -(p - n)^2,

    up to rounding. Leanings of steps in a row add up.

    Attributes:
        tokens: how many were compared.
        total: sum of d.
        squares: sum of d^2.
        moved: sum of (p - n)^2, rounding included.
    """

    tokens: int = 0
    total: float = 0.0
    squares: float = 0.0
    moved: float = 0.0

    @classmethod
    def of(cls, engine: Sequence[float], before: Sequence[float], newest: Sequence[float]) -> Leaning:
        """Return that of log-probs of the same tokens."""
        found = [(e - p) ** 2 - (e - n) ** 2 for e, p, n in zip(engine, before, newest, strict=True)]
        moved = sum((p - n) ** 2 for p, n in zip(before, newest, strict=True))
        return cls(len(found), sum(found), sum(value * value for value in found), moved)

    def __add__(self, other: Leaning) -> Leaning:
        return Leaning(
            self.tokens + other.tokens,
            self.total + other.total,
            self.squares + other.squares,
            self.moved + other.moved,
        )

    @property
    def stale(self) -> bool:
        """Return whether the engine holds the adapter before: d is below zero by more than chance and rounding bring
        about (five standard errors, and a hundredth of what the two adapters differ by)."""
        return self.total < -_ERRORS * math.sqrt(self.squares) and self.total < -_SHARE * self.moved
