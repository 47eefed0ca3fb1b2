"""Tool calls and what became of them. Every call that a model makes, however broken, ends as one `ToolResult`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field


class ResultCode(StrEnum):
    """The outcome of a call: success, or why it failed. The value is also its metric key (`tools/<code>`)."""

    OK = "ok"
    MALFORMED = "malformed"  # no JSON object, or no name in it
    UNKNOWN_TOOL = "unknown_tool"  # also a tool that exists but is not offered here
    BAD_ARGUMENTS = "bad_arguments"  # missing, superfluous or of the wrong type
    EMPTY = "empty"
    DUPLICATE = "duplicate"
    UNKNOWN_ID = "unknown_id"
    OVER_BUDGET = "over_budget"
    TOO_LONG = "too_long"
    TOO_MANY_CALLS = "too_many_calls"
    KEPT_APART = "kept_apart"  # by the wrapper `guard`: its text is an order
    TRUNCATED = "truncated"  # the completion hit its token limit inside a call


class ToolCall(BaseModel):
    """A call as the dialect read it. `error` is set where no call could be read at all."""

    model_config = ConfigDict(frozen=True)

    name: str = ""
    arguments: dict[str, Any] = Field(default_factory=dict)
    raw: str = ""
    error: ResultCode | None = None
    message: str = ""

    def kept(self) -> ToolCall:
        """Return it as a record keeps it: without the raw text, and each argument as a text that any file takes."""
        arguments = {clean_text(name): _as_text(value) for name, value in self.arguments.items()}
        return ToolCall(name=clean_text(self.name), arguments=arguments, error=self.error, message=self.message)


class ToolResult(BaseModel):
    """The result of one call. `ok` is true for exactly `ResultCode.OK`."""

    model_config = ConfigDict(frozen=True)

    name: str
    code: ResultCode
    message: str = ""
    item_id: str | None = None
    """The item that was written or deleted, where the call succeeded."""
    store: str | None = None
    content: str | None = None
    """The text that was written, where the call succeeded. Empty where an item was changed and its text was not
    (linked, say, or closed); None where it is gone."""
    time: str | None = None
    """The time that the item bears which was written, where it bears one and its design tells it."""

    @property
    def ok(self) -> bool:
        return self.code is ResultCode.OK


@dataclass(frozen=True)
class ToolSchema:
    """A tool as it is offered to the model. All parameters are strings; `enum` limits their values."""

    name: str
    description: str
    parameters: dict[str, dict[str, Any]]
    required: tuple[str, ...]
    effect: Literal["adds", "changes", "both"] = "both"
    """`adds`: a call only adds to the memory, each time again. `changes`: it takes the place of something or takes it
    away, and a second such call does nothing more. `both`: it may do either. No model is shown this."""

    def json_schema(self) -> dict[str, Any]:
        """The form that chat templates and OpenAI-compatible servers take."""
        parameters = {"type": "object", "properties": self.parameters, "required": list(self.required)}
        function = {"name": self.name, "description": self.description, "parameters": parameters}
        return {"type": "function", "function": function}


def clean_text(text: str) -> str:
    """Replace lone surrogates (JSON can spell them), which no file, tokenizer or pydantic model takes."""
    return text.encode("utf-8", "replace").decode("utf-8")


def _as_text(value: Any) -> str:
    """Return an argument as text; of a list or an object, which a model may nest without end, that it is one."""
    if isinstance(value, str):
        return clean_text(value)
    return f"({type(value).__name__})" if isinstance(value, list | dict) else repr(value)[:80]


def check_arguments(schema: ToolSchema, arguments: dict[str, Any]) -> str | None:
    """The first thing wrong with a call's arguments, or None."""
    for name in schema.required:
        if name not in arguments:
            return f"argument {name!r} is missing"
    for name, value in arguments.items():
        if name not in schema.parameters:
            return f"argument {name[:80]!r} is not known; known: {', '.join(schema.parameters)}"
        if value is None and name not in schema.required:  # as if it had been left out
            continue
        if not isinstance(value, str):
            return f"argument {name!r} must be a string, got {type(value).__name__}"
        allowed = schema.parameters[name].get("enum")
        if allowed and value.strip() not in allowed:
            return f"argument {name!r} must be one of {', '.join(allowed)}, got {value[:80]!r}"
    return None
