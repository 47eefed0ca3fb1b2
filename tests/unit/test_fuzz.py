"""Model output is bad input: whatever a completion says, a step ends with typed results and a sound memory."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.envs.designs import count_words
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.errors import DataError
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream, read_parquet, write_parquet
from memrl.envs.tools import ResultCode, ToolResult

BUDGET, CORE_BUDGET, MAX_CALLS = 40, 8, 6
WILD = st.text(st.characters(), max_size=40)  # lone surrogates and control characters included
JUNK: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WILD,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WILD, inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["memory_insert", "memory_update", "memory_delete", "search_memory", ""]) | JUNK
KEYS = st.sampled_from(["memory_type", "memory_id", "content", "time"]) | WILD
ANSWERS = st.sampled_from(["semantic", "episodic", "core", "sem_0001", "epi_0001", "Ada", "a b c", " "]) | JUNK
ARGUMENTS = st.dictionaries(KEYS, ANSWERS, max_size=4)
WORDS = st.lists(st.sampled_from(["Ada", "Ben", "tea", "Oslo", "</think>", "🐈"]), max_size=12).map(" ".join) | WILD
GOOD = st.one_of(
    st.fixed_dictionaries(
        {"memory_type": st.sampled_from(["semantic", "episodic"]), "content": WORDS}, optional={"time": WILD}
    ).map(lambda arguments: {"name": "memory_insert", "arguments": arguments}),
    st.fixed_dictionaries(
        {"memory_id": st.sampled_from(["core", "sem_0001", "sem_0002", "epi_0001"]), "content": WORDS}
    ).map(lambda arguments: {"name": "memory_update", "arguments": arguments}),
    st.fixed_dictionaries({"memory_id": st.sampled_from(["core", "sem_0001", "epi_0001"])}).map(
        lambda arguments: {"name": "memory_delete", "arguments": arguments}
    ),
)
BODIES = st.one_of(
    GOOD.map(json.dumps),
    GOOD.map(lambda call: json.dumps(call, ensure_ascii=False)),
    st.fixed_dictionaries({}, optional={"name": NAMES, "arguments": ARGUMENTS | JUNK}).map(json.dumps),
    JUNK.map(json.dumps),
    WILD,
    st.integers(1, 20_000).map(
        lambda length: json.dumps({"name": "memory_insert", "arguments": {"content": "x" * length}})
    ),
    st.tuples(st.sampled_from(["[", '{"a":', "9", "(", "\\u", "-"]), st.integers(1, 9000)).map(
        lambda pair: pair[0] * pair[1]
    ),
)
PIECES = st.one_of(
    *[GOOD.map(lambda call: f"<tool_call>\n{json.dumps(call)}\n</tool_call>")] * 4,
    st.builds("<tool_call>{}</tool_call>".format, st.builds(str.__mul__, st.just(" ["), st.integers(8000, 9000))),
    st.just('<tool_call>{"name": "search_memory", "arguments": {"query": "Ada"}}</tool_call>'),
    WILD,
    st.sampled_from(["<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_call", "\n"]),
    BODIES.map(lambda body: f"<tool_call>\n{body}\n</tool_call>"),
    BODIES.map(lambda body: f"<tool_call>{body}"),
    st.tuples(BODIES, st.integers(0, 60)).map(lambda pair: f"<tool_call>{pair[0]}"[: -pair[1] or None]),
)
COMPLETIONS = st.lists(PIECES, max_size=8).map("".join) | st.text(st.characters())
TIMES = st.none() | st.sampled_from(["May 3", " ", "May\n3"])


@pytest.mark.long
@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(COMPLETIONS, st.booleans(), TIMES), min_size=1, max_size=4))
def test_no_completion_breaks_an_episode(steps: list[tuple[str, bool, str | None]]) -> None:
    stream = Stream(
        id="s",
        source="test",
        chunks=tuple(Chunk(text="Ada lives in Oslo.", time=time) for _, _, time in steps),
        questions=(Question(id="q", text="Who?", answers=("Ada",)),),
    )
    memory = StoreMemory(BUDGET, CORE_BUDGET)
    env = MemoryEnv(stream, memory, HermesDialect(), render_budget=20, max_calls=MAX_CALLS)
    for text, truncated, _ in steps:
        before = memory.snapshot()
        env.observe()
        done = env.step(text, truncated=truncated)

        assert all(isinstance(result, ToolResult) and isinstance(result.code, ResultCode) for result in done.results)
        assert all(result.code is ResultCode.TOO_MANY_CALLS for result in done.results[MAX_CALLS:])
        assert all(len(result.message) < 500 for result in done.results)
        for result in done.results:
            assert ToolResult.model_validate_json(result.model_dump_json()) == result
        if not any(result.ok for result in done.results):
            assert (memory.snapshot(), done.diff) == (before, [])

        state = memory.snapshot()
        written = json.dumps([state, done.diff], ensure_ascii=False, allow_nan=False).encode("utf-8")
        assert json.loads(written)[0] == state
        assert done.memory_tokens == memory.token_count() <= BUDGET
        assert count_words(memory.core) <= CORE_BUDGET
        view = memory.render("Ada", 20)
        assert len(view.text().splitlines()) == len(view.items)
        assert len(view.items) + view.hidden == len(state["items"])
        revived = StoreMemory(BUDGET, CORE_BUDGET)
        revived.restore(json.loads(written)[0])
        assert revived.snapshot() == state
        assert revived.retrieve("Ada x a", 20) == memory.retrieve("Ada x a", 20)
    assert env.done


@pytest.mark.long
@settings(max_examples=200, deadline=None)
@given(COMPLETIONS, st.booleans())
def test_every_opened_call_outside_a_thought_is_counted(text: str, truncated: bool) -> None:
    calls = HermesDialect().parse(text, truncated=truncated)
    assert len(calls) <= text.count("<tool_call>")
    if "think>" not in text:
        assert len(calls) == text.count("<tool_call>")
    assert all(call.error is None or call.message for call in calls)
    for call in calls:
        call.model_dump_json()
        json.dumps(call.arguments, ensure_ascii=False).encode("utf-8")


@pytest.mark.long
def test_a_parquet_file_with_damaged_bytes_is_refused_by_name(tmp_path: Path) -> None:
    question = Question(id="q", text="Who came?", answers=("Ada",))
    path = tmp_path / "s.parquet"
    write_parquet(
        path,
        [
            Stream(id=str(number), source="test", chunks=(Chunk(text="Ada came. " * number),), questions=(question,))
            for number in range(1, 51)
        ],
    )
    raw = path.read_bytes()
    chance = random.Random(0)  # seeded, not fuzzed: what breaks pyarrow itself is not ours to find
    refused = 0
    for _ in range(300):
        damaged = bytearray(raw)
        for _ in range(chance.choice([1, 4, 30])):
            damaged[chance.randrange(len(raw))] = chance.randrange(256)
        path.write_bytes(damaged)
        try:
            list(read_parquet(path))
        except DataError as error:
            assert "s.parquet" in str(error)
            refused += 1
    assert refused > 150
