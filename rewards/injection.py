"""A check for texts that give orders to a model that may read them, where they should tell something.

A memory is quoted to its reader as data; one that talks to the reader is at best useless. The check is a list of
patterns: it finds the ways that are known (prompt injection: arXiv 2302.12173, 2403.04957; against judges: arXiv
2306.05685, 2403.17710), not every way there is. So it counts, and may cost the content reward, but protects nothing by
itself.
"""

from __future__ import annotations

import re
import unicodedata

# No two parts that can match the same character stand side by side, and none that can grow begins at each of them.
_PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        r"\b(ignore|disregard|forget|override|skip)\b.{0,25}\b(questions?|instructions?|rules?|rubric|prompt|all)\b",
        r"\b(ignore|disregard|forget|override)\b.{0,25}\b(above|previous|prior|everything (before|you|that was))\b",
        r"\b(whatever|whichever|no matter what|regardless of what)\b.{0,30}\b(questions?|asked|ask)\b",
        r"\b(answer|reply|respond|output|print|say|return)\b.{0,12}\b(only|always|just|simply|with|exactly)\b.{0,25}"
        r"(\byes\b|\bcorrect\b|\baccept|\btrue\b|['\"{])",
        r"\b(always|only|just|please|must|to) (answer|reply|respond|output|accept|mark|grade)\b.{0,30}"
        r"(\byes\b|\bcorrect\b|\baccept|\btrue\b|\bthis\b|['\"{])",
        r"\b(grader|judge|evaluator|reader|model|system)\b.{0,6}[:,].{0,40}\b(accept|mark|grade|reply|output)\b",
        r"\byou are now (a|an|in|the)\b",
        r"\b(as|for) (the|a) (judge|grader|evaluator)\b",
        r"\b(this|the|my|following|above) (answer|text|response|memory|item)s? (is|are|was|has been|should be|must be) "
        r".{0,25}(correct|right|accepted|faithful|verified|approved|graded|perfect)\b",
        r"\b(full|maximum|highest|top) (marks?|score|credit)\b",
        r"\b(verdict|score|grade)\b[\"']?\s*[:=][\s\"'\[{]*(accept|yes|correct|true|10\b)",
        r"\b(new|updated|revised|actual|real) (instructions?|rules?|rubric|task|system prompt)( are)?\s*:",
        r"<[\s|/]{0,12}(im_start|im_end|system|assistant|endoftext|eot_id|answer|instruction)",
        r"(^|\n)[^\S\n]*(#+[^\S\n]*)?(system|developer|instructions?|verdict)\s*[:#]",
        r"\[/?(inst|sys|[0-9a-f]{8} (ends|begins))\]",
        r"\b(developer|debug|god|dan|sudo|admin) mode\b",
        r"\b(end|beginning) of (the )?(quotation|material|memory|data|document|answer|input)\b",
    )
)
_WITHIN = dict.fromkeys(map(ord, "\u200b\u200c\u200d\u2060\ufeff\u00ad"))


def gives_orders(text: str) -> bool:
    """Return whether the text reads like an instruction to a model; letters in disguise (full width, hidden marks) are
    read as what they look like."""
    plain = unicodedata.normalize("NFKC", text).translate(_WITHIN).casefold()
    return any(pattern.search(plain) for pattern in _PATTERNS)
