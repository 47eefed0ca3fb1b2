"""The careless teacher: shows how tools are used, and not what is worth storing.

Its demonstrations give a policy the format, the copying and the reading. Which sentences it stores is mostly a matter
of chance, so that there is something left for reinforcement learning to find out, and exploration to find it with.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from memrl.envs.building.prose import sentences
from memrl.envs.designs import MemoryDesign, MemoryItem, MemoryView
from memrl.envs.designs.keeping import Keeping, calls_that_keep, holder, noted
from memrl.envs.designs.stepping import begin_step
from memrl.envs.stream import Question, Stream
from memrl.envs.terms import terms
from memrl.envs.text import stands_in
from memrl.envs.tools import ToolCall


@dataclass(frozen=True)
class Carelessness:
    """The teacher's behaviour, as probabilities."""

    store: float = 0.5
    """That a noteworthy sentence is stored; any sentence, where the source does not say what is noteworthy."""
    chatter: float = 0.1
    """That any other is stored. Less often: what a policy has never had to tell apart, GRPO cannot find out."""
    update: float = 0.8
    """That a changed fact replaces the old item, where that is in sight, instead of standing beside it."""
    misfile: float = 0.02
    """That an item goes into the wrong store."""

    def __call__(
        self, stream: Stream, chunk: int, memory: MemoryDesign, view: MemoryView, rng: random.Random
    ) -> list[ToolCall]:
        """Return the calls for one chunk, as `demonstrate`."""
        return demonstrate(stream, chunk, memory, view, rng, self)


def demonstrate(
    stream: Stream, chunk: int, memory: MemoryDesign, view: MemoryView, rng: random.Random, habits: Carelessness
) -> list[ToolCall]:
    """The calls the teacher makes for one chunk, in the tools of the memory, given what it is shown of it.

    Sources that list noteworthy sentences (`metadata["notes"]`) tell it the store and what a sentence replaces; for
    all others every sentence is a fact.
    """
    listed: list[list[dict[str, Any]]] = stream.metadata.get("notes") or [[] for _ in stream.chunks]
    notes = {note["text"]: note for note in listed[chunk]}
    shown = [memory.get(item.id) or item for item in view.items]
    wishes = []
    for sentence in sentences(stream.chunks[chunk].text):
        note = notes.get(sentence, {})
        if rng.random() >= (habits.chatter if "notes" in stream.metadata and not note else habits.store):
            continue
        old = holder(shown, note["replaces"]) if note.get("replaces") else None
        if old and rng.random() < habits.update:
            wishes.append(Keeping(sentence, instead_of=old))
            continue
        wish = noted(note) if note else Keeping(sentence)
        if rng.random() < habits.misfile:
            wish = Keeping(sentence, event=not wish.event)
        wishes.append(wish)
    return calls_that_keep(memory, wishes, stream.chunks[chunk].time)


def demonstrate_tidying(memory: MemoryDesign) -> list[ToolCall]:
    """The calls the teacher makes where nothing is read: it removes one item whose words another one says too, and else
    makes none. Which of the others are worth their room is left to find out."""
    items = [(item, set(terms(item.content))) for item in memory.items]
    for item, own in items:
        if any(own < others or (own == others and other.order > item.order) for other, others in items):
            calls = memory.drop(item)
            if calls:
                return calls
    return []


def supported(stream: Stream, question: Question, view: MemoryView) -> bool:
    """Return whether the items in sight say the answer, as far as the source lets one tell."""
    support = stream.metadata.get("support", {}).get(question.id)
    if support is None:
        return any(answer.lower() in item.line().lower() for item in view.items for answer in question.answers)
    needed = (support,) if isinstance(support, str) else support
    found = [holder(view.items, sentence) for sentence in needed]
    if None in found:
        return False
    return question.kind != "when" or _dated(found[0], question)


def _dated(item: MemoryItem | None, question: Question) -> bool:
    return item is not None and any(
        item.time == answer or stands_in(answer, item.line()) for answer in question.answers
    )


def fill(stream: Stream, memory: MemoryDesign, rng: random.Random, share: float) -> None:
    """Put a random `share` of a stream's sentences into a memory, changes beside what they change."""
    for index, chunk in enumerate(stream.chunks):
        view = memory.render(chunk.text, memory.budget)
        habits = Carelessness(share, share, update=0.5, misfile=0.02)
        begin_step(memory, chunk.text)
        for call in demonstrate(stream, index, memory, view, rng, habits):
            memory.execute(call, time=chunk.time)
