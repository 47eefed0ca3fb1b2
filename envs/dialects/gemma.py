"""The dialect of Gemma 4: a call's name and its arguments in braces, texts between quotes that are special tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from memrl.envs.dialects.calls import MAX_CALL_CHARS, failed_call, listed_schemas
from memrl.envs.dialects.opened import Marks, Opened
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

_OPENS, _CLOSES, _QUOTE = "<|tool_call>", "<tool_call|>", '<|"|>'
_NAME = re.compile(r"\s*call:([\w.-]{1,80})\{")
_KEY = re.compile(r"\s*([\w.-]{1,80}):")
_BARE = re.compile(r"-?\d[\d.eE+-]{0,40}|true|false|null")
_NEXT = re.compile(r"\s*(?:,|(?=\}))")
_ENDS = re.compile(r"\s*\}\s*" + re.escape(_CLOSES))


class GemmaDialect:
    """`<|tool_call>call:NAME{KEY:VALUE}<tool_call|>`, with `<|"|>` before and after a value that is a text."""

    name = "gemma"
    own_tools = False
    _own = re.compile(r'<(?=\|"\|>)')

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        return _MARKS.parse(text, truncated=truncated)

    def format(self, calls: Sequence[ToolCall]) -> str:
        return "".join(f"{_OPENS}call:{call.name}{{{self._arguments(call)}}}{_CLOSES}" for call in calls)

    def _arguments(self, call: ToolCall) -> str:
        return ",".join(f"{name}:{_QUOTE}{self._text(call.arguments[name])}{_QUOTE}" for name in sorted(call.arguments))

    def _text(self, value: Any) -> str:
        text = clean_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        return self._own.sub("< ", text)

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = f"{_OPENS}call:TOOL_NAME{{ARGUMENT_NAME:{_QUOTE}its value{_QUOTE}}}{_CLOSES}"
        return listed_schemas(tools, f"Write each call as it stands here, arguments with commas between:\n{example}")


def _read(text: str, start: int) -> Opened:
    found = Opened(start, start + len(_OPENS))
    name = _NAME.match(text, found.end)
    if name is None:
        return found
    found.name, found.end = name[1], name.end()
    arguments: dict[str, Any] = {}
    while (ends := _ENDS.match(text, found.end)) is None:
        key = _KEY.match(text, found.end)
        value = None if key is None else _value(text, key.end(), found)
        if key is None or value is None:
            return found
        more = _NEXT.match(text, value[1])
        if more is None:
            return found
        arguments[key[1]] = value[0]
        found.end = more.end()
    found.end, found.whole = ends.end(), True
    raw, length = text[start : found.end], found.end - start
    if length > MAX_CALL_CHARS:
        why = f"the call has {length} characters, {MAX_CALL_CHARS} are allowed"
        found.calls.append(failed_call(raw, ResultCode.TOO_LONG, why, found.name))
    else:
        found.calls.append(ToolCall(name=found.name, arguments=arguments, raw=clean_text(raw)))
    return found


def _value(text: str, place: int, found: Opened) -> tuple[Any, int] | None:
    """Return the value at a place and where it ends; None where there is none."""
    if text.startswith(_QUOTE, place):
        begin = place + len(_QUOTE)
        end = text.find(_QUOTE, begin, begin + MAX_CALL_CHARS)
        if end < 0:
            return None
        found.content.append((begin, end))
        return clean_text(text[begin:end]), end + len(_QUOTE)
    bare = _BARE.match(text, place)
    if bare is None:
        return None
    try:
        return json.loads(bare[0]), bare.end()
    except ValueError:
        return None


_MARKS = Marks(
    opens=_OPENS,
    read=_read,
    closes=_CLOSES,
    cut="the completion ended inside the call",
    other="the call cannot be read as one of this form",
    with_mark=True,
)
