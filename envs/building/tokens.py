"""The length of a text without a tokenizer at hand, estimated as a byte-pair tokenizer of 50,000 entries would have it.

Chunks are cut by it, so that the same files give the same streams whatever model will read them.
"""

from __future__ import annotations

import re

from memrl.envs.text import UNSPACED_RANGES

_PIECES = re.compile(r"[^\W\d_]+|\d|[^\w\s]+|_+|\n+")
_ANY_PIECES = re.compile(rf"[{UNSPACED_RANGES}]|(?:(?![{UNSPACED_RANGES}])[^\W\d_])+|\d|[^\w\s]+|_+|\n+")
"""A character of a script without blanks between words is a piece of its own."""
_LETTERS = 9


def count_tokens(text: str) -> int:
    """Estimated tokens of a text: a word is one for each started 9 letters, a digit one, a run of signs one, a
    character of a script without blanks between words one."""
    pieces = (_PIECES if text.isascii() else _ANY_PIECES).findall(text)
    return sum(-(-len(piece) // _LETTERS) if piece[0].isalpha() else 1 for piece in pieces)
