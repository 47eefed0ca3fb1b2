"""The words that a model said, without what it thought. Every parser of a model's text begins here.

A reasoning model thinks between <think> and </think>. Many chat templates write the opening tag themselves, so that
the model's text holds the closing one alone: then all before it is thought. A thought that is never closed lasts to the
end.
A tag that is quoted, in the JSON of a call, is content and neither opens nor closes anything.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

Span = tuple[int, int]
_TAG = re.compile("<(/?)think>")


def speech(text: str, quoted: Iterable[Span] = ()) -> tuple[str, bool]:
    """Return what is said in `text`, and whether it ends in the middle of a thought.

    Args:
        quoted: spans of JSON, in order and apart; tags within them are content. Looked at only where there are tags.
    """
    pieces: list[str] = []
    place, thinking = 0, False
    spans = iter(quoted)
    span: Span | None = (0, 0)
    for tag in _TAG.finditer(text):
        while span is not None and span[1] <= tag.start():
            span = next(spans, None)
        if span is not None and span[0] <= tag.start() and not thinking:
            continue
        if not tag[1]:
            if not thinking:
                pieces.append(text[place : tag.start()])
            thinking = True
            continue
        if not thinking:  # opened by the prompt: whatever was read so far was thought
            pieces.clear()
        thinking = False
        place = tag.end()
    if not thinking:
        pieces.append(text[place:])
    return "".join(pieces), thinking


def said(text: str) -> str:
    """Return what is said in `text`, without the blanks around it."""
    return speech(text)[0].strip()
