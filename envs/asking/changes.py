"""Values that change: the same is said twice with another name, number or date, and the later one is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from memrl.envs.asking.passages import Statement, is_answer, stands_alone, stands_in_question
from memrl.envs.asking.scene import DraftQuestion, Scene, gapped, said_by
from memrl.envs.asking.spans import Span, is_whole
from memrl.envs.text import fold

ALIKE = 0.6
"""Share of the telling terms that two sentences must have in common, their values aside."""
FEWEST_TERMS = 3
MOST_NEAR = 200
"""A sentence that so many others may be like is one of a list: it is not asked about, and the others not compared."""
_CHANGE = re.compile(
    r"\b(?:(?:moved|changed|switched|put off|brought forward)(?: \S+){0,4} (?:to|from)"
    r"|rescheduled|postponed|instead of|no longer|not any ?more|used to|renamed|replaced|updated (?:it |to )|raised"
    r"|increased|reduced|lowered|extended|shortened|from now on|as of now|is now|are now"
    r"|now have)\b",
    re.IGNORECASE,
)
"""Words by which people say that something is other than it was."""


def changes(scene: Scene) -> Iterator[DraftQuestion]:
    """Questions for the last value of what was another before, and on sentences that tell of a change themselves."""
    yield from _told_twice(scene)
    yield from _told_at_once(scene)


def _told_twice(scene: Scene) -> Iterator[DraftQuestion]:
    for passage in scene.passages:
        if not stands_alone(passage, shortest=5) or is_answer(passage):
            continue
        for span in scene.spans[passage.number]:
            around = scene.about(passage, span)
            if len(around) < FEWEST_TERMS or not _fair(passage, span):
                continue
            first = _first_told(scene, passage, span, around)
            # A later one that says something else, or an earlier one in the same chunk, leaves open what is right.
            if first is None or first.chunk == passage.chunk:
                continue
            who = said_by(passage)
            of = f"as {who} last said it" if who else "as the text has it last"
            yield DraftQuestion(
                f'The value in the gap changed in the course of time. What is it {of}?\n"{gapped(passage, span)}"',
                (span.text,),
                (first.chunk, passage.chunk),
                (first.text, passage.text),
                around,
                2 + scene.rarity(around),
            )


def _first_told(scene: Scene, passage: Statement, span: Span, around: frozenset[str]) -> Statement | None:
    """The first sentence that says the same with another value; None where none does, or one says the same later."""
    near = scene.index.near(around, MOST_NEAR)
    if near is None:
        return None
    first = None
    for other in sorted(near, key=lambda other: -other.number):  # the later ones first: one of them ends it
        if other.number == passage.number or other.speaker != passage.speaker:
            continue
        if len(around & other.content) < max(FEWEST_TERMS, ALIKE * len(around)):
            continue
        for value in scene.spans[other.number]:
            if value.kind == span.kind and _alike(scene, (passage, span), (other, value)):
                if other.number > passage.number:
                    return None
                if fold(value.text) != fold(span.text):
                    first = other
    return first


def _alike(scene: Scene, one: tuple[Statement, Span], two: tuple[Statement, Span]) -> bool:
    """Return whether two sentences say the same but for a value: most of their terms, and all other values."""
    mine, theirs = scene.about(*one), scene.about(*two)
    if len(mine & theirs) < max(FEWEST_TERMS, ALIKE * max(len(mine), len(theirs))):
        return False
    rest = [{fold(span.text) for span in scene.spans[passage.number] if span != value} for passage, value in (one, two)]
    return rest[0] == rest[1]


def _fair(passage: Statement, span: Span) -> bool:
    return not stands_in_question(span.text, gapped(passage, span)) and (
        span.kind != "name" or is_whole(span, passage.text)
    )


def _told_at_once(scene: Scene) -> Iterator[DraftQuestion]:
    for passage in scene.passages:
        match = _CHANGE.search(passage.text)
        if match is None or passage.speaker is None or is_answer(passage) or not stands_alone(passage, shortest=7):
            continue
        for span in scene.spans[passage.number]:
            around = scene.about(passage, span)
            if span.start > match.start() and len(around) >= FEWEST_TERMS and _fair(passage, span):
                question = gapped(passage, span)
                who = said_by(passage)
                yield DraftQuestion(
                    f'{who[:1].upper()}{who[1:]} told of a change. What fills the gap?\n"{question}"',
                    (span.text,),
                    (passage.chunk,),
                    (passage.text,),
                    around,
                    scene.rarity(around),
                )
                break
