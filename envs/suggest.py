"""The nearest right word to a wrong one, for error messages."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(word: str, options: Iterable[str]) -> str | None:
    """The option most like `word`, or None when nothing comes near."""
    choices = list(options)
    folded = {choice.casefold(): choice for choice in reversed(choices)}
    matches = difflib.get_close_matches(word.casefold(), folded, n=1, cutoff=0.5)
    return folded[matches[0]] if matches else None


def nearest_dotted(word: str, options: Iterable[str]) -> str | None:
    """Return the dotted name most like `word`, or None when nothing comes near.

    The last part counts twice, and a name in the very section that was typed is nearer than one elsewhere.
    """
    section, _, last = word.rpartition(".")

    def likeness(name: str) -> float:
        beside, _, end = name.rpartition(".")
        ends = difflib.SequenceMatcher(None, last, end).ratio()
        return difflib.SequenceMatcher(None, word, name).ratio() + ends + 0.2 * (section == beside != "")

    best = max(sorted(options), key=likeness, default=None)
    return best if best is not None and likeness(best) > 1.0 else None


def did_you_mean(word: str, options: Iterable[str]) -> str:
    """`; did you mean 'x'?`, or `; choose from a, b` when nothing comes near. Ready to append to a message."""
    choices = list(options)
    best = nearest(word, choices)
    if best is not None:
        return f"; did you mean {best!r}?"
    return f"; choose from {', '.join(choices)}" if choices else ""
