"""Calls of an episode made again on a memory that is another than the one they were made for.

What succeeded, was refused as a duplicate or kept apart, is tried again; calls that failed otherwise are not, not
even those that were over budget: see docs/credit.md. A call means the item that it named when it was made: where that
has another id now it gets that one; where that is not here it gets the item that says the same as that one did when
the call was made, and fails if there is none, even if the id is another item's now. A search has
changed nothing: its result stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from memrl.envs.designs import MemoryDesign
from memrl.envs.designs.stepping import begin_step
from memrl.envs.searching import is_search
from memrl.envs.stream import Stream
from memrl.envs.text import fold
from memrl.envs.tools import ResultCode, ToolCall, ToolResult
from memrl.envs.wrappers.consolidate import plan_of
from memrl.records import Step

Calls = Sequence[Sequence[ToolCall]]
"""The calls of each step, as they were carried out."""
MADE_AGAIN = (ResultCode.OK, ResultCode.DUPLICATE, ResultCode.KEPT_APART)


class Entry(NamedTuple):
    """An item as the calls tell it."""

    store: str
    time: str
    content: str

    @property
    def says(self) -> tuple[str, str]:
        """Return what is compared: items that agree in it say the same."""
        return self.store, fold(f"{self.time} {self.content}" if self.time else self.content)


class Ledger:
    """The items that a memory holds, told by the calls that were carried out on it and their results."""

    def __init__(self, entries: dict[str, Entry] | None = None) -> None:
        self._entries = entries or {}

    def __contains__(self, item: str) -> bool:
        return item in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def copy(self) -> Ledger:
        """Return the same, to be kept apart."""
        return Ledger(dict(self._entries))

    def follow(self, calls: Iterable[ToolCall], results: Iterable[ToolResult], time: str | None) -> Ledger:
        """Take down what calls have done. Returns itself.

        Args:
            results: of each call.
            time: of the chunk that they were made for.
        """
        for call, result in zip(calls, results, strict=True):
            if not result.ok or result.item_id is None:
                continue
            if result.content is None:
                self._entries.pop(result.item_id, None)
                continue
            before = self._entries.get(result.item_id)
            if not result.content:  # its text is what it was
                if before and result.time:
                    self._entries[result.item_id] = before._replace(time=result.time)
                continue
            when = result.time
            if when is None:  # of a design that does not tell it, or an item without one
                when = before.time if before else _time(call, result, time) if not named_items(call) else ""
            self._entries[result.item_id] = Entry(result.store or "", when, result.content)
        return self

    def find(self, wanted: Entry) -> list[str]:
        """Return the ids of the items that say the same, in the order in which they came."""
        return [item for item, entry in self._entries.items() if entry.says == wanted.says]

    def get(self, item: str) -> Entry | None:
        """Return the item of that id, if it is held."""
        return self._entries.get(item)


class Replay:
    """The calls of the later steps of an episode, made again one step after the other.

    Args:
        memory: as it is before the first of them; changed.
        before: what both held before they parted.
        played: what the episode's memory held before the first of them.
        here: what `memory` holds.
    """

    def __init__(self, memory: MemoryDesign, stream: Stream, before: Ledger, played: Ledger, here: Ledger) -> None:
        self._memory = memory
        self._stream = stream
        self._played = played.copy()
        self._here = here.copy()
        self._plan = plan_of(memory, len(stream.chunks))
        self._ids: dict[str, str | None] = {item: None for item in played if item not in before}
        """Ids in the episode -> ids here, None where it is not known which. All others are the same."""

    def step(self, number: int, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[ToolResult]:
        """Make the calls of step `number` again.

        Args:
            results: of each call in the episode.

        Returns:
            Of each call the result now; of those that were not tried again, the one before.
        """
        planned = self._plan[number]
        chunk = None if planned.tidies else self._stream.chunks[planned.chunk]
        begin_step(self._memory, None if chunk is None else chunk.text)
        time = None if chunk is None else chunk.time
        return [self._make(time, call, before) for call, before in zip(calls, results, strict=True)]

    def _make(self, time: str | None, call: ToolCall, before: ToolResult) -> ToolResult:
        if before.code not in MADE_AGAIN or is_search(call):
            return before
        named = _named(self._memory, call)
        there = {argument: self._find(item) for argument, item in named.items()}
        for argument, item in there.items():
            if item is None:
                self._played.follow([call], [before], time)
                message = f"no item {named[argument][:80]!r} here"
                return ToolResult(name=before.name, code=ResultCode.UNKNOWN_ID, message=message)
        now_call = _renamed(self._memory, call, {place: item for place, item in there.items() if item is not None})
        now = self._memory.execute(now_call, time=time)
        self._played.follow([call], [before], time)
        self._here.follow([now_call], [now], time)
        if before.item_id is not None and before.item_id not in named.values():
            self._ids[before.item_id] = now.item_id
            if now.code is ResultCode.DUPLICATE:
                self._ids[before.item_id] = self._same(before.item_id)
        return now

    def _find(self, item: str) -> str | None:
        """The id here of the item that the episode's call names; None where there is no such item."""
        there = self._ids.get(item, item)
        if there is not None and there in self._here:
            return there
        if (same := self._same(item)) is not None:
            self._ids[item] = same
            return same
        return there  # the memory says that it is gone, or makes it: the core

    def _same(self, item: str) -> str | None:
        """The id here of the item that says what the episode's says; of several the one of the same id, else the first
        that no other item of the episode is known to be."""
        entry = self._played.get(item)
        found = self._here.find(entry) if entry else []
        if item in found:
            return item
        taken = {there for other, there in self._ids.items() if other in self._played and other != item}
        return next((there for there in found if there not in taken), None)


