"""The parts' formulas against numbers worked out by hand from Mem-alpha's section on rewards."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrl.envs.errors import PluginError
from memrl.envs.tools import ResultCode, ToolResult
from memrl.rewards.compose import Payment, pay, resolve_weights
from memrl.rewards.parts import PARTS, SHIPPED, EpisodeView, StepView


def paid(preset: str, step: StepView | None = None, **episode: Any) -> Payment:
    """What an episode of one step is paid; qa and compression can always be told."""
    seen = EpisodeView(**{"scores": (1.0,), "chunk_tokens": 100, "steps": (step or StepView(),), **episode})
    return pay(seen, resolve_weights(preset))


def results(*codes: ResultCode) -> StepView:
    return StepView(results=tuple(ToolResult(name="memory_insert", code=code) for code in codes))


@pytest.mark.parametrize("preset", ["default", "memalpha"])
def test_qa_is_the_mean_question_score(preset: str) -> None:
    assert paid(preset, scores=(1.0, 0.0, 0.5, 1.0)).parts["qa"] == pytest.approx(0.625)


def test_qa_without_answers_is_refused() -> None:
    with pytest.raises(PluginError, match="reward part 'qa': ValueError: qa needs at least one question"):
        paid("default", scores=())


@pytest.mark.parametrize("preset", ["default", "memalpha"])
def test_tool_success_is_successes_over_calls(preset: str) -> None:
    calls = results(ResultCode.OK, ResultCode.OK, ResultCode.DUPLICATE, ResultCode.OK)
    assert paid(preset, calls).steps == [{"tool_success": pytest.approx(0.75)}]


@pytest.mark.parametrize(("preset", "expected"), [("default", 1.0), ("memalpha", 0.0)])
def test_a_step_without_a_call(preset: str, expected: float) -> None:
    assert paid(preset).steps == [{"tool_success": expected}]


@pytest.mark.parametrize("preset", ["default", "memalpha"])
@pytest.mark.parametrize("code", [code for code in ResultCode if code is not ResultCode.OK])
def test_no_failed_call_earns(preset: str, code: ResultCode) -> None:
    assert paid(preset, results(code)).steps == [{"tool_success": 0.0}]


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
    for preset, expected in (("memalpha", memalpha), ("default", default)):
        found = paid(preset, memory_tokens=memory, chunk_tokens=chunks).parts["compression"]
        assert found == pytest.approx(expected)


def test_compression_without_chunk_tokens_is_refused() -> None:
    with pytest.raises(PluginError, match="positive number of chunk tokens, not 0"):
        paid("default", memory_tokens=3, chunk_tokens=0)


def test_content_is_what_grading_found_and_absent_where_it_found_nothing() -> None:
    assert paid("default", StepView(content=0.25)).steps == [{"tool_success": 1.0, "content": 0.25}]
    assert paid("default").steps == [{"tool_success": 1.0}]


def test_names_are_the_words_of_the_design() -> None:
    assert [part.name for part in SHIPPED] == ["qa", "compression", "tool_success", "content"]
    assert list(PARTS)[:4] == ["qa", "compression", "tool_success", "content"]
    assert [PARTS.get(part.name) for part in SHIPPED] == list(SHIPPED)


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_default_compression_stays_in_bounds(memory: int, chunks: int) -> None:
    assert 0.0 <= paid("default", memory_tokens=memory, chunk_tokens=chunks).parts["compression"] <= 1.0
