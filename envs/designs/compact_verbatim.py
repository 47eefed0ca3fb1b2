"""The memory design `compact_verbatim`: one line that says what has been read so far, and passages kept word for word.

What lacks room, a new passage or the line, takes that of older passages: of the oldest few the one that shares the
fewest words with both goes first, so that nothing is refused for age alone. The line is always shown.

After HEMA (Ahn, arXiv 2504.16754). Left out: embeddings, and weights by how often a passage was found: reading changes
nothing in a memory here.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import ClassVar

from memrl.envs.designs.base import CORE, HeldDesign
from memrl.envs.designs.design import MemoryItem
from memrl.envs.designs.held import counted
from memrl.envs.terms import terms
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema

SUMMARY = ToolSchema(
    name="memory_summary",
    description="Write the one line anew that says what has been read so far.",
    parameters={"content": {"type": "string", "description": "One line: what matters of all that was read."}},
    required=("content",),
    effect="changes",
)
PASSAGE = ToolSchema(
    name="memory_passage",
    description="Keep a passage of the text word for word. Where room lacks, an old passage goes.",
    parameters={"content": {"type": "string", "description": "The passage, as it stands in the text."}},
    required=("content",),
)
DELETE = ToolSchema(
    name="memory_delete",
    description="Remove a passage that is wrong or no longer needed.",
    parameters={"memory_id": {"type": "string", "description": "An id as shown, of a passage."}},
    required=("memory_id",),
    effect="changes",
)
_OLDEST = 8
"""Passages among which one is chosen to go."""
_MOST_PRUNED = 64
"""Passages that may go at once: a call costs no more than that."""


class CompactVerbatim(HeldDesign):
    """A line and passages under one token budget."""

    name = "compact_verbatim"
    tools: Sequence[ToolSchema] = (SUMMARY, PASSAGE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (
        "Marie Curie was born in Warsaw. The weather was fine. In 1903 she won a Nobel Prize.",
        (
            ToolCall(name=PASSAGE.name, arguments={"content": "In 1903 she won a Nobel Prize."}),
            ToolCall(name=SUMMARY.name, arguments={"content": "The life of Marie Curie, born in Warsaw."}),
        ),
    )
    core_by_hand = True
    prefixes: ClassVar = {"passage": "passage"}

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        if tool == SUMMARY.name:
            content = arguments["content"]
            return self._with_room(content, lambda: self.write_core(tool, content))
        if tool == PASSAGE.name:
            content = arguments["content"]
            return self._with_room(content, lambda: self.insert(tool, "passage", content, time))
        item = None if arguments["memory_id"] == CORE else self.held.get(arguments["memory_id"])
        return self.delete(tool, item) if item else self.unknown(tool, arguments["memory_id"])

    def _with_room(self, content: str, write: Callable[[], ToolResult]) -> ToolResult:
        """Write something, passages going for it where it lacks room."""
        with self.held.open_journal() as journal:
            result = write()
            for _ in range(_MOST_PRUNED):
                if result.code is not ResultCode.OVER_BUDGET or not self.items:
                    break
                self.held.delete(self._least(content))
                result = write()
            if not result.ok:
                journal.undo()
        return result

    def _least(self, content: str) -> MemoryItem:
        """Return the passage that goes: the older of two, where they share as many words with what matters now."""
        wanted = set(terms(f"{self.core} {content}"))
        oldest = itertools.islice(self.held.oldest(), _OLDEST)
        return min(oldest, key=lambda item: len(wanted.intersection(terms(counted(item)))))

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the calls that keep a sentence as a passage, once the one that it takes the place of is gone."""
        gone = self.drop(instead_of) if instead_of is not None else []
        if instead_of is not None and instead_of.id == CORE:
            return [ToolCall(name=SUMMARY.name, arguments={"content": sentence})]
        return [*gone, ToolCall(name=PASSAGE.name, arguments={"content": sentence})]
