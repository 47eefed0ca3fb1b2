"""The dialects of families of models: each reads what it writes, any text whatever, and what its family's template
writes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.engines.probe import PROBE_ARGUMENTS, PROBE_TOOL
from memrl.engines.prompting import Prompter, open_prompter
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects import DIALECTS, Dialect
from memrl.envs.dialects.calls import MAX_CALL_CHARS, all_calls
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.tools import ResultCode, ToolCall
from tests.support import ROOT
from tests.templates import CHATML, FAMILIES, byte_tokenizer

TOOLS = ["memory_insert", "memory_update", "memory_delete"]
DELETE = ToolCall(name="memory_delete", arguments={"memory_id": "sem_0001"})
INSERT = ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": 'Zoë\'s 2 < 3 "cats".'})
WRITTEN = {
    "hermes_content_first": '<tool_call>\n{"arguments": {"memory_id": "sem_0001"}, "name": "memory_delete"}\n'
    "</tool_call>",
    "llama_json": '{"name": "memory_delete", "parameters": {"memory_id": "sem_0001"}}',
    "mistral": '[TOOL_CALLS] [{"name": "memory_delete", "arguments": {"memory_id": "sem_0001"}}]',
    "qwen_xml": "<tool_call>\n<function=memory_delete>\n<parameter=memory_id>\nsem_0001\n</parameter>\n</function>\n"
    "</tool_call>",
    "glm": "<tool_call>memory_delete\n<arg_key>memory_id</arg_key>\n<arg_value>sem_0001</arg_value>\n</tool_call>",
    "gemma": '<|tool_call>call:memory_delete{memory_id:<|"|>sem_0001<|"|>}<tool_call|>',
    "lfm2": "<|tool_call_start|>[memory_delete(memory_id='sem_0001')]<|tool_call_end|>",
}
HERMES = {"hermes", "hermes_content_first"}
"""Two orders of one form: each reads the other's."""
QUOTES = ("hermes_content_first", "llama_json", "mistral", "lfm2")
"""Those in which a text is quoted, so that any text can be written."""
names = pytest.mark.parametrize("name", WRITTEN)


def dialect_of(name: str) -> Dialect:
    return DIALECTS.get(name)()


def plain(calls: list[ToolCall]) -> list[tuple[str, Any, ResultCode | None]]:
    return [(call.name, call.arguments, call.error) for call in calls]


def codes(name: str, text: str, **options: bool) -> list[ResultCode | None]:
    return [call.error for call in all_calls(dialect_of(name), text, TOOLS, **options)]


def test_every_dialect_of_ours_is_tried_here_or_by_itself() -> None:
    assert {*WRITTEN, "hermes", "memalpha"} == set(DIALECTS.shipped)
    assert all(DIALECTS.get(name)().name == name for name in DIALECTS.shipped)


@names
def test_the_form_is_the_familys(name: str) -> None:
    dialect = dialect_of(name)
    assert dialect.format([DELETE]) == WRITTEN[name]
    assert dialect.format([]) == ""
    assert plain(dialect.parse(dialect.format([INSERT, DELETE]))) == plain([INSERT, DELETE])


@names
def test_text_around_calls_is_no_call(name: str) -> None:
    text = f"Let me see.\n{WRITTEN[name]}\nDone."
    assert plain(dialect_of(name).parse(text)) == plain([DELETE])
    assert codes(name, "Nothing here is worth keeping.") == codes(name, "", truncated=True) == []
    assert codes(name, 'She said {"name": "Ada"} and [left].') == []


@names
def test_a_call_in_a_thought_is_not_made(name: str) -> None:
    assert codes(name, f"<think>{WRITTEN[name]}</think>{WRITTEN[name]}") == [None]
    assert codes(name, f"Or {WRITTEN[name]}?</think>{WRITTEN[name]}") == [None]
    assert codes(name, f"<think>{WRITTEN[name]}", truncated=True) == []


@names
def test_a_thoughts_tag_in_a_content_is_content(name: str) -> None:
    call = ToolCall(name="memory_insert", arguments={"content": "He wrote </think> and <think>."})
    assert plain(dialect_of(name).parse(dialect_of(name).format([call, DELETE]))) == plain([call, DELETE])


@names
def test_a_call_that_is_cut_off_is_truncated_wherever_it_is_cut(name: str) -> None:
    whole = WRITTEN[name]
    begins = {
        "llama_json": 1,
        "mistral": len("[TOOL_CALLS]"),
        "lfm2": len("<|tool_call_start|>"),
        "gemma": len("<|tool_call>"),
    }
    ends = whole.find("<|tool_call_end|>") if name == "lfm2" else len(whole)  # a list says itself where it ends
    for end in range(begins.get(name, len("<tool_call>")), ends):
        found = codes(name, whole[:end], truncated=True)
        # Of a list, calls that are whole are made.
        assert found in ([ResultCode.TRUNCATED], [None, ResultCode.TRUNCATED]), whole[:end]
        assert None not in codes(name, whole[:end]) or name in ("mistral", "lfm2"), whole[:end]


