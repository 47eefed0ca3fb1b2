"""Mem-α's dialect: its calls become ours, whatever the text, and what it writes it can read."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.engines.prompting import Prompter
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.calls import MAX_CALL_CHARS
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.dialects.memalpha import MemAlphaDialect
from memrl.envs.tools import ResultCode, ToolCall
from tests.support import ROOT

DIALECT = MemAlphaDialect()
CONTENT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="✿"), min_size=1, max_size=30)
IDS = st.sampled_from(["sem_0001", "epi_0012", "core"])
CALLS = st.lists(
    st.one_of(
        st.builds(
            lambda store, content: ToolCall(name="memory_insert", arguments={"memory_type": store, "content": content}),
            st.sampled_from(["semantic", "episodic"]),
            CONTENT,
        ),
        st.builds(
            lambda item, content: ToolCall(name="memory_update", arguments={"memory_id": item, "content": content}),
            IDS,
            CONTENT,
        ),
        st.builds(lambda item: ToolCall(name="memory_delete", arguments={"memory_id": item}), IDS),
    ),
    max_size=4,
)


def said(name: str, **arguments: Any) -> str:
    return f"✿FUNCTION✿: {name}\n✿ARGS✿: {json.dumps(arguments)}\n"


def test_its_calls_become_ours_and_do_what_they_say() -> None:
    text = (
        "<think>✿FUNCTION✿: memory_delete</think>I will keep this.\n"
        + said("new_memory_insert", memory_type="semantic_memory", content="Ada lives in Oslo.")
        + said("new_memory_insert", memory_type="episodic_memory", content="At 9 Ada left.")
        + said("memory_update", memory_type="core_memory", new_content="A text about Ada.")
        + said("memory_update", memory_type="semantic_memory", new_content="Ada lives in Rome.", memory_id="sem_0001")
        + said("memory_delete", memory_type="episodic_memory", memory_id="epi_0001")
        + said("search_memory", memory_type="semantic_memory", query="Ada")
        + "✿RESULT✿: done"
    )
    memory = StoreMemory(100, 20)
    results = [memory.execute(call) for call in DIALECT.parse(text)]
    assert [result.code for result in results] == [ResultCode.OK] * 5 + [ResultCode.UNKNOWN_TOOL]
    assert memory.core == "A text about Ada."
    assert [item.content for item in memory.items] == ["Ada lives in Rome."]


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(CALLS)
def test_what_it_writes_it_reads(calls: list[ToolCall]) -> None:
    found = DIALECT.parse(DIALECT.format(calls))
    assert [(call.name, call.arguments) for call in found] == [(call.name, call.arguments) for call in calls]


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.sampled_from(["✿FUNCTION✿", "✿ARGS✿", "✿RESULT✿", ":", "{", "}", "\n", "new_memory_insert", '"'])
        | st.text(max_size=9)
    )
)
def test_any_text_ends_as_typed_results(pieces: list[str]) -> None:
    memory = StoreMemory(100, 20)
    for call in DIALECT.parse("".join(pieces), truncated=True):
        memory.execute(call)
    assert memory.token_count() <= 100


@pytest.mark.parametrize(
    ("text", "truncated", "code"),
    [
        ("✿FUNCTION✿: memory_delete", False, ResultCode.MALFORMED),
        ("✿FUNCTION✿: memory_delete", True, ResultCode.TRUNCATED),
        ('✿FUNCTION✿: memory_delete\n✿ARGS✿: {"memory_id": "se', False, ResultCode.MALFORMED),
        ('✿FUNCTION✿: memory_delete\n✿ARGS✿: {"memory_id": "se', True, ResultCode.TRUNCATED),
        ("✿FUNCTION✿: memory_delete\n✿ARGS✿: [1]", False, ResultCode.BAD_ARGUMENTS),
        (said("memory_delete", memory_id="x" * MAX_CALL_CHARS), False, ResultCode.TOO_LONG),
    ],
)
def test_a_call_that_cannot_be_read_is_a_call_with_an_error(text: str, truncated: bool, code: ResultCode) -> None:
    (call,) = DIALECT.parse(text, truncated=truncated)
    assert call.error is code and call.name == "memory_delete"


def test_its_own_tools_are_described_even_where_the_template_could() -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(ROOT / "memrl" / "tiny" / "model")
    tokenizer.chat_template = "{{ tools }}{% for message in messages %}{{ message['content'] }}{% endfor %}"
    prompter = Prompter(tokenizer, DIALECT)
    described = DIALECT.describe(StoreMemory.tools)
    assert all(name in described for name in ("new_memory_insert", "new_content", "core_memory", "✿ARGS✿"))
    found = prompter.encode([{"role": "system", "content": "Keep."}], StoreMemory.tools)
    assert found == prompter.encode([{"role": "system", "content": f"Keep.\n\n{described}"}])
    assert found != Prompter(tokenizer, HermesDialect()).encode(
        [{"role": "system", "content": "Keep."}], StoreMemory.tools
    )
