"""Memory designs by name: how a memory is laid out, written and searched. One file a design.

A design is called with the budget of the whole memory, the budget of what is always shown (of `stores`: the core
paragraph), and a token counter, and makes an empty memory: a `MemoryDesign`.
"""

from __future__ import annotations

from collections.abc import Callable

from memrl.envs.designs.design import (
    MemoryDesign,
    MemoryItem,
    MemoryView,
    TokenCounter,
    check_snapshot,
    count_words,
    diff,
)
from memrl.envs.designs.journal import Journal, open_journal
from memrl.envs.registry import Registry, shape

__all__ = [
    "DESIGNS",
    "Journal",
    "MemoryDesign",
    "MemoryItem",
    "MemoryView",
    "TokenCounter",
    "check_snapshot",
    "count_words",
    "diff",
    "open_journal",
]

DESIGNS: Registry[Callable[[int, int, TokenCounter], MemoryDesign]] = Registry(
    "memory design",
    "memrl.designs",
    shape(
        takes=3,
        members=(
            "tools",
            "example",
            "execute",
            "items",
            "get",
            "relevant",
            "keep",
            "drop",
            "render",
            "retrieve",
            "snapshot",
            "restore",
            "token_count",
        ),
    ),
)
DESIGNS.add("stores", "memrl.envs.designs.stores:StoreMemory")
DESIGNS.add("typed", "memrl.envs.designs.typed:TypedMemory")
DESIGNS.add("ledger", "memrl.envs.designs.ledger:FactLedger")
DESIGNS.add("text", "memrl.envs.designs.text:RunningText")
DESIGNS.add("compact_verbatim", "memrl.envs.designs.compact_verbatim:CompactVerbatim")
DESIGNS.add("linked", "memrl.envs.designs.linked:LinkedNotes")
DESIGNS.add("triples", "memrl.envs.designs.triples:Triples")
DESIGNS.add("sql", "memrl.envs.designs.sql:SqlMemory")
DESIGNS.add("hierarchy", "memrl.envs.designs.hierarchy:Hierarchy")
DESIGNS.add("pages", "memrl.envs.designs.pages:Pages")
