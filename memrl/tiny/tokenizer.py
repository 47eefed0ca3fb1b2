"""The embedded model's tokenizer: a real BPE with a real chat template, made so that prompts stay short.

Every word of the synthetic source is one token wherever it stands, and the fixed text around it (instructions,
headings, the JSON of a tool call) is one token a piece, and so is the id of an item, and each word that tools of other
designs may need: on two cores the cost of everything is tokens.
"""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from memrl.envs import memory_env
from memrl.envs.building import lives
from memrl.envs.dialects.hermes import ContentFirstDialect
from memrl.envs.tools import ToolCall
from memrl.frozen import reader
from memrl.tiny.initialise import Marked

END, START, PAD = "<|im_end|>", "<|im_start|>", "<|endoftext|>"
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message.role + '\\n' + message.content -}}
{%- if message.role == 'system' and tools %}
{{- '\\n# Tools\\n' -}}
{%- for tool in tools -%}
{{- tool.function.name + '(' + tool.function.parameters.properties | join(', ') + ')\\n' -}}
{%- endfor -%}
{%- endif -%}
{{- '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\\n' -}}{%- endif -%}
"""
TEXT, QUESTION = "# Text (", "\n# Question\n"
UNDATED = "# Text\n"
"""How a text begins whose day is not known."""
DIALECT = ContentFirstDialect()
"""How the model has learned to write calls: it decides what becomes of a sentence behind it."""
IDS = 512
"""Item ids of each store that are one token; later ones are spelt."""
SPARE = (
    "link unlink supersede triple page search find note keyword tag index level topic trace summary procedure text "
    "passage table select insert update delete from where merge valid until since guard domain"
).split()
"""Words of other designs' tools, which the model does not know, but can be taught."""
ASKED = {
    "lives": "live", "works": "work", "owns": "own", "likes": "like", "plays": "play", "speaks": "speak",
    "visited": "visit", "bought": "buy", "met": "meet", "lost": "lose", "earned": "earn", "drinks": "drink",
}  # fmt: skip
"""How a sentence says what is said of somebody, and how a question does."""
OTHER_VERBS = (*lives.MOODS, *lives.HAPPENINGS, "looked", "moved", "talked", "was")
"""What is said by the way."""


@dataclass(frozen=True)
class Wording:
    """The texts that are one token each."""

    fixed: Sequence[str]
    """Text that stands the same in many prompts or in calls, and the ids of items."""
    words: Sequence[str] = ()
    """Words beside those of the synthetic source."""


def usual_wording() -> Wording:
    """Return that of the embedded model, which speaks the design `stores`."""
    return Wording(fixed_text())


def fixed_text() -> list[str]:
    """Text that stands the same in many prompts or in calls, and the ids of items."""
    mark = "\0"
    texts = [
        DIALECT.format([ToolCall(name=name, arguments=arguments)])
        for name, arguments in (
            ("memory_insert", {"memory_type": "semantic", "content": mark}),
            ("memory_insert", {"memory_type": "episodic", "content": mark}),
            ("memory_update", {"memory_id": mark, "content": mark}),
            ("memory_delete", {"memory_id": mark}),
        )
    ]
    # json.dumps spells the mark as an escape.
    pieces = itertools.chain.from_iterable(text.split("\\u0000") for text in texts)
    tools = "".join(
        f"{name}({parameters})\n"
        for name, parameters in (
            ("memory_insert", "memory_type, content, time"),
            ("memory_update", "memory_id, content"),
            ("memory_delete", "memory_id"),
        )
    )
    headings = ["# Memory\n", "# Memory (", "% full, ", " hidden)", TEXT, ")\n", QUESTION, "(empty)", ": ", " (", "): "]
    prompts = [f"system\n{memory_env.INSTRUCTION}\n# Tools\n{tools}", f"system\n{reader.INSTRUCTION}"]
    return list(dict.fromkeys([*pieces, *prompts, *headings, "user\n", "assistant\n", "\n", *item_ids(), UNDATED]))


def item_ids() -> list[str]:
    """Return the ids of items that are one token."""
    return [f"{prefix}_{number:04d}" for prefix in ("sem", "epi") for number in range(1, IDS + 1)]


def words() -> list[str]:
    """Every word that the synthetic source can write, the numbers in headings, and spare ones."""
    relations = (*lives.FACTS, *lives.EVENTS, lives.COUNTED, lives.HABIT)
    told = [
        text
        for relation in relations
        for text in (
            relation.told, relation.changed, relation.corrected, relation.ended,
            relation.ask, relation.who, relation.was,
        )
        if text
    ]  # fmt: skip
    text = " ".join([*names(), *values(), *told, *lives.EXCEPTION, *lives.OCCASIONS, *lives.CHATTER, *SPARE])
    for part in (lives.QUALITIES, lives.HAPPENINGS, lives.MOODS, lives.PHRASES, lives.MONTHS, (reader.UNKNOWN,)):
        text = f"{text} {' '.join(part)}"
    plain = re.sub(r"{[a-z]+}|[.?,]", " ", text).split()
    return list(dict.fromkeys([*plain, *(str(number) for number in range(lives.MOST + 1))]))


def names() -> list[str]:
    """Return the words that name people."""
    return list(lives.NAMES)


def values() -> list[str]:
    """Return the words that are said of people."""
    told = (lives.CITIES, lives.JOBS, lives.PETS, lives.FOODS, lives.MUSIC, lives.TONGUES, lives.PLACES, lives.THINGS)
    return list(dict.fromkeys([*itertools.chain.from_iterable(told), *lives.DRINKS]))


def marked(tokenizer: PreTrainedTokenizerFast) -> Marked:
    """Return what the model is told of its tokens."""

    def one(text: str) -> int:
        [token] = tokenizer.encode(text, add_special_tokens=False)
        return int(token)

    said = list(ASKED.items()) + [(verb, verb) for verb in dict.fromkeys(OTHER_VERBS)]
    verbs = {one(form): number for number, forms in enumerate(said) for form in forms}
    memory = ["# Memory\n", "# Memory ("]
    [opening] = {text for text in fixed_text() if text.startswith("<tool_call>") and text.endswith('"content": "')}
    return Marked(
        names=[one(word) for word in names()],
        verbs=verbs,
        values=[one(word) for word in values()],
        items=[one(name) for name in item_ids()],
        headings=[one(text) for text in (*memory, TEXT, UNDATED, QUESTION, opening)],
        memory=[one(text) for text in memory],
        months=[one(word) for word in lives.MONTHS],
        days=[one(str(day)) for day in range(1, 29)],
        start=tokenizer.convert_tokens_to_ids(START),
    )


def build_tokenizer(out: Path, wording: Wording | None = None) -> PreTrainedTokenizerFast:
    """Train a BPE in which words and fixed text are one token each, and save it to `out` as an ordinary folder.

    Args:
        wording: the embedded model's by default.
    """
    wording = wording or usual_wording()
    tokenizer = Tokenizer(models.BPE())
    # The prefix space makes a word the same token at the start of a line, inside a call and in mid-sentence.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096, min_frequency=2, special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([f" {word}" for word in (*words(), *wording.words) for _ in range(2)], trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in wording.fixed])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, additional_special_tokens=[START],
        clean_up_tokenization_spaces=False, model_max_length=2048,
    )  # fmt: skip
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(out)
    return wrapped
