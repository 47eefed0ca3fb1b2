"""Claude's export: `conversations.json`, each conversation with its `chat_messages` in order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from memrl.envs.building.exports import ExportEntry, LogFormat, Message, Talk
from memrl.envs.errors import DataError

LOG = "claude"
ROLES = {"human": "user"}


def _read(entry: ExportEntry) -> Iterator[Talk]:
    for number, (where, record) in enumerate(entry.objects("Claude's conversations.json"), 1):
        values = record.get("chat_messages")
        if not isinstance(values, list) or not all(isinstance(value, Mapping) for value in values):
            raise DataError(
                f"{where} has no chat_messages: it is no conversation of Claude's export. Remove that record."
            )
        said = []
        for value in values:
            text = _text(value, entry)
            entry.drop("files beside messages", len(value.get("attachments") or ()) + len(value.get("files") or ()))
            if text:
                speaker = str(value.get("sender") or "unknown")
                time = entry.time(value.get("created_at") or record.get("created_at"))
                said.append(Message(ROLES.get(speaker, speaker), text, time))
            else:
                entry.drop("messages without text")
        name = str(record.get("uuid") or "")
        yield Talk(LOG, name or str(number), tuple(said), id=name)


def _text(value: Mapping[str, Any], entry: ExportEntry) -> str:
    """The text of a message: of its content's blocks of text, or, in older exports, its own."""
    blocks = [block for block in value.get("content") or () if isinstance(block, Mapping)]
    entry.drop("thoughts and calls of tools", sum(block.get("type") != "text" for block in blocks))
    texts = [str(block.get("text") or "").strip() for block in blocks if block.get("type") == "text"]
    return "\n\n".join(filter(None, texts)) or str("" if blocks else value.get("text") or "").strip()


FORMAT = LogFormat(
    "claude",
    "Claude's export (conversations.json, or the zip it comes in)",
    lambda entry: "chat_messages" in entry.keys,
    _read,
    0,
    beside=("users.json", "projects.json", "memories.json", "manifest.json"),
)
