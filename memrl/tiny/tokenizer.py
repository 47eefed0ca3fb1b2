"""The embedded model's tokenizer: a real BPE with a real chat template, made so that prompts stay short.

Every word of the synthetic source is one token wherever it stands, and the fixed text around it (instructions,
headings, the JSON of a tool call) is one token a piece: on two cores the cost of everything is tokens.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from memrl.envs import memory_env
from memrl.envs.building import lives
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.tools import ToolCall
from memrl.frozen import reader

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
IDS = 40
"""Item ids of each store that are one token; later ones are spelt."""


def fixed_text(dialect: HermesDialect | None = None, ids: int = IDS) -> list[str]:
    """Text that stands the same in many prompts or in calls as `dialect` writes them, and so many ids of each store."""
    mark = "\0"
    dialect = dialect or HermesDialect()
    texts = [
        dialect.format([ToolCall(name=name, arguments=arguments)])
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
    return list(dict.fromkeys([*pieces, *prompts, *headings, "user\n", "assistant\n", "\n", *item_ids(ids)]))


def item_ids(count: int) -> list[str]:
    """Return the first ids of items, so many of each store."""
    return [f"{prefix}_{number:04d}" for prefix in ("sem", "epi") for number in range(1, count + 1)]


def words() -> list[str]:
    """Every word that the synthetic source can write, and the numbers in headings."""
    lists = (
        lives.NAMES, lives.CITIES, lives.JOBS, lives.PETS, lives.FOODS, lives.MUSIC, lives.TONGUES,
        lives.PLACES, lives.THINGS, lives.QUALITIES, lives.HAPPENINGS, lives.MOODS, lives.PHRASES, lives.MONTHS,
    )  # fmt: skip
    templates = [relation.told for relation in (*lives.FACTS, *lives.EVENTS)]
    templates += [text for relation in (*lives.FACTS, *lives.EVENTS) for text in (relation.ask, relation.who) if text]
    templates += [relation.changed for relation in lives.FACTS if relation.changed] + list(lives.CHATTER)
    text = " ".join([*itertools.chain.from_iterable(lists), *templates, reader.UNKNOWN])
    for brace in (
        "{n}",
        "{v}",
        "{thing}",
        "{place}",
        "{quality}",
        "{happening}",
        "{mood}",
        "{when}",
        "{food}",
        "{city}",
    ):
        text = text.replace(brace, " ")
    plain = text.replace(".", " ").replace("?", " ").split()
    return list(dict.fromkeys([*plain, *(str(number) for number in range(101))]))


def build_tokenizer(out: Path) -> PreTrainedTokenizerFast:
    """Train the BPE and save it to `out` as an ordinary tokenizer folder."""
    return train_tokenizer(out, words(), fixed_text())


def train_tokenizer(out: Path, spoken: Sequence[str], fixed: Sequence[str]) -> PreTrainedTokenizerFast:
    """Train a BPE in which the words of `spoken` and the pieces of `fixed` are one token each, and save it to `out`."""
    tokenizer = Tokenizer(models.BPE())
    # The prefix space makes a word the same token at the start of a line, inside a call and in mid-sentence.
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096, min_frequency=2, special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False,
    )  # fmt: skip
    tokenizer.train_from_iterator([f" {word}" for word in spoken for _ in range(2)], trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False, special=False) for text in fixed])
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, additional_special_tokens=[START],
        clean_up_tokenization_spaces=False, model_max_length=2048,
    )  # fmt: skip
    wrapped.chat_template = CHAT_TEMPLATE
    wrapped.save_pretrained(out)
    return wrapped
