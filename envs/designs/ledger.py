"""The memory design `ledger`: facts with the time from which they hold, and until which. Nothing true is overwritten.

What a new fact takes the place of stays, closed: `fact_0001 (2024-01-05 to 2024-03-02): Ann is a baker.` Facts that
hold are found before closed ones, unless the question asks how it was; where it names a date, what held then is.

After Theanine's timeline of memories (arXiv 2406.10996) and "Keep Me Updated!" (Bae et al., arXiv 2210.08750). Left
out: Theanine's graph of causes, and a model that decides which facts contradict each other: the policy does.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from memrl.envs.designs.base import HeldDesign, delete_tool
from memrl.envs.designs.design import MemoryItem
from memrl.envs.text import words
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema

_SINCE = {"type": "string", "description": "From when it holds. Default: the text's date."}
_ID = {"type": "string", "description": "An id as shown, of a fact that still holds."}
INSERT = ToolSchema(
    name="memory_insert",
    description="Record one new fact.",
    parameters={"content": {"type": "string", "description": "One self-contained sentence."}, "since": _SINCE},
    required=("content",),
    effect="adds",
)
SUPERSEDE = ToolSchema(
    name="memory_supersede",
    description="Record a fact that takes the place of an older one. The older one is kept as what held until then.",
    parameters={"memory_id": _ID, "content": {"type": "string", "description": "The new fact."}, "since": _SINCE},
    required=("memory_id", "content"),
    effect="changes",
)
END = ToolSchema(
    name="memory_end",
    description="Record that a fact holds no longer, and nothing takes its place.",
    parameters={"memory_id": _ID, "until": {"type": "string", "description": "Default: the text's date."}},
    required=("memory_id",),
    effect="changes",
)
DELETE = delete_tool("Remove a fact that never held, or that nobody will ask about.")
_EXAMPLE = (
    "Marie Curie was born in Warsaw. The weather was fine. She works in Paris.",
    (
        ToolCall(name=INSERT.name, arguments={"content": "Marie Curie was born in Warsaw."}),
        ToolCall(name=INSERT.name, arguments={"content": "Marie Curie works in Paris."}),
    ),
)
_UNTIL = " to "
_UNKNOWN = "?"
"""A time that nobody has told."""
_DATE = re.compile(r"\b\d{4}(?:-\d{2}(?:-\d{2})?)?\b")
_PAST = frozenset(
    (
        "ago", "before", "earlier", "first", "former", "formerly", "original", "originally", "past", "previous",
        "previously", "was", "were",
    )
)  # fmt: skip
"""Words of a question that asks how it was."""


class FactLedger(HeldDesign):
    """Facts and when they held, under one token budget."""

    name = "ledger"
    tools: Sequence[ToolSchema] = (INSERT, SUPERSEDE, END, DELETE)
    example: tuple[str, Sequence[ToolCall]] = _EXAMPLE
    prefixes: ClassVar = {"fact": "fact"}
    may_be_empty: ClassVar = frozenset(["since", "until"])

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        since = _moment(arguments.get("since", "")) or _moment(time or "") or None
        if tool == INSERT.name:
            return self.insert(tool, "fact", arguments["content"], since)
        fact = self.held.get(arguments["memory_id"])
        if fact is None or (tool != DELETE.name and not holds(fact)):
            return self.unknown(tool, arguments["memory_id"])
        if tool == DELETE.name:
            return self.delete(tool, fact)
        if tool == SUPERSEDE.name and arguments["content"] == fact.content:
            return ToolResult(name=tool, code=ResultCode.DUPLICATE, message=f"{fact.id} says the same")
        if tool == END.name:
            return self._close(tool, fact, _moment(arguments.get("until", "")) or since)
        return self.together(
            lambda: self._close(tool, fact, since), lambda: self.insert(tool, "fact", arguments["content"], since)
        )

    def _close(self, tool: str, fact: MemoryItem, until: str | None) -> ToolResult:
        time = f"{fact.time or _UNKNOWN}{_UNTIL}{until or _UNKNOWN}"
        return self.write(tool, replace(fact, time=time, order=self.held.writes + 1))

    def says(self, item: MemoryItem) -> str:
        """Return what a fact says; that it holds again is not said by one that is closed."""
        return item.content if holds(item) else f"{item.time} {item.content}"

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that records a sentence; events are facts of their day."""
        if instead_of is None:
            return [ToolCall(name=INSERT.name, arguments={"content": sentence})]
        if not holds(instead_of):
            return [*self.drop(instead_of), *self.keep(sentence, event=event)]
        return [ToolCall(name=SUPERSEDE.name, arguments={"memory_id": instead_of.id, "content": sentence})]

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return the facts that match a text best: first what holds, or what held when the text asks for."""
        found = super().relevant(text, budget)
        date = _DATE.search(text)
        if date is None and _PAST.intersection(words(text)):
            return found
        first, later = itertools.tee(found)
        wanted = holds if date is None else lambda fact: held_at(fact, date[0])
        return itertools.chain(filter(wanted, first), itertools.filterfalse(wanted, later))

    def as_of(self, date: str) -> list[MemoryItem]:
        """Return the facts that held at a date.

        Args:
            date: as ISO 8601 writes a year, month or day. Facts whose times are not written so are left out.
        """
        return [fact for fact in self.items if held_at(fact, date)]


def holds(fact: MemoryItem) -> bool:
    """Return whether nothing has closed a fact."""
    return _UNTIL not in (fact.time or "")


def held_at(fact: MemoryItem, date: str) -> bool:
    """Return whether a fact held at a date, written as ISO 8601 writes a year, month or day."""
    since, _, until = (fact.time or "").partition(_UNTIL)
    begin, end = _DATE.match(since), _DATE.match(until)
    if begin is None:
        return False
    size = min(len(date), len(begin[0]))
    return begin[0][:size] <= date[:size] and (not until or (end is not None and date < end[0][: len(date)]))


def _moment(told: str) -> str:
    """A time as it is stored: nothing in it looks as if it had an end."""
    return " ".join("-" if word == _UNTIL.strip() else word for word in told.split())
