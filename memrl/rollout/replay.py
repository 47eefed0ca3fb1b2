"""Calls of an episode made again on a memory that is another than the one they were made for.

What succeeded, or was refused as a duplicate, is tried again; calls that failed otherwise are not, not even those that
were over budget: see docs/credit.md. A call means the item that it named when it was made: where that has another id
now it gets that one; where that was never written it gets the item that says the same, and fails if there is none, even
if the id is another item's now.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from memrl.envs.designs import MemoryDesign
from memrl.envs.stream import Stream
from memrl.envs.text import fold
from memrl.envs.tools import ResultCode, ToolCall, ToolResult

Calls = Sequence[Sequence[ToolCall]]
"""The calls of each step, as they were carried out."""
MADE_AGAIN = (ResultCode.OK, ResultCode.DUPLICATE)


class Replay:
    """The calls of the later steps of an episode, made again one step after the other.

    Args:
        memory: as it is before the first of them; changed.
        missing: results of the calls that made items in the episode which were not made here (`given_out`).
        instead: results of the calls that made items here which the episode lacks.
    """

    def __init__(
        self,
        memory: MemoryDesign,
        stream: Stream,
        missing: Iterable[ToolResult] = (),
        instead: Iterable[ToolResult] = (),
    ) -> None:
        self._memory = memory
        self._stream = stream
        self._missing: dict[tuple[str | None, str], str] = {}
        """Ids in the episode of items that are not here, by what they say."""
        self._more: dict[tuple[str | None, str], str] = {}
        """Ids of items that the episode lacks, by what they say."""
        self._ids: dict[str, str | None] = {}
        """Ids in the episode -> ids here, None where there is no such item. All others are the same."""
        for result in missing:
            self._ids[str(result.item_id)] = None
            self._missing[_says(result)] = str(result.item_id)
        for result in instead:
            self._add(result)

    def step(self, number: int, calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[ToolResult]:
        """Make the calls of step `number` again.

        Args:
            results: of each call in the episode.

        Returns:
            Of each call the result now; of those that were not tried again, the one before.
        """
        return [self._make(number, call, before) for call, before in zip(calls, results, strict=True)]

    def _make(self, number: int, call: ToolCall, before: ToolResult) -> ToolResult:
        if before.code not in MADE_AGAIN:
            return before
        named = named_item(call)
        if named is not None and named in self._ids:
            there = self._ids[named]
            if there is None:
                return ToolResult(name=before.name, code=ResultCode.UNKNOWN_ID, message=f"no item {named[:80]!r} here")
            call = call.model_copy(update={"arguments": {**call.arguments, "memory_id": there}})
        now = self._memory.execute(call, time=self._stream.chunks[number].time)
        if named is None and before.item_id is not None:
            self._ids[before.item_id] = now.item_id or self._more.get(_says(before))
        elif named is None and now.ok and now.item_id is not None:
            self._add(now)
        return now

    def _add(self, result: ToolResult) -> None:
        """Know an item that the episode lacks. If it says what a missing one says, calls that name that one mean it."""
        self._more[_says(result)] = str(result.item_id)
        if (old := self._missing.get(_says(result))) is not None:
            self._ids[old] = result.item_id


def _says(result: ToolResult) -> tuple[str | None, str]:
    return result.store, fold(result.content or "")


def play_again(
    memory: MemoryDesign,
    stream: Stream,
    calls: Calls,
    results: Sequence[Sequence[ToolResult]],
    first: int,
    missing: Iterable[ToolResult] = (),
) -> None:
    """Make the calls of step `first` and of all later ones again.

    Args:
        memory: as it is before step `first`; changed.
        results: of each call in the episode.
        missing: results of the calls that made items in the episode which were not made here (`given_out`).
    """
    replay = Replay(memory, stream, missing)
    for number in range(first, len(calls)):
        replay.step(number, calls[number], results[number])


def named_item(call: ToolCall) -> str | None:
    """Return the id of the item that a call names; None where it names none, as an insert."""
    named = call.arguments.get("memory_id")
    return " ".join(named.split()) if isinstance(named, str) else None


def given_out(calls: Sequence[ToolCall], results: Sequence[ToolResult]) -> list[ToolResult]:
    """Return the results of the calls that made a new item, whose id the memory chose."""
    return [
        result
        for call, result in zip(calls, results, strict=True)
        if result.ok and result.item_id is not None and named_item(call) is None
    ]
