"""How tool calls are written as text. A dialect reads any text whatever into calls, and never raises.

A call that cannot be read is still a call: it becomes a `ToolCall` with an error code, so that it costs reward.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any, Protocol

from envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

MAX_CALL_CHARS = 16_384
"""Longer calls are refused before they are parsed."""
MAX_DEPTH = 16
"""Calls nested deeper are refused: a fixed bound, since Python's own depends on who called."""


class Dialect(Protocol):
    """A tool-call text format."""

    name: str

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


DIALECTS: dict[str, type[HermesDialect]] = {HermesDialect.name: HermesDialect}


def _failed(raw: str, code: ResultCode, message: str, name: str = "") -> ToolCall:
    return ToolCall(name=name, raw=clean_text(raw[:MAX_CALL_CHARS]), error=code, message=message)


def _parse_call(body: str) -> ToolCall:
    if len(body) > MAX_CALL_CHARS:
        return _failed(body, ResultCode.TOO_LONG, f"the call has {len(body)} characters, {MAX_CALL_CHARS} are allowed")
    try:
        parsed = _tidy(json.loads(body))
    except RecursionError:
        return _failed(body, ResultCode.MALFORMED, "the call is nested too deeply")
    except ValueError as error:
        return _failed(body, ResultCode.MALFORMED, f"not JSON: {str(error)[:120]}")
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
