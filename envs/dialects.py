"""How tool calls are written as text. A dialect reads any text whatever into calls, and never raises.

A call that cannot be read is still a call: it becomes a `ToolCall` with an error code, so that it costs reward.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

MAX_CALL_CHARS = 16_384
"""Longer calls are refused before they are parsed."""
MAX_DEPTH = 16
"""Calls nested deeper are refused: a fixed bound, since Python's own depends on who called."""


class Dialect(Protocol):
    """A tool-call text format."""

    name: str
    own_tools: bool
    """Its tools are not those that are offered: it describes them itself, even where the chat template could."""

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        """All calls in a completion, in order; `truncated`: it ran into its token limit."""
        ...

    def format(self, calls: Sequence[ToolCall]) -> str:
        """The text a model would write to make these calls."""
        ...

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        """The tools as prompt text, for chat templates that do not render them."""
        ...


class HermesDialect:
    """`<tool_call>` blocks with one JSON object each, as Qwen and Hermes models write them."""

    name = "hermes"
    own_tools = False
    # Whichever opens first wins: a call in a thought is a thought, and <think> in a call's content is content.
    _piece = re.compile(
        r"<think>.*?(?:</think>|\Z)|<tool_call>(.*?)(</tool_call>|(?=<tool_call>)|\Z)",
        re.DOTALL,
    )
    _tag = re.compile(r"<(?=/?(?:tool_call|think)>)")

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        calls: list[ToolCall] = []
        for match in self._piece.finditer(text):
            if match.group(1) is None:
                continue
            body, closed = match.group(1), match.group(2) != ""
            if not closed and truncated and match.end() == len(text):
                calls.append(_failed(body, ResultCode.TRUNCATED, "the completion ended inside the call"))
            elif not closed:
                calls.append(_failed(body, ResultCode.MALFORMED, "</tool_call> is missing"))
            else:
                calls.append(_parse_call(body))
        return calls

    def format(self, calls: Sequence[ToolCall]) -> str:
        blocks = []
        for call in calls:
            body = json.dumps({"name": call.name, "arguments": call.arguments}, ensure_ascii=False)
            body = clean_text(self._tag.sub(r"\\u003c", body))  # our own tags in a content must not end the call
            blocks.append(f"<tool_call>\n{body}\n</tool_call>")
        return "\n".join(blocks)

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        schemas = "\n".join(json.dumps(tool.json_schema()) for tool in tools)
        example = '<tool_call>\n{"name": <tool name>, "arguments": <arguments as a JSON object>}\n</tool_call>'
        return (
            "# Tools\n\nYou may call one or more of these tools:\n"
            f"<tools>\n{schemas}\n</tools>\n\nWrite each call as a JSON object between tags:\n{example}"
        )


