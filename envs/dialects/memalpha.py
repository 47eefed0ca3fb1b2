"""The dialect of Mem-α's released model: `✿FUNCTION✿` and `✿ARGS✿`, and tools of other names and arguments."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from memrl.envs.dialects.calls import Unreadable, failed_call, json_spans, read_json, stray_call
from memrl.envs.dialects.thoughts import speech
from memrl.envs.searching import SEARCH
from memrl.envs.tools import ResultCode, ToolCall, ToolSchema, clean_text

_FUNCTION, _ARGUMENTS = "✿FUNCTION✿", re.compile("✿ARGS✿:?")
_MARK = re.compile("✿(?:FUNCTION|RESULT|RETURN)✿")


def _pieces(text: str) -> list[str]:
    """Return what each mark begins, up to the next one; a mark in the arguments' JSON is content and begins nothing."""
    spans = list(json_spans(text, _ARGUMENTS))
    starts = [mark.start() for mark in _MARK.finditer(text) if not _within(mark.start(), spans)]
    return [text[start:end] for start, end in pairwise([*starts, len(text)])]


def _within(place: int, spans: Sequence[tuple[int, int]]) -> bool:
    number = bisect_right(spans, (place, place)) - 1
    return number >= 0 and place < spans[number][1]


class MemAlphaDialect:
    """The format of Mem-α's released model (arXiv 2509.25911): Qwen-Agent's `✿FUNCTION✿` and `✿ARGS✿`, and tools of
    other names and arguments. Its calls become ours.

    Types of memory end in `_memory` there; the core paragraph is updated by its type and has no id.
    """

    name = "memalpha"
    own_tools = True
    _stores: Mapping[str, Any] = {"type": "string", "enum": ["core_memory", "semantic_memory", "episodic_memory"]}
    _tools: Mapping[str, ToolSchema] = {
        "memory_insert": ToolSchema(
            name="new_memory_insert",
            description="Add an item to semantic memory (facts) or episodic memory (events and when they were).",
            parameters={
                "memory_type": {"type": "string", "enum": ["semantic_memory", "episodic_memory"]},
                "content": {"type": "string"},
            },
            required=("memory_type", "content"),
        ),
        "memory_update": ToolSchema(
            name="memory_update",
            description="Write the core paragraph anew, or replace the text of an item.",
            parameters={
                "memory_type": dict(_stores),
                "new_content": {"type": "string"},
                "memory_id": {"type": "string", "description": "Of the item; not for core memory."},
            },
            required=("memory_type", "new_content"),
        ),
        "memory_delete": ToolSchema(
            name="memory_delete",
            description="Remove an item.",
            parameters={"memory_type": dict(_stores), "memory_id": {"type": "string"}},
            required=("memory_type", "memory_id"),
        ),
    }
    """By our name of what they do."""

    def parse(self, text: str, *, truncated: bool = False) -> list[ToolCall]:
        calls: list[ToolCall] = []
        text, thinking = speech(text, json_spans(text, _ARGUMENTS))
        pieces = _pieces(text)
        for number, piece in enumerate(pieces, 1):
            if not piece.startswith(_FUNCTION):
                continue
            name, *arguments = _ARGUMENTS.split(piece.removeprefix(_FUNCTION), maxsplit=1)
            name = name.removeprefix(":").strip().split("\n", 1)[0].strip()[:80]
            call = self._call(name, "".join(arguments))
            if call.error is ResultCode.MALFORMED and truncated and number == len(pieces) and not thinking:
                call = failed_call(piece, ResultCode.TRUNCATED, "the completion ended inside the call", call.name)
            calls.append(call)
        return [*calls, *stray_call(text[: text.find(pieces[0])] if pieces else text)]

    def _call(self, name: str, body: str) -> ToolCall:
        try:
            arguments = read_json(body)
        except Unreadable as error:
            return failed_call(body, error.code, str(error), name)
        if not isinstance(arguments, dict):
            return failed_call(body, ResultCode.BAD_ARGUMENTS, "arguments must be an object", name)
        return self._ours(ToolCall(name=clean_text(name), arguments=arguments, raw=clean_text(body)))

    def _ours(self, call: ToolCall) -> ToolCall:
        """The call by our names. What it has too much stays, and what it lacks is missing there too."""
        ours = next((name for name, tool in self._tools.items() if tool.name == call.name), None)
        if ours is None:
            return call
        arguments = dict(call.arguments)
        store = arguments.get("memory_type")
        if isinstance(store, str):
            arguments["memory_type"] = store.removesuffix("_memory")
        if ours != "memory_insert":
            arguments.pop("memory_type", None)
            if store == "core_memory":
                arguments["memory_id"] = "core"
            if "new_content" in arguments:
                arguments["content"] = arguments.pop("new_content")
        return call.model_copy(update={"name": ours, "arguments": arguments})

    def format(self, calls: Sequence[ToolCall]) -> str:
        return "\n".join(
            f"✿FUNCTION✿: {name}\n✿ARGS✿: {clean_text(json.dumps(arguments, ensure_ascii=False).replace('✿', ' '))}"
            for name, arguments in map(self._theirs, calls)
        )

    def _theirs(self, call: ToolCall) -> tuple[str, dict[str, Any]]:
        tool = self._tools.get(call.name)
        if tool is None:
            return call.name, call.arguments
        arguments = dict(call.arguments)
        if call.name == "memory_insert":
            arguments.pop("time", None)
            return tool.name, {**arguments, "memory_type": f"{arguments.get('memory_type')}_memory"}
        item = str(arguments.get("memory_id", ""))
        store = {"core": "core_memory", "epi_": "episodic_memory"}.get(item[:4], "semantic_memory")
        named = {} if store == "core_memory" else {"memory_id": item}
        content = {"new_content": arguments["content"]} if "content" in arguments else {}
        return tool.name, {"memory_type": store, **content, **named}

    def describe(self, tools: Sequence[ToolSchema]) -> str:
        offered = [
            self._tools.get(tool.name, tool) for tool in tools if tool.name in self._tools or tool.name == SEARCH
        ]
        schemas = "\n".join(json.dumps(tool.json_schema()["function"]) for tool in offered)
        return (
            f"# Tools\n\nYou may call one or more of these tools:\n\n{schemas}\n\nWrite each call as two lines:\n"
            "✿FUNCTION✿: the tool's name\n✿ARGS✿: its arguments as a JSON object"
        )
