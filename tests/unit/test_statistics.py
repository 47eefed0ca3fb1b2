"""The clustered bootstrap: its value, its determinism, and that it claims to know no more than the streams say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.evaluation.statistics import Interval, bootstrap_interval, paired_difference

SCORES = st.lists(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5), min_size=1, max_size=8)


def test_value_is_the_mean_of_stream_means() -> None:
    # (1 + 0) / 2, although three of four questions are right
    assert bootstrap_interval([[1.0, 1.0, 1.0], [0.0]]).value == 0.5


def test_same_seed_same_interval() -> None:
    values = [[place**2 / 900] for place in range(30)]
    assert bootstrap_interval(values, seed=3) == bootstrap_interval(values, seed=3)
    assert bootstrap_interval(values, seed=3) != bootstrap_interval(values, seed=4)


def test_repeating_a_streams_questions_does_not_narrow_the_interval() -> None:
    values = [[0.0], [1.0], [1.0], [0.0], [1.0]]
    assert bootstrap_interval([row * 50 for row in values]) == bootstrap_interval(values)


def test_the_normal_theory_interval_is_about_right() -> None:
    interval = bootstrap_interval([[float(place % 2)] for place in range(100)])
    assert interval.value == 0.5
    assert interval.low == pytest.approx(0.5 - 1.96 * 0.05, abs=0.02)
    assert interval.high == pytest.approx(0.5 + 1.96 * 0.05, abs=0.02)


def test_a_single_stream_is_resampled_by_its_values() -> None:
    interval = bootstrap_interval([[0.0, 1.0] * 10, []])
    assert interval.low < interval.value == 0.5 < interval.high


def test_equal_streams_leave_no_doubt() -> None:
    assert bootstrap_interval([[1.0], [1.0]]) == Interval(1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "at least one value"),
        ([[]], {}, "every stream is empty"),
        ([[float("nan")]], {}, "finite"),
        ([[1.0]], {"level": 95.0}, "between 0 and 1"),
        ([[1.0]], {"resamples": 0}, "at least one resample"),
    ],
)
def test_impossible_input_is_refused(values: list[list[float]], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        bootstrap_interval(values, **options)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(SCORES)
def test_the_interval_lies_within_the_scores(values: list[list[float]]) -> None:
    interval = bootstrap_interval(values, resamples=50)
    assert -1e-12 <= interval.low <= interval.high <= 1.0 + 1e-12


@pytest.mark.long
def test_a_paired_difference_is_found_where_every_stream_agrees() -> None:
    one = [0.5 + 0.01 * place for place in range(10)]
    found = paired_difference(one, [value - 0.1 for value in one])
    assert found.value == pytest.approx(0.1) and found.low == pytest.approx(0.1)
    assert found.p == pytest.approx(2 / 2**10)
    many = paired_difference([1.0] * 40, [0.5] * 40)
    assert many.p == pytest.approx(1 / 10_001)


@pytest.mark.slow
def test_no_difference_is_found_between_equals() -> None:
    assert paired_difference([0.3, 0.7], [0.3, 0.7]).p == 1.0
    rng = np.random.default_rng(0)
    small = [paired_difference(rng.random(8), rng.random(8), seed=seed).p < 0.05 for seed in range(200)]
    assert sum(small) / len(small) < 0.1, "as often as the level says"


def test_a_paired_difference_needs_pairs() -> None:
    with pytest.raises(ValueError, match="at least one stream"):
        paired_difference([], [])
