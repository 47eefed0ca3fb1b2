"""The dialect of Qwen and Hermes models: `<tool_call>` blocks with one JSON object each."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from memrl.envs.dialects.calls import call_of, failed_call, json_span, json_spans, listed_schemas, stray_call
from memrl.envs.dialects.guided import calls_grammar, object_rule
from memrl.envs.dialects.thoughts import speech
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

_OPENS, _CLOSES = "<tool_call>", "</tool_call>"
_OPENING = re.compile(_OPENS)


class HermesDialect:
    """`<tool_call>` blocks with one JSON object each, as Qwen and Hermes models write them."""

    name = "hermes"
    own_tools = False
    result_marks = ("<tool_response>", "</tool_response>")
    _shown = '{"name": <tool name>, "arguments": <arguments as a JSON object>}'
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
                call, end = call_of(text[body:closed], "arguments"), closed + len(_CLOSES)
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
            body = json.dumps(self._written(call), ensure_ascii=False)
            body = clean_text(self._tag.sub(r"\\u003c", body))  # our own tags in a content must not end the call
            blocks.append(f"<tool_call>\n{body}\n</tool_call>")
        return "\n".join(blocks)

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = f"<tool_call>\n{self._shown}\n</tool_call>"
        return listed_schemas(tools, f"Write each call as a JSON object between tags:\n{example}")

    def grammar(self, tools: Sequence[ToolSchema], max_calls: int) -> str:
        """Return the grammar of no call, or up to `max_calls`."""
        rule = f'"{_OPENS}\\n" body "\\n{_CLOSES}"\nbody: {self._body(tools)}'
        return calls_grammar(rule, "\n", max_calls)

    def _body(self, tools: Sequence[ToolSchema]) -> str:
        return object_rule(tools, "arguments")

    def _written(self, call: ToolCall) -> dict[str, Any]:
        return {"name": call.name, "arguments": call.arguments}


class ContentFirstDialect(HermesDialect):
    """`hermes` in another order: the arguments before the name, and the content before all else, so that a model can
    decide what becomes of a sentence when it has written it. Both read either order."""

    name = "hermes_content_first"
    _shown = '{"arguments": <arguments as a JSON object>, "name": <tool name>}'

    def _body(self, tools: Sequence[ToolSchema]) -> str:
        return object_rule(tools, "arguments", name_last=True, first="content")

    def _written(self, call: ToolCall) -> dict[str, Any]:
        arguments = dict(sorted(call.arguments.items(), key=lambda argument: argument[0] != "content"))
        return {"arguments": arguments, "name": call.name}
