"""The dialect of Mistral's models: `[TOOL_CALLS]` and a JSON list of calls."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from memrl.envs.dialects.calls import call_of, failed_call, json_span, listed_schemas, stray_call
from memrl.envs.dialects.thoughts import speech
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

_MARK = "[TOOL_CALLS]"
_OPENS, _NEXT, _ENDS = re.compile(r"\s*\["), re.compile(r"\s*,\s*"), re.compile(r"\s*\]")


@dataclass
class _Listed:
    """A mark and what follows it: the places of the calls' objects, and where it ends; whole, where the list ends."""

    start: int
    objects: list[tuple[int, int]] = field(default_factory=list)
    end: int = 0
    whole: bool = False


class MistralDialect:
    """`[TOOL_CALLS]` and a JSON list of objects with a name and arguments. Ids of calls are read over."""

    name = "mistral"
    own_tools = False
    _tag = re.compile(r"\[(?=TOOL_CALLS\])|<(?=/?think>)")

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        text, thinking = speech(text, (span for listed in _lists(text) for span in listed.objects))
        calls: list[ToolCall] = []
        unread: list[str] = []
        place = 0
        lists = _lists(text)
        for number, listed in enumerate(lists, 1):
            unread.append(text[place : listed.start])
            calls += [call_of(text[start:end], "arguments") for start, end in listed.objects]
            place = listed.end
            if not listed.whole:
                last = number == len(lists)
                place = len(text) if last else lists[number].start
                cut = truncated and last and not thinking
                code = ResultCode.TRUNCATED if cut else ResultCode.MALFORMED
                why = "the completion ended inside the list" if cut else "the mark is followed by no JSON list of calls"
                calls.append(failed_call(text[listed.end : place], code, why))
        return [*calls, *stray_call("\n".join([*unread, text[place:]]))]

    def format(self, calls: Sequence[ToolCall]) -> str:
        if not calls:
            return ""
        listed = [{"name": call.name, "arguments": call.arguments} for call in calls]
        body = self._tag.sub(_escaped, json.dumps(listed, ensure_ascii=False))
        return clean_text(f"{_MARK} {body}")

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = _MARK + ' [{"name": <tool name>, "arguments": <arguments as a JSON object>}, ...]'
        return listed_schemas(tools, f"Write all calls as one JSON list behind a mark:\n{example}")


def _escaped(tag: re.Match[str]) -> str:
    return f"\\u{ord(tag[0]):04x}"


def _lists(text: str) -> list[_Listed]:
    found: list[_Listed] = []
    start = text.find(_MARK)
    while start >= 0:
        listed = _listed(text, start)
        found.append(listed)
        start = text.find(_MARK, listed.end)
    return found


def _listed(text: str, start: int) -> _Listed:
    listed = _Listed(start, end=start + len(_MARK))
    opens = _OPENS.match(text, listed.end)
    place = None if opens is None else opens.end()
    while place is not None:
        span = json_span(text, place)
        if span is None:
            break
        listed.objects.append(span)
        listed.end = span[1]
        more = _NEXT.match(text, span[1])
        place = None if more is None else more.end()
    closes = _ENDS.match(text, listed.end) if listed.objects else None
    if place is None and closes is not None:
        listed.end, listed.whole = closes.end(), True
    return listed
