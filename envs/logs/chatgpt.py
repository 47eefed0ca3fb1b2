"""ChatGPT's export: `conversations.json`, where each conversation is a tree of messages.

The branch that ends at `current_node` is what the user last saw; answers that were generated anew, and messages that
were edited, stand on other branches, and are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from memrl.envs.building.exports import ExportEntry, LogFormat, Message, Talk
from memrl.envs.building.message_lists import UNSPOKEN, content_text
from memrl.envs.errors import DataError

LOG = "chatgpt"


def _read(entry: ExportEntry) -> Iterator[Talk]:
    for number, (where, record) in enumerate(entry.objects("ChatGPT's conversations.json"), 1):
        mapping = record.get("mapping")
        if not isinstance(mapping, Mapping):
            raise DataError(f"{where} has no mapping: it is no conversation of ChatGPT's export. Remove that record.")
        branch = _branch(mapping, record.get("current_node"), where)
        entry.drop("messages on branches that were left", _written(mapping.values()) - _written(branch))
        said = tuple(message for node in branch if (message := _message(node.get("message"), entry, where)) is not None)
        name = str(record.get("id") or record.get("conversation_id") or "")
        messages = _dated(said, entry.time(record.get("create_time")))
        yield Talk(LOG, name or str(number), messages, id=name, ordered=True)


def _branch(mapping: Mapping[str, Any], current: Any, where: str) -> list[Mapping[str, Any]]:
    """The nodes from the root to `current_node`; where there is none, to the leaf that was written last."""
    node = current if current in mapping else _last_leaf(mapping)
    branch: list[Mapping[str, Any]] = []
    seen: set[str] = set()
    while node is not None:
        if node in seen:
            raise DataError(f"{where}: node {node!r} is its own ancestor. Remove that record, or export again.")
        if not isinstance(mapping.get(node), Mapping):
            raise DataError(f"{where}: node {node!r} is missing from the tree. Remove that record, or export again.")
        seen.add(node)
        branch.append(mapping[node])
        node = mapping[node].get("parent")
    return branch[::-1]


def _last_leaf(mapping: Mapping[str, Any]) -> str | None:
    leaves = [name for name, node in mapping.items() if isinstance(node, Mapping) and not node.get("children")]
    return max(leaves, key=lambda name: (mapping[name].get("message") or {}).get("create_time") or 0, default=None)


def _written(nodes: Any) -> int:
    found = 0
    for node in nodes:
        message = node.get("message") if isinstance(node, Mapping) else None
        author = message.get("author") if isinstance(message, Mapping) else None
        found += isinstance(author, Mapping) and author.get("role") not in UNSPOKEN
    return found


def _message(message: Any, entry: ExportEntry, where: str) -> Message | None:
    if not isinstance(message, Mapping):
        return None  # a root has none
    role = (message.get("author") or {}).get("role")
    content = message.get("content") or {}
    hidden = (message.get("metadata") or {}).get("is_visually_hidden_from_conversation")
    if role in UNSPOKEN or hidden or message.get("recipient") not in (None, "all"):
        entry.drop("messages of systems and tools")
        return None
    if content.get("content_type") not in ("text", "multimodal_text"):
        entry.drop("thoughts, code and other content that is no text")
        return None
    text = content_text(content.get("parts"), entry, where)
    if not text:
        entry.drop("messages without text")
        return None
    return Message(str(role), text, entry.time(message.get("create_time")))


def _dated(said: tuple[Message, ...], time: datetime | None) -> tuple[Message, ...]:
    """The messages, those without a time dated by the conversation's."""
    return tuple(Message(message.speaker, message.text, message.time or time) for message in said)


FORMAT = LogFormat(
    "chatgpt",
    "ChatGPT's export (conversations.json, or the zip it comes in)",
    lambda entry: "mapping" in entry.keys,
    _read,
    0,
    beside=("chat.html", "user*.json", "message_feedback.json", "model_comparisons.json", "shared_conversations.json",
            "group_chats.json", "export_manifest.json", "sora.json", "shopping.json"),
)  # fmt: skip
