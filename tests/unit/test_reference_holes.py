"""Holes of the reference (Mem-alpha's code), each closed: what it pays for, we do not."""

from __future__ import annotations

import asyncio
import json

import pytest

from memrl.config import RewardConfig
from memrl.engines.engine import Place
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects import DIALECTS
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ResultCode, ToolCall, ToolResult
from memrl.errors import ReaderError
from memrl.records import Completion, Step
from memrl.rewards.compose import pay, resolve_weights
from memrl.rewards.judge import VerdictError, parse_verdict
from memrl.rewards.metrics import score
from memrl.rewards.parts import EpisodeView, StepView
from memrl.rollout.grading import Grading

STREAM = Stream(
    id="s",
    source="test",
    chunks=(Chunk(text="Ann lives in Rome."),),
    questions=(Question(id="q", text="Where does Ann live?", answers=("Rome",), evidence=(0,)),),
)


def tool_success(preset: str, result: ToolResult) -> float:
    seen = EpisodeView(scores=(0.0,), chunk_tokens=1, steps=(StepView(results=(result,)),))
    return pay(seen, resolve_weights(preset)).steps[0]["tool_success"]


@pytest.mark.parametrize("preset", ["default", "memalpha"])
def test_deleting_what_does_not_exist_earns_nothing(preset: str) -> None:
    result = StoreMemory(100, 20).execute(ToolCall(name="memory_delete", arguments={"memory_id": "sem_0009"}))
    assert result.code is ResultCode.UNKNOWN_ID
    assert tool_success(preset, result) == 0.0


@pytest.mark.parametrize("preset", ["default", "memalpha"])
def test_searching_while_memorising_earns_nothing(preset: str) -> None:
    result = StoreMemory(100, 20).execute(ToolCall(name="search_memory", arguments={"query": "Ann"}))
    assert result.code is ResultCode.UNKNOWN_TOOL
    assert tool_success(preset, result) == 0.0


@pytest.mark.parametrize("preset", ["default", "memalpha"])
def test_a_call_that_failed_earns_no_content_reward(preset: str) -> None:
    call = {"name": "memory_insert", "arguments": {"memory_type": "semantic", "content": "Ann lives in Rome."}}
    text = f"<tool_call>\n{json.dumps(call)}\n</tool_call>"
    worth = {}
    for name, budget in (("done", 100), ("failed", 1)):
        memory = StoreMemory(budget, 1)
        result = MemoryEnv(STREAM, memory, DIALECTS["hermes"]()).step(text)
        assert result.results[0].ok is (name == "done")
        completion = Completion(ids=[1], logprobs=[-0.1], stop="stop", version=0)
        step = Step(
            chunk=0, prompt_ids=[1], completion=completion, text=text, results=result.results, diff=result.diff,
            memory_tokens=result.memory_tokens,
        )  # fmt: skip
        grading = Grading(RewardConfig(preset=preset, content="lexical"), None, max_completion_tokens=24)
        (graded,) = asyncio.run(grading.grade(STREAM, [step], Place()))
        worth[name] = graded.parts["content"]
        assert len(graded.checks) == (name == "done")
    assert worth["failed"] < worth["done"] == 1.0
    if preset == "memalpha":
        assert worth["failed"] == 0.0


def test_know_is_not_read_as_no_nor_yesterday_as_yes() -> None:
    for reply in ("I know it is right.", "Yesterday.", "yes", "no"):
        with pytest.raises(VerdictError):
            parse_verdict(reply, "0a1b2c3d")
    assert score("substring", "I know.", ["no"]) == score("substring", "yesterday", ["yes"]) == 0.0


def test_an_error_is_no_answer() -> None:
    from memrl.config import EndpointConfig, ReaderConfig
    from memrl.endpoints.client import Endpoint
    from memrl.frozen.reader import EndpointReader
    from tests.openai_server import OpenAIServer

    server = OpenAIServer()
    server.always = "500"
    endpoint = EndpointConfig(url=server.url, model=server.model, retries=0, timeout=5.0)

    async def ask() -> None:
        open_endpoint = Endpoint(endpoint, "reader")
        reader = EndpointReader(ReaderConfig(), 50, open_endpoint)
        try:
            await reader.answer(STREAM.questions[0], StoreMemory(100, 20))
        finally:
            await open_endpoint.close()

    with pytest.raises(ReaderError, match="500"):
        asyncio.run(ask())
    server.stop()