@names
@pytest.mark.parametrize("other", [*WRITTEN, "hermes"])
def test_another_familys_call_is_one_that_failed(name: str, other: str) -> None:
    if {name, other} == HERMES:
        assert codes(name, dialect_of(other).format([DELETE])) == [None]
    elif name != other:
        assert ResultCode.MALFORMED in codes(name, dialect_of(other).format([DELETE]))
        assert None not in codes(name, dialect_of(other).format([DELETE]))


@names
def test_a_long_call_is_refused(name: str) -> None:
    call = ToolCall(name="memory_insert", arguments={"content": "x" * (MAX_CALL_CHARS + 1)})
    text = dialect_of(name).format([call])
    found = dialect_of(name).parse(text)
    assert found and all(one.error is not None and len(one.raw) <= MAX_CALL_CHARS for one in found)


@names
def test_the_description_names_each_tool_and_holds_no_good_call_of_its_own(name: str) -> None:
    text = dialect_of(name).describe(StoreMemory.tools)
    assert all(text.count(f'"name": "{tool.name}"') == 1 for tool in StoreMemory.tools)
    assert WRITTEN[name].split("memory_delete")[0].split('"')[0].strip() in text
    known = [call for call in dialect_of(name).parse(text) if call.error is None and call.name in TOOLS]
    assert known == []  # who repeats it changes nothing


@pytest.mark.parametrize(
    "text",
    [
        '<|python_tag|>{"name": "memory_delete", "parameters": {"memory_id": "sem_0001"}}<|eom_id|>',
        '{"name": "memory_delete",\n"parameters": {"memory_id": "sem_0001"}}\n',
    ],
)
def test_llamas_tag_and_line_breaks_are_read_over(text: str) -> None:
    assert plain(dialect_of("llama_json").parse(text)) == plain([DELETE])


def test_the_ids_of_mistrals_calls_are_read_over() -> None:
    text = WRITTEN["mistral"].replace("}]", ', "id": "abcdefghi"}]')
    assert plain(dialect_of("mistral").parse(text)) == plain([DELETE])
    assert codes("mistral", '[TOOL_CALLS] [{"name": "a", "arguments": []}]') == [ResultCode.BAD_ARGUMENTS]
    assert codes("mistral", '[TOOL_CALLS]{"name": "a", "arguments": {}}') == [ResultCode.MALFORMED]


def test_the_other_values_of_gemma_are_jsons() -> None:
    (call,) = dialect_of("gemma").parse("<|tool_call>call:f{a:1.5, b:true,c:null}<tool_call|><|tool_response>")
    assert (call.error, call.arguments) == (None, {"a": 1.5, "b": True, "c": None})
    for body in ("f{a}", "f{a:b}", 'f{a:<|"|>x<|"|>b:1}', "f", "{}", "f{a:1-2}"):
        assert codes("gemma", f"<|tool_call>call:{body}<tool_call|>") == [ResultCode.MALFORMED], body


def test_a_value_between_tags_is_taken_as_it_stands() -> None:
    value = " two\n\nlines, <b>bold</b>, {\"json\": [1]} and 'quotes' \n"
    call = ToolCall(name="memory_insert", arguments={"content": value})
    for name in ("qwen_xml", "glm"):
        assert plain(dialect_of(name).parse(dialect_of(name).format([call]))) == plain([call])
    ends = ToolCall(name="memory_insert", arguments={"content": "a</parameter>b</arg_value>c"})
    assert [codes(name, dialect_of(name).format([ends])) for name in ("qwen_xml", "glm")] == [[None], [None]]


@pytest.mark.parametrize(
    "body",
    ["f()", "f(a=1)", "f(a=True, b=None)", "f(a='x',)", 'f( a = "it\'s" )', "a.b(c='\\n')"],
)
def test_pythons_literals_are_read(body: str) -> None:
    assert codes("lfm2", f"<|tool_call_start|>[{body}]<|tool_call_end|>") == [None]


@pytest.mark.parametrize("body", ["f(a)", "f('a')", "f(a=b)", "f(a=[1])", "f(a='x' b='y')", "f(a='\\xZZ')", "f", ""])
def test_pythons_other_expressions_are_malformed(body: str) -> None:
    assert codes("lfm2", f"<|tool_call_start|>[{body}]<|tool_call_end|>") == [ResultCode.MALFORMED]


