"""The memory design `stores`: a core paragraph, semantic items (facts) and episodic items (dated events).

After Mem-α (Wang et al., arXiv 2509.25911). Left out: its search tool, which it
does not offer while it reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from memrl.envs.designs.base import CORE, HeldDesign, delete_tool
from memrl.envs.designs.design import MemoryItem
from memrl.envs.tools import ToolCall, ToolResult, ToolSchema

INSERT = ToolSchema(
    name="memory_insert",
    description="Store one new item: a fact in semantic memory, or an event in episodic memory.",
    parameters={
        "memory_type": {"type": "string", "enum": ["semantic", "episodic"]},
        "content": {"type": "string", "description": "One self-contained sentence."},
        "time": {"type": "string", "description": "When it happened; episodic only. Default: the text's date."},
    },
    required=("memory_type", "content"),
    effect="adds",
)
UPDATE = ToolSchema(
    name="memory_update",
    description="Replace the text of an item, or of the core paragraph (memory_id: core).",
    parameters={
        "memory_id": {"type": "string", "description": "An id as shown, or core."},
        "content": {"type": "string", "description": "The new text."},
    },
    required=("memory_id", "content"),
    effect="changes",
)
DELETE = delete_tool("Remove an item that is wrong or no longer needed.")
_EXAMPLE_TEXT = "Marie Curie was born in Warsaw. The weather was fine. In 1903 she won a Nobel Prize."
_EXAMPLE_CALLS = tuple(
    ToolCall(name=INSERT.name, arguments={"memory_type": store, "content": content})
    for store, content in (
        ("semantic", "Marie Curie was born in Warsaw."),
        ("episodic", "Marie Curie won a Nobel Prize in 1903."),
    )
)


class StoreMemory(HeldDesign):
    """Three stores under one token budget."""

    name = "stores"
    tools: Sequence[ToolSchema] = (INSERT, UPDATE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (_EXAMPLE_TEXT, _EXAMPLE_CALLS)
    core_by_hand = True
    prefixes: ClassVar = {"semantic": "sem", "episodic": "epi"}

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        if tool == INSERT.name:
            store = arguments["memory_type"]
            time = arguments.get("time") or time
            return self.insert(tool, store, arguments["content"], time if store == "episodic" else None)
        item_id = arguments["memory_id"]
        if tool == UPDATE.name and item_id == CORE:
            return self.write_core(tool, arguments["content"])
        item = None if item_id == CORE else self.held.get(item_id)
        if item is None:
            return self.unknown(tool, item_id)
        return self.update(tool, item, arguments["content"]) if tool == UPDATE.name else self.delete(tool, item)

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that keeps a sentence, an event in episodic memory."""
        if instead_of is not None:
            return [ToolCall(name=UPDATE.name, arguments={"memory_id": instead_of.id, "content": sentence})]
        store = "episodic" if event else "semantic"
        return [ToolCall(name=INSERT.name, arguments={"memory_type": store, "content": sentence})]
