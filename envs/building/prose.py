"""Prose taken apart: paragraphs, sentences, clauses. The only place that knows where a sentence ends."""

from __future__ import annotations

import re

PHRASE_END = r"(?<=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])[^\S\n]+(?=[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff])"
"""The blanks of Thai, Lao, Burmese and Khmer, which stand between phrases and sentences and not between words."""
_END = re.compile(
    r"""(?<=[.!?…؟۔।॥።։])["'”’)\]]*\s+|(?<=[。！？｡။។])["'”’)\]」』）]*(?![。！？｡။។])\s*|\n\s*\n\s*"""
    rf"|(?P<phrase>{PHRASE_END})"
)
"""A sentence ends before a blank, in Chinese and Japanese without one."""
_SHORTEST_PHRASES = 40
"""Characters from which on phrases between blanks make a sentence, where no sign ends one."""
_BLANK = re.compile(r"\n[^\S\n]*\n\s*")
_ABBREVIATION = re.compile(
    r"\b(?:[A-Z]|Mr|Mrs|Ms|Dr|Prof|St|Jr|Sr|Gen|Col|Capt|Lt|Sgt|Rev|Hon|Gov|Sen|Rep|vs|etc|e\.g|i\.e|cf|al|No|Vol|Fig|pp|ca"
    r"|Inc|Ltd|Co|Corp|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec)\.$"
)
_LONGEST_ABBREVIATION = 8
"""Characters to look back for one."""
_NO_END = r"[^.!?\n;。！？；｡।॥۔؟؛።։။។]+"
_CLAUSE = re.compile(rf"{_NO_END}(?:[.!?;](?=\S){_NO_END})*")


def paragraphs(text: str, unwrap: bool = True) -> list[str]:
    """Return a text's paragraphs: what stands between blank lines.

    Args:
        unwrap: a line's end within a paragraph is only where it was wrapped (plain text), and means nothing.
    """
    found = (paragraph.strip() for paragraph in _BLANK.split(text))
    return [" ".join(paragraph.split()) if unwrap else paragraph for paragraph in found if paragraph]


def sentences(text: str) -> list[str]:
    """Return a text's sentences. Where it is unclear whether one ends (an abbreviation, an initial), it does not."""
    found: list[str] = []
    start = 0
    for end in _END.finditer(text):
        if end["phrase"] and end.start() - start < _SHORTEST_PHRASES:
            continue
        # Only the neighbourhood is looked at: whole rests of a text would make this quadratic.
        before = text[max(start, end.start() - _LONGEST_ABBREVIATION) : end.start()]
        after = text[end.end() : end.end() + 1]
        unclear = _ABBREVIATION.search(before) or after.islower()
        if "\n\n" in end.group().replace(" ", "") or not unclear:
            found.append(text[start : end.end()].strip())
            start = end.end()
    found.append(text[start:].strip())
    return [sentence for sentence in found if sentence]


def clauses(text: str) -> list[str]:
    """Return what stands between line ends, semicolons and ends of sentences, abbreviations or not: the shortest spans
    that say something by themselves."""
    return [clause for found in _CLAUSE.findall(text) if (clause := found.strip())]
