"""Chat templates that behave as families of models do, and a small tokenizer to put them in. Written for these tests."""

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
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{% for part in m.content %}{{ part.text }}{% endfor %}<|im_end|>\n"
    "{% endfor %}" + ASKS
)
HEADERS = "{{ bos_token }}{% for m in messages %}<|head|>{{ m.role }}<|tail|>\n\n"
