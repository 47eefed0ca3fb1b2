"""The dialect of Llama 3.1 and its kin: a call is a bare JSON object with a name and `parameters`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from memrl.envs.dialects.calls import MAX_CALL_CHARS, call_of, failed_call, json_span, listed_schemas, stray_call
from memrl.envs.dialects.guided import calls_grammar, object_rule
from memrl.envs.dialects.thoughts import speech
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

PATIENCE = 64 * MAX_CALL_CHARS
_TAG = "<|python_tag|>"
_OPENING = re.compile(r'\{\s*"name"\s*:\s*"[^"\n]*"\s*,\s*"parameters"\s*:')
_BEGUN = re.compile(r'\{\s*(?:"(?:n(?:a(?:m(?:e(?:"[^{]*)?)?)?)?)?)?')
"""The beginning of an opening, as far as a completion that was cut off may have come."""


class LlamaJsonDialect:
    """Bare JSON objects with a name and `parameters`, several of them with semicolons between, with `<|python_tag|>`
    before them or without."""

    name = "llama_json"
    own_tools = False
    _tag = re.compile(r"<(?=\|python_tag\|>|/?think>)")

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        text, thinking = speech(text, ((start, end) for start, end in _spans(text) if end))
        cut = truncated and not thinking
        calls: list[ToolCall] = []
        unread: list[str] = []
        place = 0
        spans = _spans(text)
        for number, (start, end) in enumerate(spans, 1):
            unread.append(text[place:start])
            if end:
                calls.append(call_of(text[start:end], "parameters"))
                place = end
            else:
                last = number == len(spans)
                code = ResultCode.TRUNCATED if cut and last else ResultCode.MALFORMED
                why = "the completion ended inside the call" if cut and last else "the call's JSON object has no end"
                place = len(text) if last else spans[number][0]
                calls.append(failed_call(text[start:place], code, why))
        rest = text[place:]
        begun = rest.rfind("{") if cut else -1
        if begun >= 0 and _BEGUN.fullmatch(rest, begun):
            calls.append(failed_call(rest[begun:], ResultCode.TRUNCATED, "the completion ended inside the call"))
            rest = rest[:begun]
        over = "\n".join([*unread, rest])
        return [*calls, *stray_call(over.replace(_TAG, "") if calls else over)]

    def format(self, calls: Sequence[ToolCall]) -> str:
        return "; ".join(
            clean_text(
                self._tag.sub(
                    r"\\u003c", json.dumps({"name": call.name, "parameters": call.arguments}, ensure_ascii=False)
                )
            )
            for call in calls
        )

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        example = '{"name": <tool name>, "parameters": <arguments as a JSON object>}'
        return listed_schemas(tools, f"Write each call as a JSON object, and semicolons between calls:\n{example}")

    def grammar(self, tools: Sequence[ToolSchema], max_calls: int) -> str:
        """Return the grammar of no call, or up to `max_calls`."""
        return calls_grammar(object_rule(tools, "parameters"), "; ", max_calls)


def _spans(text: str) -> list[tuple[int, int]]:
    """Return where calls begin and end; 0 for an end that is not there. What stands in a call's strings begins none.

    Openings may stand within each other, and each that has no end is looked for to the end of all: after `PATIENCE`
    characters that were read in vain, the others count as having none.
    """
    found: list[tuple[int, int]] = []
    patience = max(PATIENCE, 4 * len(text))
    opening = _OPENING.search(text)
    while opening is not None:
        span = json_span(text, opening.start()) if patience > 0 else None
        if span is None:
            patience -= min(MAX_CALL_CHARS, len(text) - opening.start())
        found.append(span or (opening.start(), 0))
        opening = _OPENING.search(text, span[1] if span else opening.end())
    return found
