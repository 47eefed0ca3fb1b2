"""The canary: two models that should be the same score the same completion (law 2)."""

from __future__ import annotations

import math
from collections.abc import Sequence

from memrl.records import Sample

BOUND = {"float32": 1e-4, "bfloat16": 0.1, "float16": 0.1}
"""Mean gap (nats a token) that is still rounding, by the models' dtype."""
_CANARY_TOKENS = 32


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
