"""The search of the memory while a chunk is read: a tool beside those of the design, whatever that is.

A step with searches has several turns: what a search has found is told, and the policy goes on. Nothing in the memory
changes by it.
"""

from __future__ import annotations

from collections.abc import Sequence

from memrl.envs.designs import MemoryDesign
from memrl.envs.text import fold
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema, check_arguments, clean_text

SEARCH = "memory_search"
MOST_SEARCHES = 4
"""Searches of one turn; what comes back shares `memory.search_budget`."""
NOTHING = "nothing in the memory matches"
EMPTY_QUERY = "the query is empty"
UNREAD = "there is no further turn in which its result could be read"


def search_tool(max_turns: int) -> ToolSchema:
    """Return the tool as it is offered where a step may have so many turns."""
    return ToolSchema(
        SEARCH,
        f"Search the memory before you write. What is found comes back, and you go on; in {max_turns} turns at most.",
        {"query": {"type": "string"}},
        ("query",),
    )


def with_search(tools: Sequence[ToolSchema], max_turns: int) -> Sequence[ToolSchema]:
    """Return a design's tools, and the search where a step may have several turns."""
    return [*tools, search_tool(max_turns)] if max_turns > 1 else tools


SHAPE = search_tool(2)
"""The tool, for what does not depend on the number of turns."""


def is_search(call: ToolCall) -> bool:
    """Return whether a call that could be read asks for a search."""
    return call.name == SEARCH and call.error is None


def search(memory: MemoryDesign, call: ToolCall, budget: int) -> ToolResult:
    """Return the result of a search: in its message what is shown of the memory for the query, or why there is nothing.

    Args:
        budget: tokens of memory that it may show.
    """
    if check_arguments(SHAPE, call.arguments) is not None:
        message = "a search has one argument, the query, which is a text"
        return ToolResult(name=SEARCH, code=ResultCode.BAD_ARGUMENTS, message=message)
    query = clean_text(call.arguments["query"])
    if not fold(query):
        return ToolResult(name=SEARCH, code=ResultCode.EMPTY, message=EMPTY_QUERY)
    view = memory.retrieve(query, budget)
    return ToolResult(name=SEARCH, code=ResultCode.OK, message=view.text() if view.best is not None else NOTHING)


def refused(code: ResultCode) -> ToolResult:
    """Return the result of a search that comes too late to be read."""
    return ToolResult(name=SEARCH, code=code, message=UNREAD)


def told(results: list[ToolResult]) -> str:
    """Return what comes back of the searches of a turn: of several, each under its number."""
    if len(results) == 1:
        return results[0].message
    return "\n".join(f"# {number}\n{result.message}" for number, result in enumerate(results, start=1))
