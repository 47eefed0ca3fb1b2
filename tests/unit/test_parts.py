"""The parts' formulas against numbers worked out by hand from Mem-alpha's section on rewards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrl.envs.tools import ResultCode, ToolResult
from memrl.rewards.parts import reward_parts


def results(*codes: ResultCode) -> list[ToolResult]:
    return [ToolResult(name="memory_insert", code=code) for code in codes]


@pytest.mark.parametrize("preset", ["default", "memalpha"])
def test_qa_is_the_mean_question_score(preset: str) -> None:
    assert reward_parts(preset).qa([1.0, 0.0, 0.5, 1.0]) == pytest.approx(0.625)


def test_qa_without_answers_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one question"):
        reward_parts("default").qa([])


@pytest.mark.parametrize("preset", ["default", "memalpha"])
def test_tool_success_is_successes_over_calls(preset: str) -> None:
    calls = results(ResultCode.OK, ResultCode.OK, ResultCode.DUPLICATE, ResultCode.OK)
    assert reward_parts(preset).tool_success(calls) == pytest.approx(0.75)


@pytest.mark.parametrize(("preset", "expected"), [("default", 1.0), ("memalpha", 0.0)])
def test_a_step_without_a_call(preset: str, expected: float) -> None:
    assert reward_parts(preset).tool_success([]) == expected


@pytest.mark.parametrize("preset", ["default", "memalpha"])
@pytest.mark.parametrize("code", [code for code in ResultCode if code is not ResultCode.OK])
def test_no_failed_call_earns(preset: str, code: ResultCode) -> None:
    assert reward_parts(preset).tool_success(results(code)) == 0.0


@pytest.mark.parametrize(
    ("memory", "chunks", "memalpha", "default"),
    [
        (0, 10_800, 1.0, 1.0),
        (2_700, 10_800, 0.75, 0.75),
        (10_800, 10_800, 0.0, 0.0),
        (11_556, 10_800, -0.07, 0.0),  # 107 % of the source, as the reference's memories on TREC
    ],
)
def test_compression(memory: int, chunks: int, memalpha: float, default: float) -> None:
    assert reward_parts("memalpha").compression(memory, chunks) == pytest.approx(memalpha)
    assert reward_parts("default").compression(memory, chunks) == pytest.approx(default)


def test_compression_without_chunk_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="positive number of chunk tokens"):
        reward_parts("default").compression(3, 0)


def test_names_are_the_words_of_the_design() -> None:
    parts = reward_parts("default")
    assert (parts.qa.name, parts.tool_success.name, parts.compression.name) == ("qa", "tool_success", "compression")


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="Did you mean 'memalpha'"):
        reward_parts("mem-alpha")


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_default_compression_stays_in_bounds(memory: int, chunks: int) -> None:
    assert 0.0 <= reward_parts("default").compression(memory, chunks) <= 1.0
