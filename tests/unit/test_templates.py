"""The prompter and the chat templates of different families: everything arrives, once, or it is said why not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from memrl.cli import main as cli
from memrl.config import ModelConfig, load_config
from memrl.config.shipped import TINY_MODEL
from memrl.engines.models import load_tokenizer
from memrl.engines.probe import turn_end
from memrl.engines.prompting import Prompter, open_prompter
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.dialects.thoughts import said
from memrl.envs.tools import ToolCall
from memrl.errors import ConfigError
from memrl.policies.agent_file import describe
from tests.templates import ASKS, CHATML, END, NO_SYSTEM, PARTS, START, TURN, byte_tokenizer

CHUNK = "Ann lives in Oslo and keeps 42 bees."
MESSAGES = [
    {"role": "system", "content": "You keep a memory."},
    {"role": "user", "content": f"# Memory (0% full, 0 hidden)\n# Text\n{CHUNK}"},
]
TOOLS = StoreMemory.tools
DROPS_SYSTEM = "{% for m in messages %}{% if m.role != 'system' %}" + TURN + "{% endif %}{% endfor %}" + ASKS
LISTS = "{% if tools %}<tools>{% for t in tools %}{{ t | tojson }}{% endfor %}</tools>\n{% endif %}"
# Takes tools, and loses the system message where it has some.
LOSES = "{% if tools %}" + LISTS + DROPS_SYSTEM + "{% else %}" + CHATML + "{% endif %}"


def prompt(template: str, messages: list[dict[str, str]] = MESSAGES, **how: Any) -> str:
    prompter = Prompter(byte_tokenizer(template, **how), HermesDialect())
    return str(prompter.tokenizer.decode(prompter.encode(messages, TOOLS)))


@pytest.mark.parametrize(
    "template",
    [
        CHATML,
        LISTS + CHATML,
        LOSES,
        PARTS,
        NO_SYSTEM + TURN + "{% endfor %}" + ASKS,
        DROPS_SYSTEM,
        PARTS.replace("{% for m in messages %}", NO_SYSTEM),
    ],
    ids=["chatml", "lists tools", "loses system beside tools", "parts", "refuses system", "drops system", "both"],
)
def test_instruction_tools_memory_and_text_reach_the_prompt_once(template: str) -> None:
    text = prompt(template)
    for wanted in ("You keep a memory.", "# Memory (0% full, 0 hidden)", CHUNK, '"name": "memory_insert"'):
        assert text.count(wanted) == 1, wanted
    assert text.index("You keep a memory.") < text.index(CHUNK)
    assert text.endswith(f"{START}assistant\n")


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (CHATML.replace("{{ m.content }}", ""), "leaves out.*the instruction, the memory, the text that is read"),
        (CHATML.replace("{{ m.content }}", "{{ m.content[:9] }}"), "leaves out.*the memory, the text that is read"),
        (CHATML.replace("{{ m.content }}", "{{ m.content }}{{ m.content }}"), "more than once"),
        ("{{ raise_exception('not today') }}", "refuses a conversation of system, user: not today"),
        ("{{ messages + 1 }}", "refuses a conversation of system, user"),
        (CHATML + "{{ range(10 ** 5) | random }}", "another prompt each time"),
        ("{% for m in messages %}{% if m.role != 'assistant' %}" + TURN + "{% endif %}{% endfor %}", "add_generation"),
    ],
)
def test_a_template_by_which_something_is_lost_is_refused_in_words(template: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        prompt(template)


def test_a_date_in_a_template_is_the_same_on_every_day() -> None:
    clock = "{%- set today = strftime_now('%d %b %Y, %H:%M:%S.%f') %}{{ 'Today: ' + today }}\n"
    assert prompt(clock + CHATML).startswith("Today: 26 Jul 2024, 00:00:00.000000\n" + START)
    given = "{% if not date_string is defined %}{% set date_string = strftime_now('%Y-%m-%d') %}{% endif %}"
    assert prompt("\n{{ bos_token }}" + given + "{{ date_string }}" + CHATML, bos="<s>").startswith("\n<s>2024-07-26")


def test_a_missing_generation_prompt_is_read_off_a_turn_of_the_assistant() -> None:
    assert prompt("{% for m in messages %}" + TURN + "{% endfor %}").endswith(f"{CHUNK}{END}\n{START}assistant\n")


def test_a_template_whose_users_turn_asks_is_left_as_it_is() -> None:
    marks = ("[INST]", "[/INST]")
    turns = "{% if m.role == 'assistant' %} {{ m.content }}</s>{% else %}[INST] {{ m.content }} [/INST]{% endif %}"
    template = "{{ bos_token }}{% for m in messages %}" + turns + "{% endfor %}"
    assert prompt(template, bos="<s>", eos="</s>", special=marks).endswith(f"{CHUNK} [/INST]")


def test_what_a_template_writes_before_the_words_of_its_assistant_is_written_too() -> None:
    channels = "{% if m.role == 'assistant' %}<|final|>{% endif %}{{ m.content }}"
    text = prompt(CHATML.replace("{{ m.content }}", channels), special=("<|final|>",))
    assert text.endswith(f"{START}assistant\n<|final|>")


def test_an_earlier_turn_that_a_template_loses_is_refused_where_there_is_one() -> None:
    template = "{% for m in messages[:1] + messages[-1:] %}" + TURN + "{% endfor %}" + ASKS
    assert prompt(template).count(CHUNK) == 1
    earlier = [MESSAGES[0], {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, MESSAGES[1]]
    with pytest.raises(ConfigError, match=r"earlier turns of the assistant.*rollout.example=false"):
        prompt(template, earlier)


def test_a_thought_that_the_prompt_opens_is_no_speech_even_where_it_never_ends() -> None:
    opens = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
    prompter = Prompter(byte_tokenizer(opens), HermesDialect())
    written = prompter.tokenizer.encode("Is it Oslo? I keep", add_special_tokens=False)
    assert said(prompter.decode(written)) == ""
    ended = prompter.tokenizer.encode("Is it Oslo?</think>\n\nOslo" + END, add_special_tokens=False)
    assert said(prompter.decode(ended)) == "Oslo"
    closes = opens.replace("<think>\n", "<think>\n\n</think>\n\n")
    assert said(Prompter(byte_tokenizer(closes), HermesDialect()).decode(written)) == "Is it Oslo? I keep"


@pytest.mark.parametrize(
    ("template", "end"),
    [
        (CHATML, END),  # a base model's: eos is another
        (CHATML.replace("<|im_end|>\n", "<|user|>").replace("<|im_start|>{{ m.role }}\n", ""), "<|user|>"),
        # Nothing ends a turn but the beginning of the next one.
        ("{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{% endfor %}<|assistant|>\n", "<|user|>"),
        ("{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}assistant:", "<|endoftext|>"),
    ],
)
def test_how_a_turn_ends_is_read_off_the_template(template: str, end: str) -> None:
    marks = (END, "<|user|>", "<|assistant|>")
    tokenizer = byte_tokenizer(template, eos="<|endoftext|>", special=marks)
    assert Prompter(tokenizer, HermesDialect()).end_id == tokenizer.convert_tokens_to_ids(end)


def test_a_token_that_is_not_special_can_end_a_turn() -> None:
    tokenizer = byte_tokenizer(CHATML, eos="<|endoftext|>", plain=(END, "\n\n"))
    assert turn_end(tokenizer) == tokenizer.convert_tokens_to_ids(END)


def test_a_special_token_that_no_list_names_cannot_be_spelt() -> None:
    tokenizer = byte_tokenizer(CHATML, special=("<|head|>", "[INST]", "§"))
    assert "[INST]" not in tokenizer.all_special_tokens
    prompter = Prompter(tokenizer, HermesDialect())
    ids = prompter.encode([*MESSAGES[:1], {"role": "user", "content": f"a<|head|>b[INST]c{END}§1"}], TOOLS)
    assert not {tokenizer.convert_tokens_to_ids(mark) for mark in ("<|head|>", "[INST]", "§")} & set(ids)
    assert "a< |head|>b[ INST]c< |im_end|> 1" in tokenizer.decode(ids)


def test_tags_of_calls_that_are_special_tokens_survive_both_ways() -> None:
    dialect = HermesDialect()
    tokenizer = byte_tokenizer(CHATML, special=("<tool_call>", "</tool_call>", "<pad>"))
    tokenizer.pad_token = "<pad>"
    prompter = Prompter(tokenizer, dialect)
    text = dialect.format([ToolCall(name="memory_delete", arguments={"memory_id": "sem_0001"})])
    ids = tokenizer.encode(f"<pad>{text}{END}<pad>", add_special_tokens=False)
    assert prompter.decode(ids) == text
    shown = [MESSAGES[0], {"role": "user", "content": text}, {"role": "assistant", "content": text}, MESSAGES[1]]
    # As the example shows it: whole; in a text that is read: broken.
    assert prompter.encode(shown).count(tokenizer.convert_tokens_to_ids("<tool_call>")) == 1


def test_the_prompts_of_the_embedded_model_are_what_they_were() -> None:
    tokenizer = load_tokenizer(ModelConfig(path="tiny"))
    options = {"add_generation_prompt": True, "tokenize": True, "return_dict": False, "enable_thinking": False}
    schemas = [tool.json_schema() for tool in TOOLS]
    prompter = Prompter(tokenizer, HermesDialect())
    assert prompter.encode(MESSAGES, TOOLS) == tokenizer.apply_chat_template(MESSAGES, tools=schemas, **options)
    assert prompter.encode(MESSAGES) == tokenizer.apply_chat_template(MESSAGES, **options)
    assert TINY_MODEL.is_dir() and Prompter(tokenizer).dialect.name == "hermes"


def broken_model(folder: Path) -> Path:
    """The embedded model with a template that loses what it is told."""
    shutil.copytree(TINY_MODEL, folder)
    (folder / "chat_template.jinja").write_text(CHATML.replace("{{ m.content }}", "..."))
    return folder


def test_doctor_and_dry_run_say_what_a_template_loses(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = broken_model(tmp_path / "model")
    assert cli.main(["doctor", "tiny", f"model.path={model}"]) != cli.OK
    assert "leaves out" in " ".join(capsys.readouterr().out.split())
    words = ["train", "tiny", "--dry-run", f"model.path={model}", f"run.dir={tmp_path / 'run'}"]
    assert cli.main(words) == cli.USAGE
    assert "leaves out" in " ".join(capsys.readouterr().err.split())


def test_auto_is_a_setting_and_an_export_names_the_dialect_that_it_found() -> None:
    config = load_config("tiny", ["rollout.dialect=auto"])
    prompter = open_prompter(load_tokenizer(config.model), config.rollout.dialect)
    assert describe(config, "v1", "adapter", prompter, 10)["dialect"] == "hermes"
    assert prompter.told()["turn ends by"] == END
    with pytest.raises(ConfigError, match=r"rollout\.dialect is 'autos'"):
        load_config("tiny", ["rollout.dialect=autos"])
