"""Sentences in a memory of any design: which item says one, and by which calls several are kept."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from memrl.envs.designs.design import MemoryDesign, MemoryItem
from memrl.envs.designs.journal import open_journal
from memrl.envs.designs.stepping import begin_step
from memrl.envs.stream import Stream
from memrl.envs.text import words
from memrl.envs.tools import ToolCall


@dataclass(frozen=True)
class Keeping:
    """A sentence that is to be kept, as `MemoryDesign.keep` is told of it."""

    sentence: str
    event: bool = False
    instead_of: MemoryItem | None = None
    rule: bool = False
    """It tells how a thing is done. A design that has a place of its own for that says the calls by `keep_rule`."""


def says(item: MemoryItem, sentence: str) -> bool:
    """Return whether an item says a sentence: all its words in their order, one after the other."""
    if sentence in item.content:
        return True
    wanted, found = words(sentence), words(item.content)
    return any(found[place : place + len(wanted)] == wanted for place in range(len(found) - len(wanted) + 1))


def holder(items: Iterable[MemoryItem], sentence: str) -> MemoryItem | None:
    """Return the item that says a sentence: one that says nothing else before one that says more."""
    held = list(items)
    found = next((item for item in reversed(held) if item.content == sentence), None)
    return found or next((item for item in reversed(held) if says(item, sentence)), None)


def calls_that_keep(memory: MemoryDesign, wishes: Sequence[Keeping], time: str | None = None) -> list[ToolCall]:
    """Return the calls of one step that keep sentences. The memory is as it was afterwards.

    Args:
        memory: of any design. Where each of its calls says the whole memory (`rewrites`), one is left, which says all.
        time: the chunk's.
    """
    calls: list[ToolCall] = []
    with open_journal(memory) as journal:
        for wish in wishes:
            more = _calls(memory, wish)
            for call in more:
                memory.execute(call, time=time)
            calls = more if getattr(memory, "rewrites", False) else [*calls, *more]
        journal.undo()
    return calls


def keep_notes(memory: MemoryDesign, stream: Stream, chunks: int | None = None) -> None:
    """Write into a memory what is worth keeping of a stream, as a perfect writer would: changes in the place of what
    they change, and what ends removed.

    Args:
        stream: of a source that lists noteworthy sentences (`metadata["notes"]`).
        chunks: of the first so many; None: of all.
    """
    listed = stream.metadata["notes"]
    for chunk, notes in itertools.islice(zip(stream.chunks, listed, strict=True), chunks):
        begin_step(memory, chunk.text)
        for note in notes:
            old = holder(memory.items, note["replaces"]) if note["replaces"] else None
            for call in _calls_of(memory, note, old):
                memory.execute(call, time=chunk.time)


def noted(note: Mapping[str, Any], instead_of: MemoryItem | None = None) -> Keeping:
    """Return what is to be kept of a noteworthy sentence (`metadata["notes"]`).

    Args:
        note: its `text`, and the `store` that it belongs to: semantic, episodic or procedural.
        instead_of: the item in whose place it is kept.
    """
    store = note.get("store")
    return Keeping(note["text"], store == "episodic", instead_of, store == "procedural")


def _calls_of(memory: MemoryDesign, note: Mapping[str, Any], old: MemoryItem | None) -> list[ToolCall]:
    if note.get("ends"):
        return memory.drop(old) if old else []
    return _calls(memory, noted(note, old))


def _calls(memory: MemoryDesign, wish: Keeping) -> list[ToolCall]:
    keep_rule = getattr(memory, "keep_rule", None)
    if wish.rule and keep_rule is not None and wish.instead_of is None:
        calls: list[ToolCall] = keep_rule(wish.sentence)
        return calls
    return memory.keep(wish.sentence, event=wish.event, instead_of=wish.instead_of)
