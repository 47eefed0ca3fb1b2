"""Telegram Desktop's export as JSON: `result.json` of one chat, or of an account with all its chats."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from memrl.envs.building.exports import ExportEntry, LogFormat, Message, Talk
from memrl.envs.errors import DataError

DELETED = "Deleted account"


def _knows(entry: ExportEntry) -> bool:
    return entry.keys >= {"name", "type", "messages"} or bool(entry.keys & {"chats", "personal_information"})


def _read(entry: ExportEntry) -> Iterator[Talk]:
    if "messages" in entry.keys:
        yield from _chat(entry, next(chat for _, chat in entry.objects("Telegram's result.json", at="")), entry.where)
        return
    for part in ("chats", "left_chats"):
        for where, chat in entry.objects("Telegram's result.json", at=f"{part}.list.item", some=False):
            yield from _chat(entry, chat, where)


def _chat(entry: ExportEntry, chat: Mapping[str, Any], where: str) -> Iterator[Talk]:
    values = chat.get("messages")
    if not isinstance(values, list):
        raise DataError(f"{where} has no messages: it is no chat of Telegram's export. Export it again as JSON.")
    said = []
    for number, value in enumerate(values):
        if not isinstance(value, Mapping):
            raise DataError(f"{where}, message {number} is no object. Mend that record, or export again.")
        if value.get("type") != "message":
            entry.drop("service messages")
            continue
        text = _text(value.get("text"))
        if not text:
            entry.drop("messages without text (pictures, sounds, stickers)")
            continue
        said.append(
            Message(
                str(value.get("from") or DELETED), text, entry.time(value.get("date_unixtime") or value.get("date"))
            )
        )
    name = str(chat.get("name") or chat.get("id") or "chat")
    yield Talk(name, name, tuple(said), chat=str(chat.get("id") or ""))


def _text(text: Any) -> str:
    """The text of a message: a string, or strings and marked runs in turn."""
    if isinstance(text, list):
        runs = (
            run if isinstance(run, str) else run.get("text", "") if isinstance(run, Mapping) else "" for run in text
        )
        return "".join(map(str, runs)).strip()
    return text.strip() if isinstance(text, str) else ""


FORMAT = LogFormat(
    "telegram",
    "Telegram Desktop's export as JSON (result.json)",
    _knows,
    _read,
    0,
    beside=("messages*.html", "export_results.html", "css", "js", "images", "lists"),
)
