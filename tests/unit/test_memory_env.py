"""One episode: what is shown, what a completion does, and when it is over."""

from __future__ import annotations

from typing import Any

import pytest

from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.errors import EnvironmentFault
from memrl.envs.memory_env import INSTRUCTION, MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ResultCode, ToolCall

HERMES = HermesDialect()
STREAM = Stream(
    id="s",
    source="test",
    chunks=(
        Chunk(text="Ada lives in Oslo.", time="May 3"),
        Chunk(text="Ada visited the zoo.", time="May 4"),
        Chunk(text="It rained."),
    ),
    questions=(Question(id="q", text="Where does Ada live?", answers=("Oslo",)),),
)


def environment(budget: int = 100, **options: Any) -> MemoryEnv:
    return MemoryEnv(STREAM, StoreMemory(budget, 10), HERMES, **options)


def written(*contents: str, store: str = "semantic") -> str:
    return HERMES.format(
        [ToolCall(name="memory_insert", arguments={"memory_type": store, "content": text}) for text in contents]
    )


def test_an_episode_from_first_chunk_to_last() -> None:
    env = environment()
    first = env.observe()
    assert first.messages == [
        {"role": "system", "content": INSTRUCTION},
        {"role": "user", "content": "# Memory (0% full, 0 hidden)\n# Text (May 3)\nAda lives in Oslo."},
    ]
    assert [tool.name for tool in first.tools] == ["memory_insert", "memory_update", "memory_delete"]
    result = env.step(written("Ada lives in Oslo."))
    assert [found.code for found in result.results] == [ResultCode.OK]
    assert result.diff == [{"op": "insert", "id": "sem_0001", "before": None, "after": "Ada lives in Oslo."}]
    assert result.memory_tokens == env.memory.token_count() == 5
    assert env.observe().messages[1]["content"] == (
        "# Memory (0% full, 0 hidden)\nsem_0001: Ada lives in Oslo.\n# Text (May 4)\nAda visited the zoo."
    )
    env.step("Nothing to keep.")
    assert env.observe().messages[1]["content"].endswith("\n# Text\nIt rained.")
    assert not env.done
    assert env.step("").results == []
    assert env.done


def test_driving_a_finished_episode_is_a_fault_of_the_driver() -> None:
    env = environment()
    for _ in STREAM.chunks:
        env.step("")
    with pytest.raises(EnvironmentFault, match="stream 's' has no chunk 3: the episode is over"):
        env.step(written("a"))
    with pytest.raises(EnvironmentFault):
        env.observe()
    assert env.memory.token_count() == 0


def test_observing_changes_nothing() -> None:
    env = environment()
    env.step(written("Ada lives in Oslo."))
    state = env.memory.snapshot()
    assert env.observe() == env.observe()
    assert (env.position, env.memory.snapshot()) == (1, state)


def test_an_event_is_stamped_with_its_chunks_time() -> None:
    env = environment()
    env.step("")
    env.step(written("Ada visited the zoo.", store="episodic"))
    env.step(written("It rained.", store="episodic"))
    assert [item["time"] for item in env.memory.snapshot()["items"]] == ["May 4", None]


def test_calls_past_the_limit_are_refused_one_by_one() -> None:
    env = environment(max_calls=2)
    result = env.step(written("a", "b", "c", "d"))
    limit = ResultCode.TOO_MANY_CALLS
    assert [found.code for found in result.results] == [ResultCode.OK, ResultCode.OK, limit, limit]
    assert [found.name for found in result.results] == ["memory_insert"] * 4
    assert [change["after"] for change in result.diff] == ["a", "b"]
    assert [found.code for found in env.step(written("c")).results] == [ResultCode.OK]


def test_a_call_cut_off_by_the_token_limit_is_told_from_a_malformed_one() -> None:
    text = written("a", "b")[:-15]
    env = environment()
    assert [found.code for found in env.step(text, truncated=True).results] == [ResultCode.OK, ResultCode.TRUNCATED]
    assert [found.code for found in env.step(text).results] == [ResultCode.DUPLICATE, ResultCode.MALFORMED]


def test_bad_and_good_calls_in_one_step_each_have_their_result() -> None:
    env = environment()
    text = "<tool_call>{</tool_call>" + written("a", "A", " ", "b " * 200)
    text += HERMES.format(
        [
            ToolCall(name="search_memory", arguments={}),
            ToolCall(name="memory_delete", arguments={"memory_id": "sem_0007"}),
            ToolCall(name="memory_delete", arguments={"memory_id": 1}),
        ]
    )
    assert [found.code.value for found in env.step(text).results] == [
        "malformed", "ok", "duplicate", "empty", "over_budget", "unknown_tool", "unknown_id", "bad_arguments",
    ]  # fmt: skip


def test_the_prompt_shows_how_full_the_memory_is_and_what_it_hides() -> None:
    env = environment(budget=10, render_budget=6)
    env.step(written("one two three", "four five six"))
    assert env.observe().messages[1]["content"].startswith("# Memory (60% full, 1 hidden)\nsem_0002: four five six\n")


def test_an_instruction_of_ones_own_replaces_ours_even_when_empty() -> None:
    env = MemoryEnv(STREAM, StoreMemory(100, 10), HERMES, instruction="")
    assert env.observe().messages[0] == {"role": "system", "content": ""}


def test_the_worked_example_stands_before_the_text_and_its_calls_work() -> None:
    env = environment(example=True)
    system, user, assistant, last = env.observe().messages
    assert [system["role"], user["role"], assistant["role"]] == ["system", "user", "assistant"]
    assert last == environment().observe().messages[-1]  # nothing of the example is in the memory
    memory = StoreMemory(100, 10)
    calls = HERMES.parse(assistant["content"])
    assert [memory.execute(call).code for call in calls] == [ResultCode.OK] * 2
    names = {word for item in memory.items for word in item.content.split() if word[0].isupper()}
    assert all(name.strip(".") in user["content"] for name in names)
