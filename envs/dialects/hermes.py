"""The dialect of Qwen and Hermes models: `<tool_call>` blocks with one JSON object each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from memrl.envs.dialects.calls import Unreadable, failed_call, json_span, json_spans, read_json, stray_call
from memrl.envs.dialects.thoughts import speech
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

_OPENS, _CLOSES = "<tool_call>", "</tool_call>"
_OPENING = re.compile(_OPENS)


class HermesDialect:
    """`<tool_call>` blocks with one JSON object each, as Qwen and Hermes models write them."""

    name = "hermes"
    own_tools = False
    _tag = re.compile(r"<(?=/?(?:tool_call|think)>)")

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        calls: list[ToolCall] = []
        unread: list[str] = []
        text, thinking = speech(text, json_spans(text, _OPENING))
        end = 0
        opened = text.find(_OPENS)
        while opened >= 0:
            unread.append(text[end:opened])
            body = opened + len(_OPENS)
            span = json_span(text, body)  # marks within it are content
            ends = body if span is None else span[1]
            opened = text.find(_OPENS, ends)
            closed = text.find(_CLOSES, ends, opened if opened >= 0 else len(text))
            end = opened if opened >= 0 else len(text)
            if closed >= 0:
                call, end = _parse_call(text[body:closed]), closed + len(_CLOSES)
            elif truncated and opened < 0 and not thinking:
                call = failed_call(text[body:], ResultCode.TRUNCATED, "the completion ended inside the call")
            else:
                call = failed_call(text[body:end], ResultCode.MALFORMED, "</tool_call> is missing")
            calls.append(call)
        rest = "\n".join([*unread, text[end:]])
        # A closing tag too many is no call beside the one that it may belong to.
        return [*calls, *stray_call(rest.replace(_CLOSES, "") if calls else rest)]

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


def _parse_call(body: str) -> ToolCall:
    try:
        parsed = read_json(body)
    except Unreadable as error:
        return failed_call(body, error.code, str(error))
    if not isinstance(parsed, dict) or not isinstance(parsed.get("name"), str):
        return failed_call(body, ResultCode.MALFORMED, "a call is an object with a name and arguments")
    name = parsed["name"][:80]
    arguments = parsed.get("arguments", {})
    if not isinstance(arguments, dict):
        return failed_call(body, ResultCode.BAD_ARGUMENTS, "arguments must be an object", name)
    return ToolCall(name=name, arguments=arguments, raw=clean_text(body))
