"""Messages of a conversation as texts that a policy reads: a line each, with who says it, as in training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memrl.envs.building.message_lists import UNSPOKEN
from memrl.envs.tools import clean_text
from memrl.errors import DataError

Message = Mapping[str, Any]
"""A message as OpenAI's API has it: `role`, and `content` (text, parts, or null beside calls of tools); `name` says who
speaks."""


def said(messages: str | Message | Sequence[Message]) -> list[str]:
    """Return what was said, a text for each message: `user: I live in Bern.` A text of its own is taken as it is.

    What systems and tools say, calls of tools, and parts that are no text are left out.

    Raises:
        DataError: a message has no role, or a content that is none.
    """
    if isinstance(messages, str):
        texts = [messages]
    else:
        given = [messages] if isinstance(messages, Mapping) else list(messages)
        texts = [text for number, message in enumerate(given, 1) if (text := _text(message, number))]
    return [clean_text(text) for text in texts]


def message_text(content: Any, number: int = 1) -> str:
    """Return the text of a message's content; "" where it has none.

    Raises:
        DataError: it is neither text, nor parts, nor null.
    """
    if content is None:
        return ""
    if isinstance(content, str):
        return content.strip()
    if not isinstance(content, Sequence):
        raise DataError(f"message {number}: content is {type(content).__name__}; it must be text, parts or null.")
    parts = (
        part if isinstance(part, str) else part.get("text") if isinstance(part, Mapping) else None for part in content
    )
    return "\n".join(part.strip() for part in parts if isinstance(part, str) and part.strip())


def _text(message: Any, number: int) -> str:
    role = message.get("role") if isinstance(message, Mapping) else None
    if not isinstance(role, str) or not role:
        raise DataError(f"message {number} has no role. Each message needs role and content.")
    text = "" if role in UNSPOKEN else message_text(message.get("content"), number)
    name = message.get("name")
    return f"{name if isinstance(name, str) and name.strip() else role}: {text}" if text else ""
