"""Memories of any design with any retrieval, in one place for all who make one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, cast

from memrl.envs.designs.design import MemoryDesign
from memrl.envs.errors import PluginError
from memrl.envs.retrieval import BM25, NewIndex, open_retrieval


class Searched(MemoryDesign, Protocol):
    """A memory whose items can be found by any index."""

    def search_by(self, new_index: NewIndex) -> None:
        """Find items by another index from now on; `new_index` makes an empty one."""
        ...


def with_retrieval(memory: MemoryDesign, name: str, options: Mapping[str, Any]) -> MemoryDesign:
    """Return a memory that is searched by a retrieval. By `bm25` without options it is searched as its design does.

    Raises:
        PluginError: as `open_retrieval`; or the design finds its items by itself.
    """
    if uses_own_search(name, options):
        return memory
    new_index = open_retrieval(name, options)
    if not takes_retrieval(memory):
        raise PluginError(
            f"the memory design {type(memory).__name__} has no `search_by` and finds its items by itself; leave "
            "memory.retrieval out"
        )
    cast(Searched, memory).search_by(new_index)
    return memory


def uses_own_search(name: str, options: Mapping[str, Any]) -> bool:
    """Return whether a memory is left with the search that its design has made it with."""
    return name == BM25 and not options


def takes_retrieval(design: object) -> bool:
    """Return whether a design, or a memory of it, can be told by which index it is searched."""
    return callable(getattr(design, "search_by", None))
