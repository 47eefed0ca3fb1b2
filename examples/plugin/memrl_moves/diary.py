"""The memory design `diary`: one line a day, which grows as the day does. The design that docs/designs.md writes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from memrl.envs.designs import MemoryItem
from memrl.envs.designs.base import HeldDesign
from memrl.envs.tools import ToolCall, ToolResult, ToolSchema

TEXT = {"content": {"type": "string", "description": "One full sentence."}}
ID = {"memory_id": {"type": "string", "description": "An id as shown."}}
WRITE = ToolSchema("memory_write", "Write a sentence under today.", TEXT, ("content",), effect="adds")
CHANGE = ToolSchema("memory_update", "Write a day's line anew.", {**ID, **TEXT}, ("memory_id", "content"), "changes")
DELETE = ToolSchema("memory_delete", "Remove the line of a day.", ID, ("memory_id",), "changes")


class Diary(HeldDesign):
    """A memory of days."""

    name = "diary"
    tools: Sequence[ToolSchema] = (WRITE, CHANGE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (
        "Ada sang.",
        (ToolCall(name="memory_write", arguments={"content": "Ada sang."}),),
    )
    prefixes: ClassVar = {"day": "day"}

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        """Do what a call says."""
        if tool == WRITE.name:
            today = next((item for item in self.newest() if item.time == time and time), None)
            if today is None:
                return self.insert(tool, "day", arguments["content"], time)
            return self.update(tool, today, f"{today.content} {arguments['content']}")
        item = self.get(arguments["memory_id"])
        if item is None:
            return self.unknown(tool, arguments["memory_id"])
        if tool == CHANGE.name:
            return self.update(tool, item, arguments["content"])
        return self.delete(tool, item)

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that keeps a sentence."""
        if instead_of is None:
            return [ToolCall(name=WRITE.name, arguments={"content": sentence})]
        return [ToolCall(name=CHANGE.name, arguments={"memory_id": instead_of.id, "content": sentence})]
