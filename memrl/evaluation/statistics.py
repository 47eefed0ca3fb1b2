"""Intervals for evaluation figures: a bootstrap over streams, because questions of one stream are not independent."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Interval:
    """An estimate and the bounds of its interval."""

    value: float
    low: float
    high: float


def bootstrap_interval(
    values_by_stream: Sequence[Sequence[float]], *, seed: int = 0, resamples: int = 2000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap of the mean over streams of each stream's mean; deterministic for a seed.

    Each stream counts the same, however many questions it has: the stream is the unit that is drawn, and a mean over
    all questions would let one long stream decide. Streams without a value are left out. With a single stream left,
    its own values are resampled: the interval then speaks for that stream's questions, not for other streams.

    Args:
        values_by_stream: one sequence of values (say, question scores) for each stream.

    Raises:
        ValueError: no value at all, a value that is not finite, or a level outside (0, 1).
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval lies between 0 and 1, not at {level}.")
    if resamples < 1:
        raise ValueError(f"a bootstrap needs at least one resample, not {resamples}.")
    streams = [np.asarray(values, dtype=np.float64) for values in values_by_stream if len(values)]
    if not streams:
        raise ValueError("an interval needs at least one value; every stream is empty.")
    means = np.array([values.mean() for values in streams])
    if not np.isfinite(means).all():
        raise ValueError("an interval needs finite values; a stream holds NaN or infinity.")
    units = means if len(streams) > 1 else streams[0]
    rng = np.random.default_rng(seed)
    # One resample at a time: all at once would need resamples times streams numbers for no gain that anyone would see.
    draws = [units[rng.integers(0, len(units), len(units))].mean() for _ in range(resamples)]
    low, high = np.quantile(draws, [(1.0 - level) / 2.0, (1.0 + level) / 2.0])
    return Interval(value=float(means.mean()), low=float(low), high=float(high))


@dataclass(frozen=True)
class Difference:
    """The margin by which one method is better than another on the same streams."""

    value: float
    low: float
    high: float
    p: float
    """Two-sided, of the sign-flip test: how often chance alone would give so large a difference."""
    streams: int


def paired_difference(
    one: Sequence[float], other: Sequence[float], *, seed: int = 0, resamples: int = 2000
) -> Difference:
    """Mean difference of two methods over streams that both have, with a 95 % bootstrap interval and a sign-flip test.

    The test flips the sign of each stream's difference: all combinations for up to 12 streams, else 10,000 drawn ones.

    Args:
        one, other: a value for each stream, in the same order.

    Raises:
        ValueError: no stream, or lists of different lengths.
    """
    gaps = np.asarray(one, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    if not len(gaps):
        raise ValueError("a paired difference needs at least one stream.")
    interval = bootstrap_interval([[gap] for gap in gaps], seed=seed, resamples=resamples)
    observed = abs(gaps.mean()) - 1e-12
    if len(gaps) <= 12:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(gaps))))
        p = float((np.abs((signs * gaps).mean(axis=1)) >= observed).mean())
    else:
        rng = np.random.default_rng(seed)
        drawn = [abs((rng.choice((1.0, -1.0), len(gaps)) * gaps).mean()) >= observed for _ in range(10_000)]
        p = (1 + sum(drawn)) / (1 + len(drawn))
    return Difference(interval.value, interval.low, interval.high, p, len(gaps))


def mean(values: Sequence[float]) -> float:
    """The plain mean of at least one value."""
    return sum(values) / len(values)
