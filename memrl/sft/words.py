"""The teacher by words: keeps the sentences that notes and evidence name, in the tools of any memory design.

For sets with labels of evidence (SQuAD, dialogues, LoCoMo). Unlike the careless teacher it leaves nothing to chance,
paces itself, so that a memory smaller than the text has room to the end, and shows no call that fails.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from memrl.envs.building.prose import sentences
from memrl.envs.designs import MemoryDesign, MemoryView, open_journal
from memrl.envs.designs.keeping import Keeping, holder
from memrl.envs.stream import Question, Stream
from memrl.envs.terms import terms
from memrl.envs.tools import ToolCall

_DATED = ("temporal", "when")
"""Kinds of questions whose answer is a date: what they ask about is kept as an event."""
Fits = Callable[[Sequence[ToolCall]], bool]
"""Whether a policy could write these calls in one step."""


@dataclass(frozen=True)
class Wanted:
    """A sentence to be kept, or the end of one that is held."""

    sentence: str
    worth: int = 1
    """How many questions name it."""
    event: bool = False
    replaces: str = ""
    ends: bool = False


@dataclass(frozen=True)
class Words:
    """The teacher by words.

    Args:
        fits: tells which calls are too many or too long for one step.
    """

    fits: Fits

    def __call__(
        self, stream: Stream, chunk: int, memory: MemoryDesign, view: MemoryView, rng: random.Random
    ) -> list[ToolCall]:
        """Return the calls for one chunk: the sentences that most questions name, as far as there is room by now.

        The room grows with the text: after t of T chunks the memory holds at most t / T of its budget.
        """
        wishes = named_by_notes(stream, chunk) if "notes" in stream.metadata else named_by_evidence(stream, chunk)
        room = memory.budget * (chunk + 1) / len(stream.chunks)
        time = stream.chunks[chunk].time
        granted: set[int] = set()
        order = sorted(range(len(wishes)), key=lambda place: (not wishes[place].ends, -wishes[place].worth, place))
        for place in order:
            some = sorted({*granted, place})
            calls, kept = _written(memory, view, [wishes[number] for number in some], time)
            if kept is not None and (kept <= room or wishes[place].ends) and self.fits(calls):
                granted.add(place)
        return _written(memory, view, [wishes[number] for number in sorted(granted)], time)[0]


def named_by_notes(stream: Stream, chunk: int) -> list[Wanted]:
    """Return what a source notes of a chunk, in its order."""
    asked = [support for support in stream.metadata.get("support", {}).values() if isinstance(support, str)]
    notes: list[dict[str, Any]] = stream.metadata["notes"][chunk]
    return [
        Wanted(
            note["text"],
            worth=1 + asked.count(note["text"]),
            event=note.get("store") == "episodic",
            replaces=note.get("replaces") or "",
            ends=bool(note.get("ends")),
        )
        for note in notes
    ]


def named_by_evidence(stream: Stream, chunk: int) -> list[Wanted]:
    """Return the sentences of a chunk that questions name, in their order.

    A question whose evidence the chunk is names the sentence that holds its answer; where several do, or none, the one
    that shares most words with question and answer.
    """
    found = [line for text in stream.chunks[chunk].text.splitlines() for line in sentences(text)]
    worth, events = [0] * len(found), [False] * len(found)
    for question in stream.questions:
        if question.evidence is None or chunk not in question.evidence:
            continue
        place = _telling(question, found)
        if place is not None:
            worth[place] += 1
            events[place] |= question.kind in _DATED
    return [Wanted(text, worth[place], events[place]) for place, text in enumerate(found) if worth[place]]


def _telling(question: Question, found: Sequence[str]) -> int | None:
    """Return the place of the sentence that answers a question; None where none shares a word with it."""
    golds = [answer.casefold() for answer in question.answers]
    holding = [place for place, text in enumerate(found) if any(gold in text.casefold() for gold in golds)]
    wanted = set(terms(question.text))
    if not holding:
        wanted |= {term for answer in question.answers for term in terms(answer)}
    shared = {place: len(wanted & set(terms(found[place]))) for place in holding or range(len(found))}
    best = max(shared, key=lambda place: (shared[place], -place), default=None)
    return best if best is not None and (holding or shared[best]) else None


def _written(
    memory: MemoryDesign, view: MemoryView, wishes: Sequence[Wanted], time: str | None
) -> tuple[list[ToolCall], int | None]:
    """Return the calls of a step, and the tokens that the memory holds after them; None where one of them fails. The
    memory is as it was afterwards."""
    rewrites = getattr(memory, "rewrites", False)
    calls: list[ToolCall] = []
    whole = True
    with open_journal(memory) as journal:
        for wish in wishes:
            shown = [memory.get(item.id) or item for item in view.items]
            old = holder(shown, wish.replaces) if wish.replaces else None
            if wish.ends:
                more = memory.drop(old) if old else []
            else:
                keeping = Keeping(wish.sentence, wish.event, old)
                more = memory.keep(keeping.sentence, event=keeping.event, instead_of=keeping.instead_of)
            for call in more:
                whole = memory.execute(call, time=time).ok and whole
            calls = more if rewrites and more else [*calls, *more]
        kept = memory.token_count() if whole else None
        journal.undo()
    return calls, kept