PIECES = st.sampled_from(
    [
        *WRITTEN.values(), "<tool_call>", "</tool_call>", "<function=f>", "<parameter=p>", "</parameter>",
        "</function>", "<arg_key>k</arg_key>", "<arg_value>", "</arg_value>", "[TOOL_CALLS]", '[{"name": "f", ',
        "<|tool_call_start|>", "[f(a='", "')]", "<|tool_call_end|>", '{"name": "f", "parameters": {', "}", "<think>",
        "</think>", "\ud800", "\\", "<|tool_call>", "call:f{a:", '<|"|>', "<tool_call|>",
    ]
)  # fmt: skip
ANY = st.lists(PIECES | st.text(max_size=8), max_size=12).map("".join)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "<tool_call>",
        "[TOOL_CALLS]",
        "<|tool_call_end|>",
        "<|python_tag|>",
        "<|tool_call>",
        "<think>",
        "a</think>",
        '"',
        "'",
        "\n",
        "\\u003c",
    ]
)
NAMES = st.from_regex(r"[a-z][a-z_]{0,8}", fullmatch=True)
CALLS = st.lists(st.builds(ToolCall, name=NAMES, arguments=st.dictionaries(NAMES, TEXT, max_size=3)), max_size=4)


@pytest.mark.long
@names
@settings(max_examples=100, deadline=None)
@given(text=ANY, truncated=st.booleans())
def test_any_text_is_read(name: str, text: str, truncated: bool) -> None:
    for call in all_calls(dialect_of(name), text, TOOLS, truncated=truncated):
        call.model_dump_json()
        assert len(call.raw) <= MAX_CALL_CHARS and (call.error is None or call.message)


@pytest.mark.long
@names
@settings(max_examples=100, deadline=None)
@given(calls=CALLS, truncated=st.booleans())
def test_what_is_formatted_is_parsed_back(name: str, calls: list[ToolCall], truncated: bool) -> None:
    found = all_calls(dialect_of(name), dialect_of(name).format(calls), TOOLS, truncated=truncated)
    assert plain(found) == plain(calls)


@pytest.mark.long
@names
def test_never_ending_text_is_read_in_linear_time(name: str) -> None:
    pieces = [
        "<tool_call>", "<tool_call><function=f><parameter=p>", "<parameter=p>", "<arg_key>a</arg_key><arg_value>",
        '<|tool_call>call:f{a:<|"|>', "<|tool_call>call:f{", "<|tool_call>",
        "<tool_call>f\n<arg_key>a</arg_key><arg_value>", "[TOOL_CALLS]", "[TOOL_CALLS] [{", "<|tool_call_start|>[f(a='",
        "<|tool_call_start|>[", '{"name": "f", "parameters": {', '{"name": "', "<think>", "</think>", "[f(a=", " ",
        WRITTEN[name],
    ]  # fmt: skip
    started = time.process_time()
    for piece in pieces:
        all_calls(dialect_of(name), piece * 10_000, TOOLS, truncated=True)
    assert time.process_time() - started < 60  # of a processor; quadratic, it would be hours


# What templates teach -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES)
def test_auto_takes_the_dialect_that_the_template_teaches(family: str) -> None:
    template, name, renders = FAMILIES[family]
    tokenizer = byte_tokenizer(template, bos="<s>", eos="</s>")
    prompter = open_prompter(tokenizer, "auto")
    assert prompter.dialect.name == name
    messages = [{"role": "system", "content": "Keep."}, {"role": "user", "content": "Ann keeps bees."}]
    text = tokenizer.decode(prompter.encode(messages, StoreMemory.tools))
    ours = prompter.dialect.describe(StoreMemory.tools)
    assert (ours in text) == (not renders)
    assert text.count('"name": "memory_insert"') == 1


@pytest.mark.parametrize("family", FAMILIES)
def test_another_dialect_than_the_templates_is_described_by_us(family: str) -> None:
    template, name, _ = FAMILIES[family]
    tokenizer = byte_tokenizer(template, bos="<s>", eos="</s>")
    messages = [{"role": "system", "content": "Keep."}, {"role": "user", "content": "Ann keeps bees."}]
    for dialect in DIALECTS.shipped:
        prompter = open_prompter(tokenizer, dialect)
        text = tokenizer.decode(prompter.encode(messages, StoreMemory.tools))
        described = prompter.dialect.describe(StoreMemory.tools) in text
        same = dialect == name or {dialect, name} == HERMES
        assert described == (not same or not FAMILIES[family][2]), dialect


