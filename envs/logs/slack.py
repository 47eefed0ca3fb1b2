"""Slack's export, a zip or its folder: people in `users.json`, and for each channel a folder with a file a day."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping
from typing import Any

from memrl.envs.building.exports import ExportEntry, LogFormat, Message, Talk

LISTS = ("channels.json", "groups.json", "dms.json", "mpims.json")
SPOKEN = (None, "thread_broadcast", "me_message", "file_share", "bot_message")
"""Subtypes of messages that somebody wrote; all others tell what happened to a channel."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d\.json")
_MARK = re.compile(r"<([^<>|]{1,500})(?:\|([^<>]{0,500}))?>")


def _knows(entry: ExportEntry) -> bool:
    if not (entry.is_folder or entry.is_zip):
        return False
    names = {found.name for found in entry.entries()}
    return "users.json" in names and bool(names & {*LISTS, "integration_logs.json"})


def _read(entry: ExportEntry) -> Iterator[Talk]:
    parts = {part.name: part for part in entry.entries()}
    people = {str(user.get("id")): _name(user) for _, user in parts["users.json"].objects("Slack's users.json")}
    for channel in parts.values():
        if channel.is_folder:
            yield from _channel(entry, channel, people)


def _channel(entry: ExportEntry, channel: ExportEntry, people: Mapping[str, str]) -> Iterator[Talk]:
    said = []
    for day in channel.entries():
        if not _DAY.fullmatch(day.name):
            entry.drop("files that are no day of a channel")
            continue
        if day.head.strip() == b"[]":
            continue
        for _, value in day.objects("a day of Slack's export"):
            text = _plain(str(value.get("text") or ""), people)
            if value.get("type") != "message" or value.get("subtype") not in SPOKEN:
                entry.drop("messages of the system (joined, left, topic set)")
            elif not text:
                entry.drop("messages without text")
            else:
                said.append(Message(_speaker(value, people), text, entry.time(value.get("ts"))))
    if said:
        yield Talk(channel.name, channel.name, tuple(said))


def _name(user: Mapping[str, Any]) -> str:
    profile = user.get("profile") or {}
    names = (
        profile.get("display_name"),
        user.get("real_name"),
        profile.get("real_name"),
        user.get("name"),
        user.get("id"),
    )
    return str(next(name for name in (*names, "unknown") if name))


def _speaker(value: Mapping[str, Any], people: Mapping[str, str]) -> str:
    user = str(value.get("user") or "")
    profile = value.get("user_profile") or {}
    return people.get(user) or str(profile.get("real_name") or value.get("username") or user or "unknown")


def _plain(text: str, people: Mapping[str, str]) -> str:
    """The text with people, channels and links as they are read: `<@U1>` is a name, `<https://x|here>` is "here"."""

    def read(mark: re.Match[str]) -> str:
        target, label = mark[1], mark[2]
        if target.startswith("@"):
            return "@" + (label or people.get(target[1:], target[1:]))
        return ("#" if target.startswith("#") else "") + label if label else target.lstrip("#!")

    return html.unescape(_MARK.sub(read, text)).strip()


FORMAT = LogFormat("slack", "Slack's export (zip or folder)", _knows, _read, 0)
