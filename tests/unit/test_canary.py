"""The canary's arithmetic: which of two adapters an engine lies closer to, where rounding is larger than an update."""

from __future__ import annotations

import math

import numpy as np
import pytest

from memrl.engines.canary import Leaning, worst_gap

ROUNDING, UPDATE = 0.05, 0.03
"""Nats a token: what was seen on a GPU in bfloat16, and what one update at a usual learning rate changes."""


def leaning(engine_holds: str, tokens: int, seed: int, *, update: float = UPDATE) -> Leaning:
    """Log-probs of three models that round on their own; the engine holds the adapter before or the newest."""
    rng = np.random.default_rng(seed)
    before = -rng.exponential(1.0, tokens)
    newest = before + rng.normal(0.0, update, tokens)
    held = newest if engine_holds == "newest" else before if engine_holds == "before" else (before + newest) / 2
    rounded = [(row + rng.normal(0.0, ROUNDING, tokens)).tolist() for row in (held, before, newest)]
    return Leaning.of(*rounded)


def test_a_stale_engine_is_known_though_rounding_is_larger_than_the_update() -> None:
    for run in range(30):
        assert sum((leaning("before", 1024, 100 * run + step) for step in range(6)), Leaning()).stale


@pytest.mark.parametrize("update", [0.0, 1e-4, UPDATE, 0.3])
def test_an_engine_that_holds_the_newest_is_never_taken_for_stale(update: float) -> None:
    found = [leaning("newest", 1024, seed, update=update) for seed in range(200)]
    assert not any(one.stale for one in found)
    assert not sum(found, Leaning()).stale


def test_what_one_step_cannot_tell_several_can() -> None:
    found = [leaning("before", 64, seed) for seed in range(150)]
    assert not any(one.stale for one in found) and sum(found, Leaning()).stale


def test_the_same_log_probs_lean_nowhere() -> None:
    same = [-1.0, -2.0]
    assert Leaning.of(same, same, same) == Leaning(2, 0.0, 0.0, 0.0) and not Leaning().stale


def test_without_rounding_it_is_as_far_from_one_as_it_moved() -> None:
    found = Leaning.of([-1.0], [-1.5], [-1.0])
    assert (found.total, found.moved) == (0.25, 0.25)
    assert Leaning.of([-1.5], [-1.5], [-1.0]).total == -0.25


def test_the_worst_gap_is_no_number_where_one_is_none() -> None:
    assert worst_gap([0.1, 0.3, 0.2]) == 0.3 and math.isnan(worst_gap([0.1, math.nan]))
