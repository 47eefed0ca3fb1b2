"""The parts that dialects share: reading a call's JSON within bounds, and the call that stands for one that cannot be
read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from memrl.envs.dialects.thoughts import said
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

if TYPE_CHECKING:
    from memrl.envs.dialects import Dialect

MAX_CALL_CHARS = 16_384
"""Longer calls are refused before they are parsed."""
MAX_DEPTH = 16
"""Calls nested deeper are refused: a fixed bound, since Python's own depends on who called."""
_DECODER = json.JSONDecoder()
_BLANKS = re.compile(r"\s*")
_LIKE_A_CALL = re.compile(
    # The marks of families of models, some of which write them with special tokens.
    r"</?(?:\|)?(?:tool_calls?|tool_use|function_calls?|start_function_call|tool▁calls?▁begin|tool_calls?_(?:begin|start"
    r"|section_begin)|python_tag)(?:\|)?>|<(?:function=|invoke name=)|\[TOOL_CALLS\]|✿(?:FUNCTION|ARGS)✿|\bfunctools\["
    # An object with a name and arguments, in either order.
    r'|\{\s*"(?:name|tool|tool_name)"\s*:\s*"[^"\n]*"\s*,\s*"(?:arguments|parameters|args|input|tool_input)"\s*:'
    r'|"function"\s*:\s*\{\s*"name"|\{\s*"(?:arguments|parameters|args)"\s*:\s*\{[^{}]*\}\s*,\s*"name"\s*:'
)


def failed_call(raw: str, code: ResultCode, message: str, name: str = "") -> ToolCall:
    """The call that stands for a text that cannot be read as one, so that it costs reward."""
    return ToolCall(name=name, raw=clean_text(raw[:MAX_CALL_CHARS]), error=code, message=message)


def stray_call(text: str, tools: Iterable[str] = ()) -> list[ToolCall]:
    """Return one failed call for a text that looks like a call and was not read as one: in another family's form, in a
    fence, without its tag; nothing for any other text. Such a step would else be one without calls, in which nothing
    failed.

    Args:
        text: what was said outside of the calls that could be read.
        tools: names of the tools that are offered; one of them with an opening bracket looks like a call.
    """
    names = "|".join(map(re.escape, tools))
    found = _LIKE_A_CALL.search(text) or (re.search(rf"\b(?:{names})\s*[({{]", text) if names else None)
    if found is None:
        return []
    message = f"looks like a call, and is not written as one here: {found[0][:40]!r}"
    return [failed_call(text.strip(), ResultCode.MALFORMED, message)]


def all_calls(dialect: Dialect, text: str, tools: Iterable[str], *, truncated: bool = False) -> list[ToolCall]:
    """Return the calls in a completion as the dialect reads them; where it reads none, `stray_call` of what was said.

    Args:
        tools: names of the tools that are offered.
        truncated: the completion ran into its token limit.
    """
    return dialect.parse(text, truncated=truncated) or stray_call(said(text), tools)


def shown_result(dialect: Dialect, text: str) -> str:
    """Return what comes back of a call as the dialect writes it, for chat templates without a tool's turn: in its
    `result_marks` where it has some, else under a heading."""
    opens, closes = getattr(dialect, "result_marks", ("# Result", ""))
    return "\n".join(filter(None, [opens, text, closes]))


class Unreadable(Exception):
    """The reason why there is no JSON value in a call."""

    def __init__(self, code: ResultCode, why: str) -> None:
        super().__init__(why)
        self.code = code


def read_json(body: str) -> Any:
    """The JSON value of a call's text.

    Raises:
        Unreadable: there is none.
    """
    if len(body) > MAX_CALL_CHARS:
        raise Unreadable(ResultCode.TOO_LONG, f"the call has {len(body)} characters, {MAX_CALL_CHARS} are allowed")
    try:
        return _tidy(json.loads(body))
    except RecursionError:
        raise Unreadable(ResultCode.MALFORMED, "the call is nested too deeply") from None
    except ValueError as error:
        raise Unreadable(ResultCode.MALFORMED, f"not JSON: {str(error)[:120]}") from None


def json_span(text: str, start: int) -> tuple[int, int] | None:
    """Return where the JSON object stands that begins at `start`, blanks before it apart; None where there is none.

    A call's end is found by reading it, not by looking for its mark: a mark within a string is content.
    """
    begin = _BLANKS.match(text, start).end()  # type: ignore[union-attr] # it matches nothing too
    if not text.startswith("{", begin):
        return None
    try:  # in a slice: an error's message counts the lines before it
        return begin, begin + _DECODER.raw_decode(text[begin : begin + MAX_CALL_CHARS])[1]
    except (ValueError, RecursionError):
        return None


def json_spans(text: str, mark: re.Pattern[str]) -> Iterator[tuple[int, int]]:
    """Yield where the JSON objects stand that follow each `mark`, in order; a mark within one begins no other."""
    found = mark.search(text)
    while found is not None:
        span = json_span(text, found.end())
        if span is not None:
            yield span
        found = mark.search(text, found.end() if span is None else span[1])


def call_of(body: str, arguments_key: str) -> ToolCall:
    """Return the call of a JSON object with a name and, under `arguments_key`, arguments; a failed one of any other."""
    try:
        parsed = read_json(body)
    except Unreadable as error:
        return failed_call(body, error.code, str(error))
    if not isinstance(parsed, dict) or not isinstance(parsed.get("name"), str):
        return failed_call(body, ResultCode.MALFORMED, "a call is an object with a name and " + arguments_key)
    name = parsed["name"][:80]
    arguments = parsed.get(arguments_key, {})
    if not isinstance(arguments, dict):
        return failed_call(body, ResultCode.BAD_ARGUMENTS, f"{arguments_key} must be an object", name)
    return ToolCall(name=name, arguments=arguments, raw=clean_text(body))


def listed_schemas(tools: Iterable[ToolSchema], example: str) -> str:
    """Return the description of tools by their JSON schemas, with the form of a call."""
    schemas = "\n".join(json.dumps(tool.json_schema()) for tool in tools)
    return f"# Tools\n\nYou may call one or more of these tools:\n<tools>\n{schemas}\n</tools>\n\n{example}"


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
