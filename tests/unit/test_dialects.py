"""The Hermes dialect reads any text into calls; one that cannot be read is still a call, with an error code."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.envs.designs.stores import INSERT, StoreMemory
from memrl.envs.dialects import DIALECTS, Dialect
from memrl.envs.dialects.calls import MAX_CALL_CHARS, MAX_DEPTH, all_calls
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.dialects.thoughts import said
from memrl.envs.tools import ResultCode, ToolCall

HERMES = HermesDialect()
GOOD = '{"name": "memory_delete", "arguments": {"memory_id": "sem_0001"}}'


def block(body: str) -> str:
    return f"<tool_call>\n{body}\n</tool_call>"


def only(text: str, **options: bool) -> ToolCall:
    (call,) = HERMES.parse(text, **options)
    return call


def codes(text: str, **options: bool) -> list[ResultCode | None]:
    return [call.error for call in HERMES.parse(text, **options)]


def test_several_calls_are_read_in_order_with_text_around() -> None:
    text = f"Let me see.\n{block(GOOD)} and {block(GOOD.replace('0001', '0002'))}\nDone."
    calls = HERMES.parse(text)
    assert [(call.name, call.arguments, call.error) for call in calls] == [
        ("memory_delete", {"memory_id": "sem_0001"}, None),
        ("memory_delete", {"memory_id": "sem_0002"}, None),
    ]


@pytest.mark.parametrize("text", ["", "Nothing to keep.", "<tool_cal", "<TOOL_CALL>x</TOOL_CALL>"])
def test_text_without_a_block_makes_no_call(text: str) -> None:
    assert HERMES.parse(text) == HERMES.parse(text, truncated=True) == []


def test_calls_in_a_thought_are_not_made() -> None:
    assert codes(f"<think>{block(GOOD)} or {block('{')}</think>{block(GOOD)}") == [None]
    assert codes(f"<think>\n\n</think>\n\n{block(GOOD)}<think>{block('{')}</think>") == [None]


def test_a_thought_that_never_ends_swallows_the_rest() -> None:
    assert codes(f"{block(GOOD)}<think>hm {block(GOOD)}") == [None]
    assert codes(f"<think>hm {block(GOOD)}", truncated=True) == []


def test_a_think_tag_in_a_content_is_content() -> None:
    body = json.dumps({"name": "memory_insert", "arguments": {"content": "He wrote <think> and </think>."}})
    calls = HERMES.parse(block(body) + block(GOOD))
    assert [call.error for call in calls] == [None, None]
    assert calls[0].arguments["content"] == "He wrote <think> and </think>."


def test_a_thought_that_the_prompt_has_opened_ends_at_its_closing_tag() -> None:
    assert codes(f"Perhaps {block(GOOD)}, or {block('{')}. No.</think>\n\n{block(GOOD)}") == [None]
    assert codes(f"{block(GOOD)}</think>") == []


@pytest.mark.parametrize("mark", ["</tool_call>", "<tool_call>", "</think>", "<think>", "✿FUNCTION✿"])
def test_a_mark_in_a_content_is_content(mark: str) -> None:
    body = json.dumps(
        {"name": "memory_insert", "arguments": {"content": f"They write {mark} there."}}, ensure_ascii=False
    )
    calls = HERMES.parse(f"{block(body)}\n{block(GOOD)}")
    assert [call.error for call in calls] == [None, None]
    assert calls[0].arguments["content"] == f"They write {mark} there."


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Bergen", "Bergen"),
        ("<think>Oslo?</think>\nBergen", "Bergen"),
        ("Oslo or Bergen? Bergen.</think>\n\nBergen", "Bergen"),
        ("<think>Oslo</think>No, <think>hm</think>Bergen", "No, Bergen"),
        ("<think>Oslo or", ""),
        ("a</think>b</think>Bergen <think>or", "Bergen"),
    ],
)
def test_what_was_said_is_told_from_what_was_thought(text: str, wanted: str) -> None:
    assert said(text) == wanted


@pytest.mark.parametrize("text", [f"<tool_call>{GOOD}", f"<tool_call>{GOOD}</tool_cal", "<tool_call>"])
def test_an_unclosed_call_is_malformed_or_truncated(text: str) -> None:
    assert only(text).error is ResultCode.MALFORMED
    assert only(text, truncated=True).error is ResultCode.TRUNCATED


def test_only_the_call_at_the_end_can_be_truncated() -> None:
    text = f"<tool_call>{GOOD}\n<tool_call>{GOOD}</tool_call><tool_call>{GOOD[:20]}"
    assert codes(text, truncated=True) == [ResultCode.MALFORMED, None, ResultCode.TRUNCATED]
    assert codes(block(GOOD) + " and so on", truncated=True) == [None]


def test_nested_calls_end_as_typed_calls() -> None:
    assert codes(f"<tool_call>{block(GOOD)}</tool_call>") == [ResultCode.MALFORMED, None]
    inner = json.dumps({"name": "memory_insert", "arguments": {"content": "x"}})[:-2] + block(GOOD) + '"}}'
    assert codes(f"<tool_call>{inner}</tool_call>") == [ResultCode.MALFORMED, None]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ("", ResultCode.MALFORMED),
        ("null", ResultCode.MALFORMED),
        ("[]", ResultCode.MALFORMED),
        (f"[{GOOD}]", ResultCode.MALFORMED),
        ("{'name': 'memory_delete'}", ResultCode.MALFORMED),
        (GOOD + GOOD, ResultCode.MALFORMED),
        (GOOD[:-1], ResultCode.MALFORMED),
        ('{"arguments": {}}', ResultCode.MALFORMED),
        ('{"name": null, "arguments": {}}', ResultCode.MALFORMED),
        ('{"name": ["memory_delete"], "arguments": {}}', ResultCode.MALFORMED),
        ('{"name": "a", "arguments": null}', ResultCode.BAD_ARGUMENTS),
        ('{"name": "a", "arguments": "{}"}', ResultCode.BAD_ARGUMENTS),
        ('{"name": "a", "arguments": []}', ResultCode.BAD_ARGUMENTS),
        ('{"name": "a", "arguments": {"n": ' + "9" * 5000 + "}}", ResultCode.MALFORMED),
        ('{"name": "a", "arguments": ' + "[" * 7000 + "]" * 7000 + "}", ResultCode.MALFORMED),
        ('{"name": "a", "arguments": ' + '{"a":' * 2000 + "1" + "}" * 2000 + "}", ResultCode.MALFORMED),
        ("[" * 16_000, ResultCode.MALFORMED),
        ("x" * (MAX_CALL_CHARS + 1), ResultCode.TOO_LONG),
    ],
)
def test_a_call_that_cannot_be_read_has_a_code_and_a_message(body: str, code: ResultCode) -> None:
    call = only(f"<tool_call>{body}</tool_call>")
    assert call.error is code
    assert 0 < len(call.message) < 200
    assert len(call.raw) <= MAX_CALL_CHARS
    ToolCall.model_validate_json(call.model_dump_json())


@pytest.mark.parametrize("value", ["NaN", "-Infinity", "1e999", "7" * 4000, "true", "null", '["a"]', '{"a": {}}'])
def test_values_of_a_wrong_type_are_read_and_then_refused_by_the_tool(value: str) -> None:
    call = only(block(f'{{"name": "memory_insert", "arguments": {{"memory_type": "semantic", "content": {value}}}}}'))
    assert call.error is None
    call.model_dump_json()
    assert StoreMemory(100, 10).execute(call).code is ResultCode.BAD_ARGUMENTS


def test_arguments_may_be_left_out_and_are_then_missing() -> None:
    call = only(block('{"name": "memory_insert"}'))
    assert call.arguments == {}
    assert StoreMemory(100, 10).execute(call).code is ResultCode.BAD_ARGUMENTS


def test_an_unknown_tool_is_read_and_its_name_kept_short() -> None:
    name = "search_memory" * 50
    call = only(block(json.dumps({"name": name, "arguments": {}})))
    assert call.name == name[:80]
    assert StoreMemory(100, 10).execute(call).code is ResultCode.UNKNOWN_TOOL


def test_the_bound_on_depth_does_not_depend_on_the_caller() -> None:
    def nested(depth: int) -> str:
        inner = "[" * (depth - 2) + "]" * (depth - 2)
        return block(f'{{"name": "a", "arguments": {{"b": {inner}}}}}')

    def far_down(text: str, levels: int) -> list[ResultCode | None]:
        return far_down(text, levels - 1) if levels else codes(text)

    assert codes(nested(MAX_DEPTH)) == far_down(nested(MAX_DEPTH), 300) == [None]
    assert codes(nested(MAX_DEPTH + 1)) == far_down(nested(MAX_DEPTH + 1), 300) == [ResultCode.MALFORMED]


def test_lone_surrogates_are_replaced_at_every_depth() -> None:
    call = only(
        block(r'{"name": "a\ud800", "arguments": {"b\udfff": "c\ud800", "d": ["\ud800", {"\udc00": "\ud83d\ude00"}]}}')
    )
    assert call.name == "a?"
    assert call.arguments == {"b?": "c?", "d": ["?", {"?": "😀"}]}
    json.loads(call.model_dump_json())
    assert only("<tool_call>\ud800").raw == "?"


@pytest.mark.long
def test_never_ending_text_is_read_in_linear_time() -> None:
    started = time.process_time()
    for piece in (
        "<tool_call>",
        "<think>",
        "<tool_call>{",
        "</tool_call>",
        "<",
        block("{"),
        "<think></think>",
        '{"name": "',
        '{"arguments": {',
    ):
        all_calls(HERMES, piece * 20_000, TOOLS)
    assert time.process_time() - started < 30  # of a processor; quadratic, it would be hours


def test_the_format_is_the_one_that_qwen_writes() -> None:
    call = ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": "Zoë has 2 < 3 cats."})
    expected = '{"name": "memory_insert", "arguments": {"memory_type": "semantic", "content": "Zoë has 2 < 3 cats."}}'
    assert HERMES.format([call]) == f"<tool_call>\n{expected}\n</tool_call>"
    assert HERMES.format([call, call]) == f"{block(expected)}\n{block(expected)}"
    assert HERMES.format([]) == ""


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    ["<tool_call>", "</tool_call>", "\\</tool_call>", "<think>", "a</think>", '"', "\n", "<\\u003c", "\\"]
)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
)
CALLS = st.lists(st.builds(ToolCall, name=TEXT, arguments=st.dictionaries(TEXT, VALUES, max_size=3)), max_size=4)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(CALLS, st.booleans())
def test_what_is_formatted_is_parsed_back(calls: list[ToolCall], truncated: bool) -> None:
    found = HERMES.parse(HERMES.format(calls), truncated=truncated)
    assert [(call.name, call.arguments, call.error) for call in found] == [
        (call.name, call.arguments, None) for call in calls
    ]


def test_a_formatted_call_can_be_written_to_a_file() -> None:
    call = ToolCall(name="a", arguments={"b": "\ud800"})
    assert only(HERMES.format([call]).encode().decode()).arguments == {"b": "?"}


def test_the_description_names_each_tool_and_holds_no_good_call_of_its_own() -> None:
    text = HERMES.describe(StoreMemory.tools)
    for tool in StoreMemory.tools:
        assert json.dumps(tool.json_schema()) in text
    assert json.dumps(INSERT.json_schema()) in text
    assert set(codes(text)) == {ResultCode.MALFORMED}  # who repeats it makes no call


def test_dialects_are_found_by_name() -> None:
    assert {"hermes", "memalpha"} < {name for name, kind in DIALECTS.items() if kind().name == name}


TOOLS = ["memory_insert", "memory_update", "memory_delete"]


@pytest.mark.parametrize("dialect", [HERMES, DIALECTS.get("memalpha")()], ids=["hermes", "memalpha"])
@pytest.mark.parametrize(
    "text",
    [
        f"{GOOD}\n</tool_call>",  # its opening tag is missing
        f"```json\n{GOOD}\n```",
        GOOD,
        '{"arguments": {"memory_id": "sem_0001"}, "name": "memory_delete"}',
        '{"name": "memory_delete", "parameters": {"memory_id": "sem_0001"}}',  # Llama 3.1
        f"<|python_tag|>{GOOD}",
        f"[TOOL_CALLS] [{GOOD}]",  # Mistral
        "[memory_delete(memory_id='sem_0001')]",  # Llama 4, LFM2
        "<function=memory_delete>\n<parameter=memory_id>\nsem_0001\n</parameter>\n</function>",  # Qwen3-Coder
        '<invoke name="memory_delete"><parameter name="memory_id">sem_0001</parameter></invoke>',
        f"functools[{GOOD}]",  # Phi-4-mini
        "<|tool_call_start|>[memory_delete(memory_id='sem_0001')]<|tool_call_end|>",
        '{"type": "function", "function": {"name": "memory_delete", "arguments": "{}"}}',
        f"<think>\nWhat is it?\n</think>\n{GOOD}",
    ],
)
def test_what_looks_like_a_call_and_cannot_be_read_is_one_that_failed(dialect: Dialect, text: str) -> None:
    (call,) = all_calls(dialect, text, TOOLS)
    assert call.error is ResultCode.MALFORMED and "looks like a call" in call.message


@pytest.mark.parametrize(
    "text",
    [
        "Nothing here is worth keeping.",
        "I would use memory_insert, but nobody will ask about the weather.",
        'She said {"name": "Ada"} and left.',
        f"<think>Shall I write {GOOD}?</think> No.",
        f"<think>{GOOD}",
        "",
    ],
)
def test_talk_is_no_call(text: str) -> None:
    assert all_calls(HERMES, text, TOOLS) == []


def test_a_stray_call_beside_a_good_one_fails_alone() -> None:
    good, stray = all_calls(HERMES, f"{block(GOOD)}\n```json\n{GOOD}\n```\n{block(GOOD)[:-12]}", TOOLS)[::2]
    assert good.error is None and "looks like" in stray.message
    insert = '✿FUNCTION✿: memory_delete\n✿ARGS✿: {"memory_id": "sem_0001"}'
    assert [call.error for call in all_calls(DIALECTS.get("memalpha")(), f"{GOOD}\n{insert}", TOOLS)] == [
        None, ResultCode.MALFORMED,
    ]  # fmt: skip


@pytest.mark.long
@settings(max_examples=100, deadline=None)
@given(CALLS, st.booleans())
def test_what_is_formatted_leaves_no_stray_call(calls: list[ToolCall], truncated: bool) -> None:
    assert len(all_calls(HERMES, HERMES.format(calls), TOOLS, truncated=truncated)) == len(calls)


def test_the_stray_call_of_a_dialect_that_looks_for_none_is_found_where_it_read_no_call() -> None:
    class Older:
        name, own_tools = "older", False
        format, describe = HERMES.format, HERMES.describe

        def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
            return [ToolCall(name="memory_delete")] if "<tool_call>" in text else []

    assert [call.error for call in all_calls(Older(), GOOD, TOOLS)] == [ResultCode.MALFORMED]
    assert [call.error for call in all_calls(Older(), f"{block(GOOD)}\n{GOOD}", TOOLS)] == [None]


def test_a_dialect_finds_stray_calls_itself() -> None:
    assert codes(f"{GOOD}\n</tool_call>") == [ResultCode.MALFORMED]
    assert [call.error for call in DIALECTS.get("memalpha")().parse(block(GOOD))] == [ResultCode.MALFORMED]
