"""Texts in the form in which they are compared: their words; sentences without frames."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memrl.envs.building.prose import PHRASE_END
from memrl.envs.stream import Question
from memrl.envs.text import word_count, words

_END = re.compile(rf"[.!?…؟۔।॥።։]+['\"’”)\]]*\s+|[。！？｡။។]+|{PHRASE_END}")
_FRAME = re.compile(r"(?:\s*(?:\[[^\]\n]{0,80}\]|<[^>\n]{0,40}>|[^\W\d][\w .'’()-]{0,40}:(?=\s)))+")
"""What stands before a speaker's words: "Ada:", "[2 May, 10:30] <user>", "Text:"."""
_LABEL = re.compile(
    r"[\s(\[|,;]*(?:(?:=>|->|→|\||\t)\s*(?:label|intent|category|class)?|\b(?:label|intent)\b)\W*\d+\W*$"
)
"""What stands behind a labelled text: "label: 12", "=> 12"."""
_NUMBERED = re.compile(r"\d\W*$")
_QUOTED = re.compile(r"[\"“]([^\"”\n]+)[\"”]|(?<!\w)'([^'\n]+)'(?!\w)")
FEWEST_WORDS = 4
"""Shorter passages ("Thank you very much" is the shortest) are not compared; two characters of a script without blanks
are a word."""


def passages(text: str) -> Iterator[str]:
    """Each sentence of each line, as its words; without speakers, labels and what is too short."""
    for line in text.casefold().splitlines():
        for sentence in _END.split(_bare(line)):
            if word_count(sentence) >= FEWEST_WORDS:
                yield " ".join(words(sentence))


def _bare(line: str) -> str:
    end = len(line)
    if _NUMBERED.search(line, max(0, end - 8)) and (labelled := _LABEL.search(line, max(0, end - 40))):
        end = labelled.start()
    framed = _FRAME.match(line, 0, end)
    return line[framed.end() if framed else 0 : end]


def asked_passages(question: Question) -> Iterator[str]:
    """The passages of a question, and those that it quotes."""
    yield from passages(question.text)
    for quoted in _QUOTED.finditer(question.text):
        yield from passages(quoted[1] or quoted[2])


def labels_text(question: Question) -> bool:
    """Return whether a question is a text to be labelled, so that the text itself, not its answer, is what it is
    about."""
    return question.metric == "boxed" or question.kind == "classification"
