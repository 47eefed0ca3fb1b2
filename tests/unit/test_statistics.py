"""Intervals over streams: their value, what they cover, and that they claim to know no more than the streams say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.evaluation.statistics import SCORES, Interval, interval_over, paired_difference, stream_interval, student_t

LISTS = st.lists(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=5), min_size=1, max_size=8)


def test_value_is_the_mean_of_stream_means() -> None:
    # (1 + 0) / 2, although three of four questions are right
    assert stream_interval([[1.0, 1.0, 1.0], [0.0]]).value == 0.5


def test_students_quantiles_are_those_of_the_tables() -> None:
    # Abramowitz and Stegun, table 26.10; the last by the normal distribution
    for freedom, level, expected in (
        (1, 0.95, 12.706), (2, 0.95, 4.303), (5, 0.95, 2.571), (9, 0.95, 2.262), (10, 0.99, 3.169), (120, 0.95, 1.980),
        (10**6, 0.95, 1.960),
    ):  # fmt: skip
        assert student_t(freedom, level) == pytest.approx(expected, abs=0.0006)
    assert student_t(200, 0.95) == pytest.approx(student_t(201, 0.95), abs=1e-4), "no step where the expansion begins"
    with pytest.raises(ValueError, match="at least one degree"):
        student_t(0, 0.95)


def test_the_interval_is_students() -> None:
    interval = stream_interval([[0.4], [0.5], [0.9]])
    reach = 4.302653 * np.std([0.4, 0.5, 0.9], ddof=1) / np.sqrt(3)
    assert (interval.low, interval.high) == pytest.approx((0.6 - reach, 0.6 + reach))
    bounded = stream_interval([[0.4], [0.5], [0.9]], bounds=SCORES)
    assert bounded.high == 1.0 and bounded.low == 0.0, "no score is beyond 0 and 1"


@pytest.mark.long
@pytest.mark.parametrize("streams", [2, 3, 5, 8, 20])
@pytest.mark.parametrize("kind", ["many questions", "one question", "hard"])
def test_intervals_cover_what_they_say(streams: int, kind: str) -> None:
    rng = np.random.default_rng(streams)
    covered = 0
    for _ in range(1000):
        if kind == "many questions":  # a stream's own difficulty, 20 questions each
            scores = [rng.binomial(1, own, 20).astype(float) for own in rng.beta(4, 4, streams)]
            truth = 0.5
        else:  # LongMemEval's way, one question a stream; or one that few answer
            truth = 0.8 if kind == "one question" else 0.05
            scores = [rng.binomial(1, truth, 1 if kind == "one question" else 10).astype(float) for _ in range(streams)]
        interval = stream_interval([list(values) for values in scores], bounds=SCORES)
        assert interval.low is not None and interval.high is not None
        covered += interval.low <= truth <= interval.high
    assert covered >= 900, f"{covered / 10:.1f} % of the intervals hold the truth"


def test_repeating_a_streams_questions_does_not_narrow_the_interval() -> None:
    values = [[0.0], [1.0], [1.0], [0.0], [1.0]]
    assert stream_interval([row * 50 for row in values]) == stream_interval(values)


def test_a_suite_of_one_stream_is_looked_at_by_its_questions() -> None:
    values = [[0.0, 1.0] * 10, []]
    interval = stream_interval(values, planned=1)
    assert interval_over(values, 1) == interval_over([[0.5]]) == "questions"
    assert interval.low is not None and interval.low < interval.value == 0.5


def test_one_stream_of_several_has_no_interval() -> None:
    assert stream_interval([[0.0, 1.0] * 10], planned=20) == Interval(0.5, None, None)
    assert stream_interval([[0.0, 1.0] * 10, []]) == Interval(0.5, None, None), "the other has no such question"
    assert stream_interval([[1.0]]) == Interval(1.0, None, None)
    assert interval_over([[0.5]], 20) == interval_over([[0.5], []]) == "streams"


def test_streams_that_are_all_right_may_still_be_wrong_once() -> None:
    few, many = stream_interval([[1.0]] * 4, bounds=SCORES), stream_interval([[1.0] * 100] * 4, bounds=SCORES)
    assert few.value == few.high == many.high == 1.0
    assert few.low is not None and many.low is not None and few.low < 0.6 < 0.98 < many.low < 1.0
    assert stream_interval([[1.0], [1.0]]) == Interval(1.0, 1.0, 1.0), "of what has no bounds nothing more is known"


@pytest.mark.parametrize(
    ("values", "options", "message"),
    [
        ([], {}, "at least one value"),
        ([[]], {}, "every stream is empty"),
        ([[float("nan")]], {}, "finite"),
        ([[1.0]], {"level": 95.0}, "between 0 and 1"),
    ],
)
def test_impossible_input_is_refused(values: list[list[float]], options: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        stream_interval(values, **options)  # type: ignore[arg-type]


@settings(max_examples=30)
@given(LISTS)
def test_the_interval_lies_within_the_bounds_and_about_the_value(values: list[list[float]]) -> None:
    interval = stream_interval(values, bounds=SCORES)
    if interval.low is not None and interval.high is not None:
        assert -1e-12 <= interval.low <= interval.value <= interval.high <= 1.0 + 1e-12


@pytest.mark.long
def test_a_paired_difference_is_found_where_every_stream_agrees() -> None:
    one = [[0.5 + 0.01 * place] for place in range(10)]
    found = paired_difference(one, [[value - 0.1] for [value] in one])
    assert found.value == pytest.approx(0.1) and found.low == pytest.approx(0.1)
    assert found.p == pytest.approx(2 / 2**10)
    many = paired_difference([[1.0]] * 40, [[0.5]] * 40)
    assert many.p == pytest.approx(1 / 10_001)


@pytest.mark.long
def test_a_paired_difference_of_one_stream() -> None:
    one, other = [[1.0, 1.0, 0.0, 1.0] * 5], [[1.0, 0.0, 0.0, 0.0] * 5]
    alone = paired_difference(one, other)
    assert (alone.value, alone.streams, alone.over) == (0.5, 1, "questions")
    assert alone.low is not None and 0.2 < alone.low < 0.5 and alone.p < 0.01
    left = paired_difference(one, other, planned=20)
    assert (left.value, left.low, left.high, left.p, left.over) == (0.5, None, None, 1.0, "streams")


@pytest.mark.slow
def test_no_difference_is_found_between_equals() -> None:
    assert paired_difference([[0.3], [0.7]], [[0.3], [0.7]]).p == 1.0
    rng = np.random.default_rng(0)
    small = [
        paired_difference(list(rng.random((8, 1))), list(rng.random((8, 1))), seed=seed).p < 0.05  # type: ignore[arg-type]
        for seed in range(200)
    ]
    assert sum(small) / len(small) < 0.1, "as often as the level says"


def test_a_paired_difference_needs_pairs() -> None:
    with pytest.raises(ValueError, match="at least one stream"):
        paired_difference([], [])
