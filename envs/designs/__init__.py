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