def play_again(
    memory: MemoryDesign,
    stream: Stream,
    calls: Calls,
    results: Sequence[Sequence[ToolResult]],
    first: int,
    before: Ledger | None = None,
    played: Ledger | None = None,
) -> None:
    """Make the calls of step `first` and of all later ones again.

    Args:
        memory: as it is before step `first`; changed.
        results: of each call in the episode.
        before: what `memory` holds; None: it is the episode's own, whose ids are the same.
        played: what the episode's memory held before step `first`.
    """
    here = before or Ledger()
    replay = Replay(memory, stream, here, played or here, here)
    for number in range(first, len(calls)):
        replay.step(number, calls[number], results[number])


def walk(
    memory: MemoryDesign, stream: Stream, calls: Calls, results: Sequence[Sequence[ToolResult]], steps: int
) -> Iterator[tuple[int, Ledger, Ledger]]:
    """Make an episode's own calls, step by step.

    Args:
        memory: empty; when a step is yielded it is as that step found it, and has to be again when the next is asked.
        steps: walk through so many of the first.

    Yields:
        A step's number, what the memory holds before it, and what after it.
    """
    held, plan = Ledger(), plan_of(memory, len(stream.chunks))
    for number in range(steps):
        time = None if plan[number].tidies else stream.chunks[plan[number].chunk].time
        after = held.copy().follow(calls[number], results[number], time)
        yield number, held, after
        play_again(memory, stream, calls[: number + 1], results[: number + 1], number)
        held = after


def time_of(stream: Stream, step: Step) -> str | None:
    """Return the time of the chunk that a step reads."""
    return None if step.tidies else stream.chunks[step.chunk].time


def carry_out_again(
    memory: MemoryDesign, calls: Sequence[ToolCall], tried: Sequence[ToolResult], time: str | None
) -> list[ToolResult]:
    """Carry out calls that were tried on a memory which may have changed since. A call that names an item which an
    earlier one made means that item, whatever its id is now; where it was not made, it fails.

    Args:
        tried: what came of each call.
    """
    ids: dict[str, str] = {}
    results: list[ToolResult] = []
    for call, before in zip(calls, tried, strict=True):
        named = _named(memory, call)
        there = {place: ids[item] for place, item in named.items() if item in ids}
        now = memory.execute(_renamed(memory, call, there), time=time)
        if before.ok and before.item_id is not None and before.item_id not in named.values():
            ids[before.item_id] = now.item_id or ""
        results.append(now)
    return results


def _named(memory: MemoryDesign, call: ToolCall) -> dict[str, str]:
    """The ids of the items that a call names, by where they stand in it, as the memory's design tells them."""
    named = getattr(memory, "named_items", named_items)
    found: dict[str, str] = named(call)
    return found


def _renamed(memory: MemoryDesign, call: ToolCall, there: Mapping[str, str]) -> ToolCall:
    """The call with other ids in the places of those that it names."""
    if not there:
        return call
    if (renamed := getattr(memory, "renamed", None)) is not None:
        other: ToolCall = renamed(call, there)
        return other
    return call.model_copy(update={"arguments": {**call.arguments, **there}})


def named_items(call: ToolCall) -> dict[str, str]:
    """Return the ids of the items that a call names, by argument: none of an insert. Such arguments end in `_id`."""
    named = {name: value for name, value in call.arguments.items() if name.endswith("_id")}
    return {name: " ".join(value.split()) for name, value in named.items() if isinstance(value, str)}


def _time(call: ToolCall, result: ToolResult, time: str | None) -> str:
    """The time of an item that was inserted, where its result does not tell it: only events have one then."""
    told = call.arguments.get("time")
    return " ".join((told or time or "").split()) if result.store == "episodic" else ""
