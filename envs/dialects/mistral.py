"""The dialect of Mistral's models: `[TOOL_CALLS]` and a JSON list of calls."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from memrl.envs.dialects.calls import call_of, json_span, listed_schemas
from memrl.envs.dialects.guided import calls_grammar, object_rule
from memrl.envs.dialects.opened import Marks, Opened
from memrl.envs.tools import ToolCall, ToolSchema, clean_text

_MARK = "[TOOL_CALLS]"
_OPENS, _NEXT, _ENDS = re.compile(r"\s*\["), re.compile(r"\s*,\s*"), re.compile(r"\s*\]")


class MistralDialect:
    """`[TOOL_CALLS]` and a JSON list of objects with a name and arguments. Ids of calls are read over."""

    name = "mistral"
    own_tools = False
    result_marks = ("[TOOL_RESULTS]", "[/TOOL_RESULTS]")
    _tag = re.compile(r"\[(?=TOOL_CALLS\])|<(?=/?think>)")

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        return _MARKS.parse(text, truncated=truncated)

    def format(self, calls: Sequence[ToolCall]) -> str:
        if not calls:
            return ""
        listed = [{"name": call.name, "arguments": call.arguments} for call in calls]
        body = self._tag.sub(_escaped, json.dumps(listed, ensure_ascii=False))
        return clean_text(f"{_MARK} {body}")

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = _MARK + ' [{"name": <tool name>, "arguments": <arguments as a JSON object>}, ...]'
        return listed_schemas(tools, f"Write all calls as one JSON list behind a mark:\n{example}")

    def grammar(self, tools: Sequence[ToolSchema], max_calls: int) -> str:
        """Return the grammar of no call, or up to `max_calls`."""
        return calls_grammar(object_rule(tools, "arguments"), ", ", max_calls, opens=f"{_MARK} [", closes="]")


def _escaped(tag: re.Match[str]) -> str:
    return f"\\u{ord(tag[0]):04x}"


def _listed(text: str, start: int) -> Opened:
    listed = Opened(start, start + len(_MARK))
    opens = _OPENS.match(text, listed.end)
    place = None if opens is None else opens.end()
    while place is not None:
        span = json_span(text, place)
        if span is None:
            break
        listed.content.append(span)
        listed.calls.append(call_of(text[slice(*span)], "arguments"))
        listed.end = span[1]
        more = _NEXT.match(text, span[1])
        place = None if more is None else more.end()
    closes = _ENDS.match(text, listed.end) if listed.calls else None
    if place is None and closes is not None:
        listed.end, listed.whole = closes.end(), True
    return listed


_MARKS = Marks(
    opens=_MARK,
    read=_listed,
    closes="",
    cut="the completion ended inside the list",
    other="the mark is followed by no JSON list of calls",
)
