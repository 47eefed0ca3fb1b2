"""The length of a text without a tokenizer at hand, estimated as the byte-pair tokenizers of today's models have it.

Chunks are cut by it, so that the same files give the same streams whatever model will read them.
"""

from __future__ import annotations

import re

from memrl.envs.text import UNSPACED_RANGES

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+|\n+")
_SINGLE = rf"[{UNSPACED_RANGES}\u0900-\u0dff\uac00-\ud7a3]"
"""A character that is a piece of its own: of scripts without blanks between words, of India's, and of Korean."""
_ANY_PIECES = re.compile(rf"{_SINGLE}|(?:(?!{_SINGLE})[^\W\d_])+|\d|[^\w\s]+|_+|\n+")
_LETTERS = 9
_OTHER_LETTERS = 3
"""Letters a token, where they are none of Latin: Qwen's tokenizer has 2.7 in Russian and in Arabic."""
_LAST_LATIN = "\u024f"


def count_tokens(text: str) -> int:
    """Estimated tokens of a text: a word is one for each started 9 letters (3 where they are not Latin), a digit one, a
    run of signs one, a character of Korean, of India's scripts and of those without blanks between words one."""
    if text.isascii():
        return sum(-(-len(piece) // _LETTERS) if piece[0].isalpha() else 1 for piece in _PIECES.findall(text))
    return sum(-(-len(piece) // _letters(piece[0])) if piece[0].isalpha() else 1 for piece in _ANY_PIECES.findall(text))


def _letters(first: str) -> int:
    return _LETTERS if first <= _LAST_LATIN else _OTHER_LETTERS
