"""The dialect of Gemma 4: a call's name and its arguments in braces, texts between quotes that are special tokens."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from memrl.envs.dialects.calls import MAX_CALL_CHARS, failed_call, listed_schemas, stray_call
from memrl.envs.dialects.thoughts import speech
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

_OPENS, _CLOSES, _QUOTE = "<|tool_call>", "<tool_call|>", '<|"|>'
_NAME = re.compile(r"\s*call:([\w.-]{1,80})\{")
_KEY = re.compile(r"\s*([\w.-]{1,80}):")
_BARE = re.compile(r"-?\d[\d.eE+-]{0,40}|true|false|null")
_NEXT = re.compile(r"\s*(?:,|(?=\}))")
_ENDS = re.compile(r"\s*\}\s*" + re.escape(_CLOSES))


@dataclass
class _Found:
    """A call's place, what it says, the places of its texts, and whether all of it could be read."""

    start: int
    end: int
    name: str = ""
    arguments: dict[str, Any] = field(default_factory=dict)
    texts: list[tuple[int, int]] = field(default_factory=list)
    whole: bool = False


class GemmaDialect:
    """`<|tool_call>call:NAME{KEY:VALUE}<tool_call|>`, with `<|"|>` before and after a value that is a text."""

    name = "gemma"
    own_tools = False
    _own = re.compile(r'<(?=\|"\|>)')

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        text, thinking = speech(text, (span for found in _found(text) for span in found.texts))
        calls: list[ToolCall] = []
        unread: list[str] = []
        place = 0
        everything = _found(text)
        for number, found in enumerate(everything, 1):
            unread.append(text[place : found.start])
            last = number == len(everything)
            limit = len(text) if last else everything[number].start
            place = found.end
            if not found.whole:
                closed = text.find(_CLOSES, found.end, limit)
                cut = truncated and last and not thinking and closed < 0
                code = ResultCode.TRUNCATED if cut else ResultCode.MALFORMED
                why = "the completion ended inside the call" if cut else "the call cannot be read as one of this form"
                place = limit if closed < 0 else closed + len(_CLOSES)
                calls.append(failed_call(text[found.start : place], code, why, found.name))
            elif found.end - found.start > MAX_CALL_CHARS:
                why = f"the call has {found.end - found.start} characters, {MAX_CALL_CHARS} are allowed"
                calls.append(failed_call(text[found.start : found.end], ResultCode.TOO_LONG, why, found.name))
            else:
                raw = clean_text(text[found.start : found.end])
                calls.append(ToolCall(name=found.name, arguments=found.arguments, raw=raw))
        rest = "\n".join([*unread, text[place:]])
        return [*calls, *stray_call(rest.replace(_CLOSES, "") if calls else rest)]

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


def _found(text: str) -> list[_Found]:
    everything: list[_Found] = []
    start = text.find(_OPENS)
    while start >= 0:
        found = _read(text, start)
        everything.append(found)
        start = text.find(_OPENS, found.end)
    return everything


def _read(text: str, start: int) -> _Found:
    found = _Found(start, start + len(_OPENS))
    name = _NAME.match(text, found.end)
    if name is None:
        return found
    found.name, found.end = name[1], name.end()
    while (ends := _ENDS.match(text, found.end)) is None:
        key = _KEY.match(text, found.end)
        value = None if key is None else _value(text, key.end(), found)
        if key is None or value is None:
            return found
        more = _NEXT.match(text, value[1])
        if more is None:
            return found
        found.arguments[key[1]] = value[0]
        found.end = more.end()
    found.end, found.whole = ends.end(), True
    return found


def _value(text: str, place: int, found: _Found) -> tuple[Any, int] | None:
    """Return the value at a place and where it ends; None where there is none."""
    if text.startswith(_QUOTE, place):
        begin = place + len(_QUOTE)
        end = text.find(_QUOTE, begin, begin + MAX_CALL_CHARS)
        if end < 0:
            return None
        found.texts.append((begin, end))
        return clean_text(text[begin:end]), end + len(_QUOTE)
    bare = _BARE.match(text, place)
    if bare is None:
        return None
    try:
        return json.loads(bare[0]), bare.end()
    except ValueError:
        return None
