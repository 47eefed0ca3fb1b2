"""The MCP server: one user's memory as tools of any MCP client."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from anyio import to_thread
from mcp import types
from mcp.server import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.shared.exceptions import MCPError
from pydantic import BaseModel, ValidationError

import memrl
from memrl.envs.designs import MemoryItem
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema
from memrl.errors import MemrlError
from memrl.serve.limits import ModelCalls
from memrl.serve.messages import Ask, Read, Search, complaints, told

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

ITEMS = "memory://items"
MCP_USER = ""
"""Whom its calls of the model are counted for: no name of a user of REST."""
INSTRUCTIONS = (
    "A memory that outlives this conversation. Give texts worth keeping to `read`, which decides what to remember; "
    "`ask` answers from the memory alone. By {tools} you write in it yourself."
)
Arguments = dict[str, Any]


class NoArguments(BaseModel):
    """A tool without arguments."""


@dataclass(frozen=True)
class _Offered:
    """A tool as clients see it, and what it does."""

    tool: types.Tool
    call: Callable[[Arguments], Awaitable[types.CallToolResult]]


def create_mcp(agent: MemoryAgent, calls: ModelCalls) -> Server[Any]:
    """An MCP server over an agent's memory. The agent stays the caller's to close."""

    async def read(arguments: Arguments) -> types.CallToolResult:
        given = Read(**arguments)
        with calls.turn(MCP_USER):
            results = await agent.aread(given.text, time=given.time)
        return await to_thread.run_sync(_told, agent, results, False)

    async def ask(arguments: Arguments) -> types.CallToolResult:
        given = Ask(**arguments)
        with calls.turn(MCP_USER):
            answer = await agent.aask(given.question)
        return _result(answer.text, asdict(answer))

    def search(arguments: Arguments) -> types.CallToolResult:
        return _listed(agent.search(Search(**arguments).query).items)

    own = [
        _tool("memory_search", "The remembered items that match a query best.", Search, _elsewhere(search)),
        _tool("memory_list", "All that is remembered.", NoArguments, _elsewhere(lambda _: _listed(agent.memory))),
        _tool("read", "Read a text, and remember what is worth it.", Read, read, writes=True),
        _tool("ask", "Answer a question from the memory alone.", Ask, ask),
    ]
    taken = {each.tool.name for each in own}  # a design may have a tool for searching too
    written = [_memory_tool(agent, schema) for schema in agent.tools if schema.name not in taken]
    offered = [*written, *own]
    tools = {each.tool.name: each for each in offered}

    async def list_tools(ctx: ServerRequestContext[Any], params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[each.tool for each in offered])

    async def call_tool(ctx: ServerRequestContext[Any], params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in tools:
            return _failed(f"no tool {params.name!r}; offered here: {', '.join(tools)}")
        try:
            return await tools[params.name].call(params.arguments or {})
        except ValidationError as error:
            return _failed(complaints(error.errors()))
        except MemrlError as error:
            return _failed(told(error))

    async def list_resources(ctx: ServerRequestContext[Any], params: Any) -> types.ListResourcesResult:
        told = types.Resource(uri=ITEMS, name="items", description="All that is remembered.", mime_type="text/plain")
        return types.ListResourcesResult(resources=[told])

    async def read_resource(
        ctx: ServerRequestContext[Any], params: types.ReadResourceRequestParams
    ) -> types.ReadResourceResult:
        if str(params.uri) != ITEMS:
            raise MCPError(code=types.INVALID_PARAMS, message=f"no resource {params.uri}; there is {ITEMS}")
        try:
            items = await to_thread.run_sync(lambda: agent.memory)
        except MemrlError as error:
            raise MCPError(code=types.INTERNAL_ERROR, message=told(error)) from None
        text = types.TextResourceContents(uri=ITEMS, text=_lines(items), mime_type="text/plain")
        return types.ReadResourceResult(contents=[text])

    return Server(
        "memrl",
        version=memrl.__version__,
        instructions=INSTRUCTIONS.format(tools=", ".join(f"`{each.tool.name}`" for each in written)),
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_read_resource=read_resource,
    )


def _memory_tool(agent: MemoryAgent, schema: ToolSchema) -> _Offered:
    """A memory operation, offered as it is to the policy."""
    function = schema.json_schema()["function"]
    hints = types.ToolAnnotations(
        read_only_hint=False,
        destructive_hint=schema.effect != "adds",
        idempotent_hint=schema.effect == "changes",
        open_world_hint=False,
    )
    tool = types.Tool(
        name=schema.name,
        description=schema.description,
        input_schema={**function["parameters"], "additionalProperties": False},
        annotations=hints,
    )

    def call(arguments: Arguments) -> types.CallToolResult:
        return _told(agent, agent.execute([ToolCall(name=schema.name, arguments=arguments)], by="mcp"))

    return _Offered(tool, _elsewhere(call))


def _elsewhere(call: Callable[[Arguments], types.CallToolResult]) -> Callable[[Arguments], Awaitable[Any]]:
    """Return `call` carried out in another thread."""
    return lambda arguments: to_thread.run_sync(call, arguments)


def _tool(
    name: str,
    description: str,
    arguments: type[BaseModel],
    call: Callable[[Arguments], Awaitable[types.CallToolResult]],
    *,
    writes: bool = False,
) -> _Offered:
    hints = types.ToolAnnotations(read_only_hint=not writes, destructive_hint=writes, open_world_hint=False)
    schema = arguments.model_json_schema()
    return _Offered(types.Tool(name=name, description=description, input_schema=schema, annotations=hints), call)


def _told(agent: MemoryAgent, results: list[ToolResult], known_is_failure: bool = True) -> types.CallToolResult:
    """Return what became of operations; an error where there was one and none succeeded.

    Args:
        agent: of whose memory.
        known_is_failure: an insertion of what is known already counts as one that has failed; a text that says nothing
            new has been read all the same.
    """
    lines = [f"{result.name or 'call'}: {_outcome(agent, result)}" for result in results]
    fine = {ResultCode.OK} if known_is_failure else {ResultCode.OK, ResultCode.DUPLICATE}
    failed = bool(results) and not any(result.code in fine for result in results)
    return _result(
        "\n".join(lines) or "nothing to remember",
        {"results": [result.model_dump(mode="json") for result in results]},
        failed=failed,
    )


def _outcome(agent: MemoryAgent, result: ToolResult) -> str:
    if not result.ok:
        return f"failed ({result.code}): {result.message}"
    if result.content:
        return f"{result.item_id}: {result.content}" if result.item_id else result.content
    gone = result.item_id is not None and agent.get(result.item_id) is None
    return f"{result.item_id} is gone" if gone else f"{result.item_id or ''} {result.message or 'done'}".strip()


def _listed(items: tuple[MemoryItem, ...]) -> types.CallToolResult:
    return _result(_lines(items), {"items": [asdict(item) for item in items]})


def _lines(items: tuple[MemoryItem, ...]) -> str:
    return "\n".join(item.line() for item in items) or "(empty)"


def _failed(message: str) -> types.CallToolResult:
    return _result(message, failed=True)


def _result(text: str, data: dict[str, Any] | None = None, *, failed: bool = False) -> types.CallToolResult:
    content = [types.TextContent(type="text", text=text)]
    return types.CallToolResult(content=content, structured_content=data, is_error=failed)
