"""The table of metric keys names what there is. That nothing is missing, real runs show (test_loop, test_judge)."""

from __future__ import annotations

import pytest

from memrl.envs.tools import ResultCode
from memrl.report.metric_keys import METRICS, metric_meaning
from memrl.rewards.alarms import ALARMS


def test_every_meter_has_a_meaning_of_its_own() -> None:
    assert {key.partition("/")[2] for key in METRICS if key.startswith("meters/")} == set(ALARMS)


@pytest.mark.parametrize("key", [*(f"tools/{code}" for code in ResultCode), "eval/qa_latest", "alarm/growth"])
def test_a_pattern_stands_for_its_keys(key: str) -> None:
    assert metric_meaning(key)


@pytest.mark.parametrize("key", ["", "meters/new", "eval/", "tools/ok/more", "loss/new", "xtools/ok"])
def test_what_is_in_no_row_has_no_meaning(key: str) -> None:
    assert metric_meaning(key) is None


def test_the_nearest_pattern_counts() -> None:
    assert metric_meaning("eval/qa_latest") == METRICS["eval/qa_<kind>"]
    assert metric_meaning("eval/reader_calls") == METRICS["eval/reader_<count>"]
    assert metric_meaning("eval/brevity_low") == METRICS["eval/<part>"]


def test_every_meaning_is_a_sentence() -> None:
    assert [key for key, meaning in METRICS.items() if not (meaning[0].isupper() or meaning[0].isdigit())] == []
    assert [key for key, meaning in METRICS.items() if not meaning.endswith(".")] == []
