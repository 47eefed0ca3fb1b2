"""How often an interval of an evaluation holds the true score: Student's t over streams, beside the percentile
bootstrap that stood in its place up to version 0.1.0.

    .venv/bin/python benchmarks/intervals.py

Scores are drawn: `even` (streams differ in difficulty, 20 questions each, true score 0.5), `one question` a stream
(true score 0.8) and `hard` (10 questions a stream, true score 0.05). Prints the shares in JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from memrl.evaluation.statistics import SCORES, stream_interval

DRAWS = 4000
STREAMS = (2, 3, 5, 8, 10, 20, 64)
Scores = list[NDArray[np.float64]]
KINDS: dict[str, tuple[float, Callable[[np.random.Generator, int], Scores]]] = {
    "even": (0.5, lambda rng, n: [rng.binomial(1, own, 20).astype(float) for own in rng.beta(4, 4, n)]),
    "one question": (0.8, lambda rng, n: [rng.binomial(1, 0.8, 1).astype(float) for _ in range(n)]),
    "hard": (0.05, lambda rng, n: [rng.binomial(1, 0.05, 10).astype(float) for _ in range(n)]),
}


def coverage(kind: str, streams: int) -> dict[str, float]:
    """Share of the drawn evaluations whose interval holds the true score, by the way it is made."""
    truth, draw = KINDS[kind]
    rng = np.random.default_rng(streams)
    held = {"t": 0, "bootstrap": 0}
    for _ in range(DRAWS):
        scores = draw(rng, streams)
        interval = stream_interval([list(values) for values in scores], bounds=SCORES)
        assert interval.low is not None and interval.high is not None
        held["t"] += interval.low <= truth <= interval.high
        means = np.array([values.mean() for values in scores])
        low, high = np.quantile(means[rng.integers(0, streams, (1000, streams))].mean(axis=1), [0.025, 0.975])
        held["bootstrap"] += bool(low <= truth <= high)
    return {way: round(count / DRAWS, 3) for way, count in held.items()}


if __name__ == "__main__":
    print(json.dumps({kind: {str(n): coverage(kind, n) for n in STREAMS} for kind in KINDS}, indent=1))