class MemAlphaDialect:
    """What Mem-α's released model speaks (arXiv 2509.25911): Qwen-Agent's `✿FUNCTION✿` and `✿ARGS✿`, and tools of other
    names and arguments. Its calls become ours.

    Types of memory end in `_memory` there; the core paragraph is updated by its type and has no id.
    """

    name = "memalpha"
    own_tools = True
    _piece = re.compile(
        r"<think>.*?(?:</think>|\Z)|✿FUNCTION✿:?[^\S\n]*([^\n✿]*)\n?(?:✿ARGS✿:?(.*?))?(?=✿FUNCTION✿|✿RESULT✿|✿RETURN✿|\Z)",
        re.DOTALL,
    )
    _stores: Mapping[str, Any] = {"type": "string", "enum": ["core_memory", "semantic_memory", "episodic_memory"]}
    _tools: Mapping[str, ToolSchema] = {
        "memory_insert": ToolSchema(
            name="new_memory_insert",
            description="Add an item to semantic memory (facts) or episodic memory (events and when they were).",
            parameters={
                "memory_type": {"type": "string", "enum": ["semantic_memory", "episodic_memory"]},
                "content": {"type": "string"},
            },
            required=("memory_type", "content"),
        ),
        "memory_update": ToolSchema(
            name="memory_update",
            description="Write the core paragraph anew, or replace the text of an item.",
            parameters={
                "memory_type": dict(_stores),
                "new_content": {"type": "string"},
                "memory_id": {"type": "string", "description": "Of the item; not for core memory."},
            },
            required=("memory_type", "new_content"),
        ),
        "memory_delete": ToolSchema(
            name="memory_delete",
            description="Remove an item.",
            parameters={"memory_type": dict(_stores), "memory_id": {"type": "string"}},
            required=("memory_type", "memory_id"),
        ),
    }
    """By our name of what they do."""

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        calls: list[ToolCall] = []
        for match in self._piece.finditer(text):
            if match.group(1) is None:
                continue
            call = self._call(match.group(1).strip()[:80], match.group(2) or "")
            if call.error is ResultCode.MALFORMED and truncated and match.end() == len(text):
                call = _failed(match.group(), ResultCode.TRUNCATED, "the completion ended inside the call", call.name)
            calls.append(call)
        return calls

    def _call(self, name: str, body: str) -> ToolCall:
        try:
            arguments = _read_json(body)
        except _Unreadable as error:
            return _failed(body, error.code, str(error), name)
        if not isinstance(arguments, dict):
            return _failed(body, ResultCode.BAD_ARGUMENTS, "arguments must be an object", name)
        return self._ours(ToolCall(name=clean_text(name), arguments=arguments, raw=clean_text(body)))

    def _ours(self, call: ToolCall) -> ToolCall:
        """The call by our names. What it has too much stays, and what it lacks is missing there too."""
        ours = next((name for name, tool in self._tools.items() if tool.name == call.name), None)
        if ours is None:
            return call
        arguments = dict(call.arguments)
        store = arguments.get("memory_type")
        if isinstance(store, str):
            arguments["memory_type"] = store.removesuffix("_memory")
        if ours != "memory_insert":
            arguments.pop("memory_type", None)
            if store == "core_memory":
                arguments["memory_id"] = "core"
            if "new_content" in arguments:
                arguments["content"] = arguments.pop("new_content")
        return call.model_copy(update={"name": ours, "arguments": arguments})

    def format(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(
            f"✿FUNCTION✿: {name}\n✿ARGS✿: {clean_text(json.dumps(arguments, ensure_ascii=False).replace('✿', ' '))}"
            for name, arguments in map(self._theirs, calls)
        )

    def _theirs(self, call: ToolCall) -> tuple[str, dict[str, Any]]:
        tool = self._tools.get(call.name)
        if tool is None:
            return call.name, call.arguments
        arguments = dict(call.arguments)
        if call.name == "memory_insert":
            arguments.pop("time", None)
            return tool.name, {**arguments, "memory_type": f"{arguments.get('memory_type')}_memory"}
        item = str(arguments.get("memory_id", ""))
        store = {"core": "core_memory", "epi_": "episodic_memory"}.get(item[:4], "semantic_memory")
        named = {} if store == "core_memory" else {"memory_id": item}
        content = {"new_content": arguments["content"]} if "content" in arguments else {}
        return tool.name, {"memory_type": store, **content, **named}

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        offered = [self._tools[tool.name] for tool in tools if tool.name in self._tools]
        schemas = "\n".join(json.dumps(tool.json_schema()["function"]) for tool in offered)
        return (
            f"# Tools\n\nYou may call one or more of these tools:\n\n{schemas}\n\nWrite each call as two lines:\n"
            "✿FUNCTION✿: the tool's name\n✿ARGS✿: its arguments as a JSON object"
        )


DIALECTS: dict[str, type[HermesDialect] | type[MemAlphaDialect]] = {
    HermesDialect.name: HermesDialect,
    MemAlphaDialect.name: MemAlphaDialect,
}


def _failed(raw: str, code: ResultCode, message: str, name: str = "") -> ToolCall:
    return ToolCall(name=name, raw=clean_text(raw[:MAX_CALL_CHARS]), error=code, message=message)


class _Unreadable(Exception):
    """Why there is no JSON value in a call."""

    def __init__(self, code: ResultCode, why: str) -> None:
        super().__init__(why)
        self.code = code


def _read_json(body: str) -> Any:
    """The JSON value of a call's text.

    Raises:
        _Unreadable: there is none.
    """
    if len(body) > MAX_CALL_CHARS:
        raise _Unreadable(ResultCode.TOO_LONG, f"the call has {len(body)} characters, {MAX_CALL_CHARS} are allowed")
    try:
        return _tidy(json.loads(body))
    except RecursionError:
        raise _Unreadable(ResultCode.MALFORMED, "the call is nested too deeply") from None
    except ValueError as error:
        raise _Unreadable(ResultCode.MALFORMED, f"not JSON: {str(error)[:120]}") from None


def _parse_call(body: str) -> ToolCall:
    try:
        parsed = _read_json(body)
    except _Unreadable as error:
        return _failed(body, error.code, str(error))
    if not isinstance(parsed, dict) or not isinstance(parsed.get("name"), str):
        return _failed(body, ResultCode.MALFORMED, "a call is an object with a name and arguments")
    name = parsed["name"][:80]
    arguments = parsed.get("arguments", {})
    if not isinstance(arguments, dict):
        return _failed(body, ResultCode.BAD_ARGUMENTS, "arguments must be an object", name)
    return ToolCall(name=name, arguments=arguments, raw=clean_text(body))


def _tidy(value: Any, depth: int = 0) -> Any:
    """A parsed JSON value with text that can be written anywhere. RecursionError past `MAX_DEPTH`."""
    if isinstance(value, str):
        return clean_text(value)
    if not isinstance(value, dict | list):
        return value
    if depth == MAX_DEPTH:
        raise RecursionError
    if isinstance(value, list):
        return [_tidy(item, depth + 1) for item in value]
    return {clean_text(key): _tidy(item, depth + 1) for key, item in value.items()}
