"""Intervals for evaluation figures, over streams, because questions of one stream are not independent.

The invariant: an interval claims no more than the streams say. One stream that is left of several has none; a suite of
a single stream has one over its questions, and says so.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Unit = Literal["streams", "questions"]
SCORES = (0.0, 1.0)
"""The bounds of question scores."""
_MANY = 200
"""Degrees of freedom from which on Student's distribution is nearly normal."""
_DRAWN, _AT_ONCE = 10_000, 100
"""Combinations of signs that a test draws, and how many of them at once."""


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds of its interval; None where what was measured says nothing of how far it may be
    off."""

    value: float
    low: float | None
    high: float | None


def stream_interval(
    values_by_stream: Sequence[Sequence[float]],
    *,
    planned: int | None = None,
    bounds: tuple[float, float] | None = None,
    level: float = 0.95,
) -> Interval:
    """Return the mean over streams of each stream's mean, with Student's t interval over streams.

    Each stream counts the same, however many questions it has: a mean over all questions would let one long stream
    decide. Streams without a value are left out. Where one stream is all that was planned, its interval is over its
    values; where one is left of several, or all there is is one value, there is none. Bounded values whose units are
    all equal would give an interval of no width, however few they are; their spread is then taken to be what as many
    questions would have with one more right and one more wrong (Laplace's rule of succession). Where they are not
    bounded, equal units do leave no width.

    Args:
        values_by_stream: one sequence of values (say, question scores) for each stream.
        planned: how many streams were meant to be measured; None: those that are here.
        bounds: the least and the greatest value there can be: no interval leaves them.

    Raises:
        ValueError: no value at all, a value that is not finite, or a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval lies between 0 and 1, not at {level}.")
    streams = [np.asarray(values, dtype=np.float64) for values in values_by_stream if len(values)]
    if not streams:
        raise ValueError("an interval needs at least one value; every stream is empty.")
    means = np.array([values.mean() for values in streams])
    if not np.isfinite(means).all():
        raise ValueError("an interval needs finite values; a stream holds NaN or infinity.")
    value = float(means.mean())
    units = means if interval_over(values_by_stream, planned) == "streams" else streams[0]
    if len(units) < 2:
        return Interval(value, None, None)
    spread = float(units.std(ddof=1))
    if bounds is not None and np.ptp(units) < 1e-9:
        count = sum(len(stream) for stream in streams)
        spread = _spread_of_equals(value, bounds, count, count / len(units))
    reach = student_t(len(units) - 1, level) * spread / math.sqrt(len(units))
    low, high = value - reach, value + reach
    if bounds is not None:
        low, high = max(low, min(bounds[0], value)), min(high, max(bounds[1], value))
    return Interval(value, low, high)


def _spread_of_equals(value: float, bounds: tuple[float, float], values: int, each: float) -> float:
    """Return the standard deviation of units that are equal so far: of `values` values, `each` in a unit.

    p = (right + 1) / (values + 2), and a unit's variance p (1 - p) / each: Laplace's rule of succession.
    """
    width = bounds[1] - bounds[0]
    p = (values * (value - bounds[0]) / width + 1.0) / (values + 2.0)
    return width * math.sqrt(max(p * (1.0 - p), 0.0) / each)


def interval_over(values_by_stream: Sequence[Sequence[float]], planned: int | None = None) -> Unit:
    """Return what `stream_interval` takes its interval over: a suite's only stream is looked at by its questions."""
    measured = sum(1 for values in values_by_stream if len(values))
    meant = len(values_by_stream) if planned is None else planned
    return "questions" if measured == 1 and max(meant, measured) == 1 else "streams"


@lru_cache(maxsize=1024)
def student_t(freedom: int, level: float) -> float:
    """Return the t within which the middle `level` of Student's distribution lies.

    Its share between -t and t has a closed form in theta = arctan(t / sqrt(freedom)) (Abramowitz and Stegun, Handbook
    of Mathematical Functions, 26.7.3 for odd and 26.7.4 for even degrees of freedom), which grows with theta; t is
    found by halving. For many degrees, where that takes long, the normal quantile's expansion stands for it (26.7.5):
    its error is below 1e-5 there.

    Args:
        freedom: degrees of freedom, at least 1.
    """
    if freedom < 1:
        raise ValueError(f"Student's distribution needs at least one degree of freedom, not {freedom}.")
    if freedom > _MANY:
        z = NormalDist().inv_cdf((1.0 + level) / 2.0)
        return z + (z**3 + z) / (4.0 * freedom) + (5.0 * z**5 + 16.0 * z**3 + 3.0 * z) / (96.0 * freedom**2)
    low, high = 0.0, math.pi / 2.0
    for _ in range(60):
        theta = (low + high) / 2.0
        low, high = (theta, high) if _share_within(theta, freedom) < level else (low, theta)
    return math.sqrt(freedom) * math.tan((low + high) / 2.0)


def _share_within(theta: float, freedom: int) -> float:
    """Return A(t | freedom) of Abramowitz and Stegun, 26.7.3 and 26.7.4."""
    odd = freedom % 2
    if freedom == 1:
        return 2.0 * theta / math.pi
    term = math.cos(theta) if odd else 1.0
    total = term
    for number in range(3 if odd else 2, freedom, 2):
        # odd: 2/3, 4/5, ...; even: 1/2, 3/4, ...: the next coefficient is the last times (number - 1) / number
        term *= (number - 1.0) / number * math.cos(theta) ** 2
        total += term
    return 2.0 / math.pi * (theta + math.sin(theta) * total) if odd else math.sin(theta) * total


@dataclass(frozen=True)
class Difference:
    """The margin by which one method is better than another on the same streams."""

    value: float
    low: float | None
    high: float | None
    p: float
    """Two-sided, of the sign-flip test: how often chance alone would give so large a difference."""
    streams: int
    over: Unit = "streams"
    """Of what the interval and the test are."""


def paired_difference(
    one: Sequence[Sequence[float]], other: Sequence[Sequence[float]], *, planned: int | None = None, seed: int = 0
) -> Difference:
    """Return the mean difference of two methods over streams that both have, with its 95 % t interval and a sign-flip
    test.

    The test flips the sign of each stream's difference: all combinations for up to 12 streams, else 10,000 drawn ones.
    Where one stream is all that was planned, both are over its questions.

    Args:
        one, other: for each stream, in the same order, the scores of the same questions in the same order.
        planned: how many streams were meant to be measured; None: those that are here.

    Raises:
        ValueError: no stream, or lists of different lengths.
    """
    gaps = [
        np.asarray(mine, dtype=np.float64) - np.asarray(theirs, dtype=np.float64)
        for mine, theirs in zip(one, other, strict=True)
        if len(mine) or len(theirs)
    ]
    if not gaps:
        raise ValueError("a paired difference needs at least one stream.")
    listed = [list(map(float, gap)) for gap in gaps]
    over = interval_over(listed, planned)
    interval = stream_interval(listed, planned=planned)
    units = np.array([gap.mean() for gap in gaps]) if over == "streams" else gaps[0]
    return Difference(interval.value, interval.low, interval.high, _sign_flip(units, seed), len(gaps), over)


@lru_cache(maxsize=16)
def _all_signs(count: int) -> NDArray[np.float64]:
    """Return all 2^count ways to give so many numbers a sign, one a row."""
    return np.array(list(itertools.product((1.0, -1.0), repeat=count)))


def _sign_flip(gaps: NDArray[np.float64], seed: int) -> float:
    """Return the p of the sign-flip test."""
    observed = abs(gaps.mean()) - 1e-12
    if len(gaps) <= 12:
        return float((np.abs((_all_signs(len(gaps)) * gaps).mean(axis=1)) >= observed).mean())
    rng = np.random.default_rng(seed)
    as_large = 0
    for _ in range(_DRAWN // _AT_ONCE):
        signs = rng.choice((1.0, -1.0), (_AT_ONCE, len(gaps)))
        as_large += int((np.abs((signs * gaps).mean(axis=1)) >= observed).sum())
    return (1 + as_large) / (1 + _DRAWN)


def fall_p(gaps: Sequence[float]) -> float:
    """Return the p of the one-sided sign-flip test that the mean of paired differences is no fall: how often chance
    alone would give a mean so low.

    Exact for up to 16 differences, and so never below 1 / 2^n: a few streams cannot say much, however much they differ.
    Beyond, the share among drawn flips of the signs, up to 100,000, the observed ones counted in.

    Raises:
        ValueError: no difference, or one that is not finite.
    """
    found = np.asarray(gaps, dtype=np.float64)
    if not len(found) or not np.isfinite(found).all():
        raise ValueError("the test of a fall needs at least one difference, all of them finite.")
    observed = float(found.sum()) + 1e-9
    if len(found) <= 16:
        return float((_all_signs(len(found)) @ found <= observed).mean())
    if observed >= 0:
        return 0.5  # no fall: how little it is one is not asked
    rng = np.random.default_rng(0)
    drawn = as_low = 0
    while drawn < 100_000 and as_low < 1_000:  # where p is large, a tenth of them tells it as well
        as_low += int((rng.choice((1.0, -1.0), (10_000, len(found))) @ found <= observed).sum())
        drawn += 10_000
    return (1 + as_low) / (1 + drawn)


def mean(values: Sequence[float]) -> float:
    """The plain mean of at least one value."""
    return sum(values) / len(values)
