"""Weights and totals: the reference's sum, our gate, overrides, and the errors for misspelt names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrl.rewards.compose import (
    PRESETS,
    episode_slopes,
    episode_value,
    resolve_weights,
    step_value,
    total,
)

UNIT = st.floats(0.0, 1.0)


def test_memalpha_total_is_r1_r2_beta_r3_gamma_r4() -> None:
    weights = resolve_weights("memalpha", {})
    steps = [{"tool_success": 1.0, "content": 0.5}, {"tool_success": 0.5, "content": 1.0}]
    # 0.6 + mean(1 + 0.05, 0.5 + 0.1) + 0.05 * -0.07
    assert total({"qa": 0.6, "compression": -0.07}, steps, weights) == pytest.approx(0.6 + 0.825 - 0.0035)


def test_an_absent_part_pays_nothing() -> None:
    weights = resolve_weights("memalpha", {})
    assert step_value({"tool_success": 0.5}, weights) == 0.5
    assert episode_value({"qa": 0.5}, weights) == 0.5
    assert episode_value({}, weights) == 0.0
    assert total({"qa": 0.5}, [], weights) == 0.5


def test_an_empty_memory_earns_by_being_empty_in_memalpha_alone() -> None:
    empty = {"qa": 0.0, "compression": 1.0}
    assert episode_value(empty, resolve_weights("memalpha")) == pytest.approx(0.05)
    assert episode_value(empty, resolve_weights("default")) == 0.0
    assert episode_value({"compression": 1.0}, resolve_weights("default")) == 0.0


def test_default_compression_is_paid_in_proportion_to_qa() -> None:
    assert episode_value({"qa": 0.8, "compression": 0.5}, resolve_weights("default")) == pytest.approx(
        0.8 + 0.05 * 0.8 * 0.5
    )


def test_overrides_replace_weights_and_keep_the_gate() -> None:
    weights = resolve_weights("default", {"tool_success": 0, "compression": 0.2})
    found = {one.name: one.weight for one in weights.parts}
    assert found == {"qa": 1.0, "compression": 0.2, "tool_success": 0.0, "content": 0.1}
    assert [one.gate for one in weights.parts] == [None, "qa", None, None]
    assert resolve_weights("default")["compression"] == 0.05


@pytest.mark.parametrize(
    ("preset", "overrides", "message"),
    [
        ("defualt", {}, "unknown rewards preset 'defualt'; did you mean 'default'"),
        ("default", {"tool_sucess": 1.0}, "unknown reward part 'tool_sucess'; did you mean 'tool_success'"),
        ("default", {"gate_compression": 0.0}, "unknown reward part 'gate_compression'"),
        ("default", {"qa": float("nan")}, "must be a finite number, not nan"),
        ("default", {"qa": "much"}, "must be a finite number, not 'much'"),
        ("default", {"qa": True}, "must be a finite number, not True"),
    ],
)
def test_wrong_weights_are_named(preset: str, overrides: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve_weights(preset, overrides)


@given(UNIT, UNIT, st.lists(UNIT, min_size=1, max_size=8), st.sampled_from(sorted(PRESETS)))
def test_total_is_the_episode_value_plus_the_mean_step_value(
    qa: float, compression: float, success: list[float], preset: str
) -> None:
    weights = resolve_weights(preset)
    episode = {"qa": qa, "compression": compression}
    steps = [{"tool_success": value} for value in success]
    mean = sum(step_value(step, weights) for step in steps) / len(steps)
    assert total(episode, steps, weights) == pytest.approx(episode_value(episode, weights) + mean)


@given(UNIT, UNIT, UNIT)
def test_more_qa_never_pays_less(low: float, high: float, compression: float) -> None:
    low, high = sorted((low, high))
    worse, better = ({"qa": qa, "compression": compression} for qa in (low, high))
    assert episode_value(worse, resolve_weights("default")) <= episode_value(better, resolve_weights("default"))


@pytest.mark.parametrize("preset", list(PRESETS))
def test_slopes_are_the_differences_of_the_value(preset: str) -> None:
    parts, weights = {"qa": 0.4, "compression": 0.7}, resolve_weights(preset)
    for part, slope in episode_slopes(parts, weights).items():
        more = {**parts, part: parts[part] + 0.1}
        assert episode_value(more, weights) - episode_value(parts, weights) == pytest.approx(0.1 * slope)
