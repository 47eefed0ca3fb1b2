"""The memory design `typed`: facts, events and rules of doing, each in a store of its own, which has its share of what
a question is shown.

After ENGRAM (Patel et al., arXiv 2511.12960), whose router is the argument `memory_type`, and MemBuilder (arXiv
2601.05488), whose four stores these are. Left out: embeddings, and a reader's prompt with a part for each type.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from memrl.envs.designs import stores
from memrl.envs.designs.design import MemoryItem
from memrl.envs.designs.stores import DELETE, UPDATE, StoreMemory
from memrl.envs.retrieval import WANTED
from memrl.envs.tools import ToolCall, ToolSchema

TYPES = ("semantic", "episodic", "procedural")
INSERT: ToolSchema = replace(
    stores.INSERT,
    description="Store one new item: a fact in semantic memory, an event in episodic, how to do a thing in procedural.",
    parameters={**stores.INSERT.parameters, "memory_type": {"type": "string", "enum": list(TYPES)}},
)


class TypedMemory(StoreMemory):
    """A core paragraph and a store for each type under one token budget."""

    name = "typed"
    tools: Sequence[ToolSchema] = (INSERT, UPDATE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (
        f"{StoreMemory.example[0]} To open the lab, turn the key twice.",
        (
            *StoreMemory.example[1],
            ToolCall(
                name=INSERT.name,
                arguments={"memory_type": "procedural", "content": "To open the lab, turn the key twice."},
            ),
        ),
    )
    prefixes: ClassVar = {"semantic": "sem", "episodic": "epi", "procedural": "pro"}
    quotas: ClassVar = {"semantic": 2, "episodic": 2, "procedural": 1}
    """Items of each type that are taken in a round."""

    def keep_rule(self, sentence: str) -> list[ToolCall]:
        """Return the call that keeps a sentence in procedural memory."""
        return [ToolCall(name=INSERT.name, arguments={"memory_type": "procedural", "content": sentence})]

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return the items that match a text in rounds: in each the best of every type that are left, as many as its
        quota says."""
        found = super().relevant(text, budget)
        first: dict[str, list[MemoryItem]] = {store: [] for store in TYPES}
        for item in itertools.islice(found, WANTED):
            first[item.store].append(item)
        rounds = max(-(-len(first[store]) // quota) for store, quota in self.quotas.items())
        for number in range(rounds):
            for store, quota in self.quotas.items():
                yield from first[store][number * quota : (number + 1) * quota]
        yield from found
