"""Chat templates that behave as families of models do, written for the tests, and a small tokenizer to put them in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

START, END = "<|im_start|>", "<|im_end|>"


def byte_tokenizer(
    template: str,
    *,
    eos: str = END,
    bos: str | None = None,
    special: Sequence[str] = (),
    plain: Sequence[str] = (),
) -> Any:
    """A tokenizer of bytes.

    Args:
        special: added tokens that are special and stand in no list of the tokenizer's config.
        plain: added tokens that are not special.
    """
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    backend = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    marks = dict.fromkeys([eos, START, *special, *([bos] if bos else [])])
    backend.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in marks])
    backend.add_tokens([AddedToken(mark, special=False, normalized=False) for mark in plain])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend, eos_token=eos, bos_token=bos, additional_special_tokens=[START]
    )
    tokenizer.chat_template = template
    return tokenizer


ASKS = "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
TURN = "<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n"
CHATML = "{% for m in messages %}" + TURN + "{% endfor %}" + ASKS
NO_SYSTEM = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
PARTS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}{{ part.text }}{% endfor %}"
    "<|im_end|>\n{% endfor %}" + ASKS
)
HEADERS = "{{ bos_token }}{% for m in messages %}<|head|>{{ m.role }}<|tail|>\n\n"

TURNS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}"
    "{% for c in m.tool_calls or [] %}CALL{% endfor %}<|im_end|>\n{% endfor %}" + ASKS
)
LISTED = "{{ 'Tools: ' + tools | tojson + '\n' if tools }}"
_NAME, _ARGUMENTS = "{{ c.function.name }}", "{{ c.function.arguments | tojson }}"
_PAIRS = "{% for k, v in c.function.arguments.items() %}"
_CALLS = {
    "hermes": '<tool_call>\n{"name": "NAME", "arguments": ARGUMENTS}\n</tool_call>',
    "llama_json": '{"name": "NAME", "parameters": ARGUMENTS}',
    "mistral": '[TOOL_CALLS] [{"name": "NAME", "arguments": ARGUMENTS, "id": "{{ c.id }}"}]',
    "qwen_xml": "<tool_call>\n<function=NAME>\n" + _PAIRS + "<parameter={{ k }}>\n{{ v }}\n</parameter>\n{% endfor %}"
    "</function>\n</tool_call>",
    "glm": "<tool_call>NAME\n" + _PAIRS + "<arg_key>{{ k }}</arg_key>\n<arg_value>{{ v }}</arg_value>\n{% endfor %}"
    "</tool_call>",
    "gemma": "<|tool_call>call:NAME{{ '{' }}"
    + _PAIRS
    + "{{ k }}:<|\"|>{{ v }}<|\"|>{{ ',' if not loop.last }}{% endfor %}}"
    "<tool_call|>",
    "lfm2": "<|tool_call_start|>[NAME(" + _PAIRS + "{{ k }}='{{ v }}'{{ ', ' if not loop.last }}{% endfor %})]"
    "<|tool_call_end|>",
    "one that is not known": "<call>NAME ARGUMENTS</call>",
}


def _writing(call: str) -> str:
    return LISTED + TURNS.replace("CALL", call.replace("NAME", _NAME).replace("ARGUMENTS", _ARGUMENTS))


FAMILIES: dict[str, tuple[str, str, bool]] = {
    **{f"writes {name}": (_writing(call), name, True) for name, call in _CALLS.items() if " " not in name},
    "writes another form": (_writing(_CALLS["one that is not known"]), "hermes", False),
    "draws llama_json": (
        '{{ \'Answer with {"name": function name, "parameters": its arguments}.\n\' if tools }}' + LISTED + CHATML,
        "llama_json",
        True,
    ),
    "draws another form": ("{{ 'Write [f(a=1)].\n' if tools }}" + LISTED + CHATML, "hermes", False),
    "knows no tools": (CHATML, "hermes", False),
}
"""Templates by what they do with calls; the dialect that is taken for them, and whether they write the tools then."""
