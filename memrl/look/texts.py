"""Texts of others, made fit to be shown: cut where they are too long, and without signs that a terminal would obey."""

from __future__ import annotations

import unicodedata

LONGEST = 20_000
"""Characters of one text in a report."""
_SHOWN = {"\n", "\t"}


def cut(text: str, most: int = LONGEST) -> str:
    """Return a text, or its beginning and how much is left out."""
    if len(text) <= most:
        return text
    return f"{text[:most]} [... {len(text) - most:,} more characters]"


def visible(text: str) -> str:
    """Return a text with every sign that moves the cursor, colours, or turns the direction of writing spelled out, as
    `\\x1b` or `\\u202e`: what is then printed is what is seen. Line ends and tabs stay."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(sign if sign in _SHOWN or not _hidden(sign) else _spelled(sign) for sign in text)


def line(text: str, most: int = 200) -> str:
    """Return a text on one line, visible, cut."""
    return cut(visible(" ".join(text.split())), most)


def _hidden(sign: str) -> bool:
    """Return whether a sign is a control, a format, a surrogate or a line separator; joiners of scripts and emoji are
    none."""
    return unicodedata.category(sign) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and sign not in "\u200c\u200d"


def _spelled(sign: str) -> str:
    code = ord(sign)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