def test_a_template_that_lists_tools_and_teaches_no_form_keeps_its_list() -> None:
    lists = CHATML.replace("{% for m", "{{ 'Tools: ' + tools | tojson if tools }}{% for m", 1)
    prompter = Prompter(byte_tokenizer(lists), HermesDialect())
    messages = [{"role": "system", "content": "Keep."}, {"role": "user", "content": "Ann keeps bees."}]
    assert "<tools>" not in prompter.tokenizer.decode(prompter.encode(messages, StoreMemory.tools))
    assert Prompter(byte_tokenizer(lists)).dialect.name == "hermes"


PUBLISHED: dict[str, tuple[str, str, str]] = {
    "qwen2_5": ("hermes", "", "<|im_end|>"),
    "qwen3": ("hermes", "", "<|im_end|>"),
    "qwen3_instruct_2507": ("hermes", "", "<|im_end|>"),
    "qwen3_vl": ("hermes", "", "<|im_end|>"),
    "qwen3_5_think": ("qwen_xml", "", "<|im_end|>"),
    "qwen3_6": ("qwen_xml", "", "<|im_end|>"),
    "nemotron_3_nano": ("qwen_xml", "", "<|im_end|>"),
    "llama3_1": ("llama_json", "", "<|eot_id|>"),
    "llama3_2": ("llama_json", "", "<|eot_id|>"),
    "glm4moe": ("glm", "", "<|user|>"),
    "lfm2_v2": ("lfm2", "", "<|im_end|>"),
    "lfm2_2_5": ("lfm2", "", "<|im_end|>"),
    "llama3": ("ours", "", "<|eot_id|>"),
    "gemma": ("ours", "folded", "<end_of_turn>"),
    "gemma3": ("ours", "", "<end_of_turn>"),
    "gemma4": ("gemma", "", "<turn|>"),
    "phi3": ("ours", "", "<|end|>"),
    "cohere": ("ours", "", "<|END_OF_TURN_TOKEN|>"),
    "deepseekv3": ("ours", "thinking", "<｜end▁of▁sentence｜>"),
    "deepseek_r1_distill": ("ours", "thinking", "<｜end▁of▁sentence｜>"),
    "gptoss": ("ours", "opening", "<|return|>"),
    "smolvlm": ("ours", "parts", "<end_of_utterance>"),
    "idefics3": ("ours", "parts", "<end_of_utterance>"),
    "llava_next": ("ours", "parts", "</s>"),
}
"""Templates as their publishers ship them, by TRL's names of its copies: the dialect that they teach, or `ours` where
memrl describes the tools; what is particular; the token that ends a turn. docs/models.md has the same table."""


@pytest.mark.parametrize("copy", PUBLISHED)
def test_published_templates_teach_and_take_what_is_written_of_them(copy: str) -> None:
    import trl

    path = Path(trl.__file__).parent / "chat_templates" / f"{copy}.jinja"
    if not path.is_file():
        pytest.skip(f"this version of TRL has no copy of {copy}")
    dialect, particular, end = PUBLISHED[copy]
    eos = "<|endoftext|>" if end != "</s>" else end
    tokenizer = byte_tokenizer(path.read_text(encoding="utf-8"), bos="<s>", eos=eos, special=(end,))
    prompter = open_prompter(tokenizer, "auto")
    messages = [{"role": "system", "content": "Keep."}, {"role": "user", "content": "Ann has bees."}]
    text = tokenizer.decode(prompter.encode(messages, StoreMemory.tools))
    assert text.count("Keep.") == text.count("Ann has bees.") == 1 and text.count("memory_insert") >= 1
    assert tokenizer.convert_ids_to_tokens(prompter.end_id) == end
    found = {name for name in ("folded", "parts", "thinking", "opening") if getattr(prompter.form, name)}
    assert found == set(filter(None, [particular]))
    if dialect == "ours":
        assert prompter.dialect.name == "hermes" and prompter.dialect.describe(StoreMemory.tools) in text
        return
    assert prompter.dialect.name == dialect and prompter.dialect.describe(StoreMemory.tools) not in text
    assert plain(prompter.dialect.parse(prompter.form.call)) == [(PROBE_TOOL.name, PROBE_ARGUMENTS, None)]
    own = prompter.dialect.format([ToolCall(name=PROBE_TOOL.name, arguments=PROBE_ARGUMENTS)])
    assert own in prompter.form.call  # an example looks as it does there


def test_the_table_of_the_docs_is_the_one_that_is_tested() -> None:
    page = (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    lines = page.partition("| family |")[2].splitlines()
    for copy, (dialect, _, end) in PUBLISHED.items():
        (written,) = [line for line in lines if line.split(" | ")[1:2] == [f"`{copy}`"]]
        assert ("memrl's description" if dialect == "ours" else f"| `{dialect}` |") in written, copy
        assert "`" + end.replace("|", "\\|") + "` |" in written, copy
