"""Lists of messages as chat models are trained and asked with: the form of OpenAI, and that of ShareGPT.

Used by the formats of files and by tables whose rows hold such a list.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from memrl.envs.building.exports import ExportEntry, Message
from memrl.envs.errors import DataError

TIMES = ("time", "timestamp", "created", "created_at", "create_time", "date")
SHAREGPT = {"human": "user", "user": "user", "gpt": "assistant", "chatgpt": "assistant", "bing": "assistant",
            "bard": "assistant", "assistant": "assistant", "system": "system", "tool": "tool",
            "function_call": "tool", "observation": "tool"}  # fmt: skip
"""Who speaks, by ShareGPT's words."""
UNSPOKEN = ("system", "developer", "tool", "function")
"""Roles whose words nobody said to anybody."""


def openai_messages(values: Any, entry: ExportEntry, where: str, *, time: Any = None) -> tuple[Message, ...]:
    """Return the messages of a list as OpenAI's API has it.

    Args:
        values: objects with `role`, and `content`: text, parts, or null beside tool calls. `name` says who speaks.
        time: of the whole list, for messages without one.

    Raises:
        DataError: it is no such list: the record, and what to do.
    """
    said = []
    for number, value in enumerate(_listed(values, where, "messages")):
        place = f"{where}, message {number}"
        role = value.get("role")
        if not isinstance(role, str):
            raise DataError(f"{place} has no role. Each message needs role and content; mend that record.")
        if role in UNSPOKEN:
            entry.drop("messages of systems and tools")
            continue
        text = content_text(value.get("content"), entry, place)
        if value.get("tool_calls") or value.get("function_call"):
            entry.drop("calls of tools")
        if not text:
            if not value.get("tool_calls") and not value.get("function_call"):
                entry.drop("messages without text")
            continue
        name = value.get("name")
        said.append(Message(name if isinstance(name, str) and name else role, text, _time(value, time, entry)))
    return tuple(said)


def sharegpt_messages(values: Any, entry: ExportEntry, where: str) -> tuple[Message, ...]:
    """Return the messages of a list of ShareGPT: objects with `from` and `value`.

    Raises:
        DataError: it is no such list: the record, and what to do.
    """
    said = []
    for number, value in enumerate(_listed(values, where, "conversations")):
        speaker, text = value.get("from"), value.get("value")
        if not isinstance(speaker, str) or not isinstance(text, str):
            raise DataError(
                f"{where}, message {number} has no {'from' if not isinstance(speaker, str) else 'value'}. A message of "
                "ShareGPT has both as text; mend that record."
            )
        role = SHAREGPT.get(speaker.casefold(), speaker)
        if role in UNSPOKEN:
            entry.drop("messages of systems and tools")
        elif not text.strip():
            entry.drop("messages without text")
        else:
            said.append(Message(role, text.strip(), _time(value, None, entry)))
    return tuple(said)


def content_text(content: Any, entry: ExportEntry, where: str) -> str:
    """Return the text of a message's content: text, null, or parts of which those that are no text are counted.

    Raises:
        DataError: it is none of these.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, Sequence):
        raise DataError(
            f"{where}: content is {type(content).__name__}; it must be text, parts or null. Mend that record."
        )
    texts = []
    for part in content:
        text = part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None
        if isinstance(text, str) and text.strip():
            texts.append(text.strip())
        elif isinstance(part, Mapping) and part.get("type") in ("text", "input_text", "output_text"):
            continue
        else:
            entry.drop("pictures, sounds and files in messages")
    return "\n".join(texts)


def _listed(values: Any, where: str, name: str) -> list[Mapping[str, Any]]:
    if isinstance(values, Mapping | str) or not isinstance(values, Sequence):
        raise DataError(f"{where}: {name} is no list. The file mixes forms, or is another's; mend that record.")
    for number, value in enumerate(values):
        if not isinstance(value, Mapping):
            raise DataError(f"{where}, message {number} is no object. Mend that record.")
    return list(values)


def _time(value: Mapping[str, Any], other: Any, entry: ExportEntry) -> datetime | None:
    return entry.time(next((value[name] for name in TIMES if value.get(name) is not None), other))
