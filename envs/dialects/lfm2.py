"""The dialect of LFM2: a Python list of calls between special tokens."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Sequence
from typing import Any

from memrl.envs.dialects.calls import MAX_CALL_CHARS, failed_call, listed_schemas
from memrl.envs.dialects.opened import Marks, Opened
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

_OPENS, _CLOSES = "<|tool_call_start|>", "<|tool_call_end|>"
_LIST, _NEXT, _ENDS = re.compile(r"\s*\["), re.compile(r"\s*,\s*"), re.compile(r"\s*\]")
_NAME, _CLOSE = re.compile(r"\s*([A-Za-z_][\w.]{0,79})\s{0,8}\("), re.compile(r"\s*\)")
_KEY = re.compile(r"\s*([A-Za-z_]\w{0,79})\s{0,8}=\s*")
# A string, a number, or a word of Python's or JSON's.
_VALUE = re.compile(
    r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"|-?\d[\d.eE+-]{0,40}|(?:True|False|None|true|false|null)\b"
)
_WORDS = {"true": True, "false": False, "null": None}


class Lfm2Dialect:
    """A Python list of calls, their arguments by name, between `<|tool_call_start|>` and `<|tool_call_end|>`."""

    name = "lfm2"
    own_tools = False
    result_marks = ("<|tool_response_start|>", "<|tool_response_end|>")
    _tag = re.compile(r"<(?=\|tool_call_(?:start|end)\|>|/?think>)")

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        return _MARKS.parse(text, truncated=truncated)

    def format(self, calls: Sequence[ToolCall]) -> str:
        if not calls:
            return ""
        written = ", ".join(f"{call.name}({self._arguments(call)})" for call in calls)
        return f"{_OPENS}[{written}]{_CLOSES}"

    def _arguments(self, call: ToolCall) -> str:
        return ", ".join(f"{name}={self._value(value)}" for name, value in call.arguments.items())

    def _value(self, value: Any) -> str:
        text = clean_text(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        return self._tag.sub(r"\\x3c", repr(text))

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = f"{_OPENS}[TOOL_NAME(ARGUMENT_NAME='its value')]{_CLOSES}"
        return listed_schemas(tools, f"Write all calls as one Python list, arguments by name:\n{example}")


def _listed(text: str, start: int) -> Opened:
    listed = Opened(start, start + len(_OPENS))
    opens = _LIST.match(text, listed.end)
    place = None if opens is None else opens.end()
    while place is not None:
        place = _call(text, place, listed)
        if place is None:
            return listed
        more = _NEXT.match(text, place)
        if more is None:
            closes = _ENDS.match(text, place)
            listed.whole = closes is not None
            listed.end = place if closes is None else closes.end()
            return listed
        place = more.end()
    return listed


def _call(text: str, place: int, listed: Opened) -> int | None:
    """Read the call at a place into the list. Return where it ends; None where there is none."""
    name = _NAME.match(text, place)
    if name is None:
        return None
    arguments: dict[str, Any] = {}
    strings: list[tuple[int, int]] = []
    end = name.end()
    while (closes := _CLOSE.match(text, end)) is None:
        key = _KEY.match(text, end)
        value = None if key is None else _VALUE.match(text, key.end(), key.end() + MAX_CALL_CHARS)
        if key is None or value is None:
            return None
        try:
            arguments[key[1]] = _told(value[0])
        except (ValueError, SyntaxError):
            return None
        strings.append(value.span())
        more = _NEXT.match(text, value.end())
        end = value.end() if more is None else more.end()
        if more is None and _CLOSE.match(text, end) is None:
            return None
    listed.content += strings
    raw = clean_text(text[place : closes.end()])
    if len(raw) > MAX_CALL_CHARS:
        why = f"the call has {len(raw)} characters, {MAX_CALL_CHARS} are allowed"
        listed.calls.append(failed_call(raw, ResultCode.TOO_LONG, why, name[1]))
    else:
        listed.calls.append(ToolCall(name=name[1], arguments=arguments, raw=raw))
    listed.end = closes.end()
    return closes.end()


def _told(literal: str) -> Any:
    """Return the value of a literal. A string's escapes are Python's."""
    if literal in _WORDS:
        return _WORDS[literal]
    value = ast.literal_eval(literal)
    return clean_text(value) if isinstance(value, str) else value


_MARKS = Marks(
    opens=_OPENS,
    read=_listed,
    closes=_CLOSES,
    cut="the completion ended inside the list",
    other="the mark is followed by no list of calls",
)
