"""Gaps: a sentence without one of its names, numbers or dates, to be filled in (a cloze; Taylor 1953).

A gap is asked for where the sentence can be read by itself, tells enough without it, no other sentence says much the
same, and neither the rest of the sentence nor a guess at the commonest name gives it away.
"""

from __future__ import annotations

from collections.abc import Iterator

from memrl.envs.asking.passages import Statement, content, is_answer, stands_alone, stands_in_question, twins
from memrl.envs.asking.scene import DraftQuestion, Scene, gapped, said_by
from memrl.envs.asking.spans import DAYS, Span, SpanKind, is_whole, telling, thing
from memrl.envs.text import words

FEWEST_TERMS = 4
"""Telling terms that a sentence must have beside its gap."""
OFTEN, OFTEN_IN_TALK = 4, 10
"""A name that stands in more sentences is too likely a guess. People talk of few others, of whom each comes often."""
RARE = 3
"""A thing that stands in more sentences is too likely a guess."""
ASKED = {"thing": "word (or two)", "name": "name", "number": "number", "date": "date, year or time"}


def gaps(scene: Scene, kind: SpanKind) -> Iterator[DraftQuestion]:
    """The sentences with a gap for a name, a number or a date."""
    for passage in scene.passages:
        if stands_alone(passage, shortest=8 if passage.speaker is None else 5):
            for span in scene.spans[passage.number]:
                if span.kind == kind and _fair(scene, passage, span):
                    yield _candidate(scene, passage, span)


def things(scene: Scene) -> Iterator[DraftQuestion]:
    """The sentences of persons that name somebody or something, with a gap for the thing that they end in."""
    for passage in scene.passages:
        span = thing(passage.text)
        if span is None or passage.speaker is None or is_answer(passage) or not stands_alone(passage, shortest=5):
            continue
        terms = content(span.text)
        rare = bool(terms) and all(scene.index.count(term) <= RARE for term in terms)
        free = all(other.end <= span.start for other in scene.spans[passage.number])
        named = any(other.kind == "name" for other in scene.spans[passage.number])
        told = named or passage.text.startswith(("My ", "Our "))
        if rare and free and told and _fair(scene, passage, span):
            yield _candidate(scene, passage, span)


def _fair(scene: Scene, passage: Statement, span: Span) -> bool:
    around = scene.about(passage, span)
    question = gapped(passage, span)
    if (
        len(around) < FEWEST_TERMS - (passage.speaker is not None)
        or span.text.casefold() in scene.usual
        or stands_in_question(span.text, question)
    ):
        return False
    often = OFTEN if passage.speaker is None else OFTEN_IN_TALK
    if span.kind == "name" and not (
        is_whole(span, passage.text) and telling(span.text) and scene.mentions[span.text.casefold()] <= often
    ):
        return False
    if span.kind == "number" and span.text in ("0", "1", "2", "100"):
        return False
    if passage.speaker is not None and set(words(span.text)) & set(words(passage.speaker)):
        return False
    if span.kind == "date" and (span.text in DAYS or (passage.time and span.text in passage.time)):
        return False  # one of seven, or the year that stands on the chunk
    anchors = [other for other in scene.spans[passage.number] if other != span]
    if passage.speaker is None and not anchors:
        return False  # a sentence of a document without any name is often one of many alike
    return not any(twins(passage, scene.index, passage.content - around))


def _candidate(scene: Scene, passage: Statement, span: Span) -> DraftQuestion:
    who = said_by(passage)
    where = f"in what {who} said" if who else "in this sentence from the text"
    text = f'Which {ASKED[span.kind]} fills the gap {where}?\n"{gapped(passage, span)}"'
    around = scene.about(passage, span)
    worth = scene.rarity(around) + scene.lot(text)
    return DraftQuestion(text, _spellings(span), (passage.chunk,), (passage.text,), around, worth)


def _spellings(span: Span) -> tuple[str, ...]:
    """The answers that are right: of a sum also without its sign, of a name also without "the"."""
    plain = span.text.lstrip("$€£¥") if span.kind == "number" else span.text.removeprefix("The ").removeprefix("the ")
    return tuple(dict.fromkeys((span.text, plain)))
