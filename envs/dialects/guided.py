"""Grammars of completions that are calls and nothing else, for dialects that write calls as JSON.

A grammar is Lark's form with JSON schemas in it, as llguidance reads it. It lets through what the dialect itself would
write: its keys in their order, its blanks, texts that are not empty.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from memrl.envs.tools import ToolSchema

_AS_IT_LIKES = '%llguidance {"no_forcing": true}\n'
"""Where only one text may follow, a model may part it into tokens as it has learned to."""


@runtime_checkable
class Guided(Protocol):
    """A dialect whose completions can be held to a grammar."""

    def grammar(self, tools: Sequence[ToolSchema], max_calls: int) -> str:
        """Return the grammar of no call, or up to `max_calls`."""
        ...


def calls_grammar(call: str, between: str, max_calls: int, *, opens: str = "", closes: str = "") -> str:
    """Return the grammar of nothing, or of up to so many calls.

    Args:
        call: the rule of one call.
        between: the text between two.
        opens: the text before the first.
        closes: the text behind the last.
    """
    first, sign, last = (json.dumps(text, ensure_ascii=False) for text in (opens, between, closes))
    more = f"({sign} call){{0,{max_calls - 1}}}" if max_calls > 1 else ""
    parts = [first if opens else "", "call", more, last if closes else ""]
    return f"{_AS_IT_LIKES}start: ({' '.join(filter(None, parts))})?\ncall: {call}\n"


def object_rule(tools: Sequence[ToolSchema], arguments: str, *, name_last: bool = False, first: str = "") -> str:
    """Return the rule of one call's JSON object.

    Args:
        arguments: the key of the arguments.
        name_last: the name follows the arguments.
        first: the argument that comes before the others.
    """
    schema = {
        "anyOf": [_call(tool, arguments, name_last=name_last, first=first) for tool in tools],
        "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "},
    }
    return f"%json {json.dumps(schema, ensure_ascii=False)}"


def _call(tool: ToolSchema, arguments: str, *, name_last: bool, first: str) -> dict[str, Any]:
    ordered = dict(sorted(tool.parameters.items(), key=lambda parameter: parameter[0] != first))
    given = _object({name: _text(described) for name, described in ordered.items()}, tool.required)
    keys = {"name": {"const": tool.name}, arguments: given}
    return _object(dict(reversed(keys.items())) if name_last else keys, tuple(keys))


def _text(described: dict[str, Any]) -> dict[str, Any]:
    return (
        {"type": "string", "enum": described["enum"]} if described.get("enum") else {"type": "string", "minLength": 1}
    )


def _object(properties: dict[str, Any], required: Sequence[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}
