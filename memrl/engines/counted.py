"""Tokens of texts, remembered within bounds of bytes.

Invariant: what is remembered holds SHORT[0] * SHORT[1] + LONG[0] * LONG[1] characters at most, whatever is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

SHORT = (16_384, 512)
"""Texts that are remembered, and characters of each: items of a memory."""
LONG = (512, 16_384)
"""As SHORT: chunks. A text that is longer still is counted each time."""


class Counted:
    """A counter of tokens that knows what it has counted lately.

    Args:
        count: counts a text's tokens; the same for the same text.
    """

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._short = lru_cache(SHORT[0])(count)
        self._long = lru_cache(LONG[0])(count)

    def __call__(self, text: str) -> int:
        if len(text) <= SHORT[1]:
            return self._short(text)
        return self._long(text) if len(text) <= LONG[1] else self._count(text)
