"""Completions held to a grammar: the ids that may follow, asked of llguidance.

What is sampled is drawn from the model's distribution over these ids alone, and that is the distribution whose
log-probs the engine gives and the learner learns under. Both work the ids out from the grammar and the completion, so
no sample carries them. The canary's `score` asks for the model's own distribution, as without a guide.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from memrl.errors import ConfigError
from memrl.packages import extra_of

_TEXT = re.compile(r'"(?:[^"\\]|\\.)+"')
Bits = NDArray[np.int32]
"""(N, W): for each of N places the ids that may follow, 32 in a word."""


class Guide:
    """A grammar over the tokens of one tokenizer.

    Args:
        tokenizer: a fast transformers tokenizer.
        grammar: in Lark's form, as llguidance reads it.

    Raises:
        ConfigError: llguidance is not installed, or cannot read the tokenizer or the grammar.
    """

    def __init__(self, tokenizer: Any, grammar: str) -> None:
        try:
            from llguidance import LLMatcher
        except ModuleNotFoundError as error:
            raise ConfigError(f"rollout.guided=json: {extra_of(error) or error}") from error
        self.grammar = with_marks(grammar, tokenizer)
        vocabulary = _vocabulary(tokenizer)
        self._words = (vocabulary.vocab_size + 31) // 32
        self._first = LLMatcher(vocabulary, self.grammar)
        if problem := self._first.get_error():
            raise ConfigError(
                f"rollout.guided=json: the grammar of the calls cannot be used: {problem.splitlines()[0]}"
            )

    def begin(self) -> Course:
        """Return the course of a completion of which nothing is written yet."""
        return Course(self._first.deep_copy(), self._words)

    def along(self, completion: Sequence[int]) -> Bits:
        """Return what might have stood at each place of a completion. What stands there is always among it: the
        log-prob of an id that the grammar forbids is a number too, far from what it was sampled with."""
        course = self.begin()
        bits = np.empty((len(completion), self._words), dtype=np.int32)
        for place, token in enumerate(completion):
            bits[place] = course.next()
            if token < 32 * self._words:
                bits[place, token // 32] |= np.int32(np.uint32(1 << (token % 32)).view(np.int32))
            course.advance(token)
        return bits


class Course:
    """The way of one completion through a grammar."""

    def __init__(self, matcher: Any, words: int) -> None:
        self._matcher = matcher
        self._words = words

    def next(self) -> NDArray[np.int32]:
        """Return the ids that may follow, (W,): where none may, the one that ends a turn."""
        bits = np.empty(self._words, dtype=np.int32)
        self._matcher.unsafe_compute_mask_ptr(bits.ctypes.data, bits.nbytes)
        return bits

    def advance(self, token: int) -> None:
        """Take the next id of the completion."""
        if not self._matcher.is_stopped():
            self._matcher.consume_token(token)


def _vocabulary(tokenizer: Any) -> Any:
    """Return the tokens as llguidance takes them: in the middle of a completion no text gets the blank that some
    tokenizers put before its beginning."""
    from llguidance import LLTokenizer

    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ConfigError(
            f"rollout.guided=json: the tokenizer of {tokenizer.name_or_path!r} is no fast one. Use rollout.guided=off."
        )
    described = json.loads(backend.to_str())
    described |= {"padding": None, "truncation": None}
    before = described.get("pre_tokenizer") or {}
    for part in (before, *before.get("pretokenizers", ())):
        if part.get("type") == "ByteLevel":
            part["add_prefix_space"] = False
    try:
        return LLTokenizer(json.dumps(described), eos_token=tokenizer.eos_token_id)
    except ValueError as error:
        raise ConfigError(
            f"rollout.guided=json: the tokenizer of {tokenizer.name_or_path!r} cannot be guided ({error}). Use "
            "rollout.guided=off."
        ) from error


def with_marks(grammar: str, tokenizer: Any) -> str:
    """Return a grammar in which the special tokens that its texts spell are these tokens: `[TOOL_CALLS]` is one id of
    Mistral's, and as letters something that its models never write."""
    marks = {token.content: number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    if not marks:
        return grammar
    spelt = re.compile("(" + "|".join(map(re.escape, sorted(marks, key=len, reverse=True))) + ")")

    def parted(text: re.Match[str]) -> str:
        parts = [part for part in spelt.split(json.loads(text[0])) if part]
        return " ".join(f"<[{marks[part]}]>" if part in marks else json.dumps(part) for part in parts)

    lines = grammar.splitlines(keepends=True)
    return "".join(line if "%json" in line else _TEXT.sub(parted, line) for line in lines)


def held_to(logits_NV: Tensor, bits_NW: Tensor) -> Tensor:
    """Return logits with -inf for every id that may not follow."""
    places = torch.arange(32, dtype=torch.int32, device=bits_NW.device)
    allowed_NV = ((bits_NW.unsqueeze(-1) >> places) & 1).bool().flatten(1)[:, : logits_NV.shape[1]]
    if (beyond := logits_NV.shape[1] - allowed_NV.shape[1]) > 0:  # rows that pad the vocabulary
        allowed_NV = torch.nn.functional.pad(allowed_NV, (0, beyond))
    return logits_NV.masked_fill(~allowed_NV, float("-inf"))
