"""The order of what was said: by time where times are known, and beside its neighbours where they are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TypeVar

from memrl.envs.building.exports import Message, Noted, Talk

Item = TypeVar("Item")
NEWEST_FIRST = "newest first: read from its end"


def dated(items: Sequence[Item], time_of: Callable[[Item], datetime | None]) -> list[tuple[datetime | None, Item]]:
    """Return items, oldest first, each with its time; one without a time has its neighbour's, and stays beside it.

    The neighbour is the one that was said before. Items whose times mostly fall are turned round first, so that those
    of one time come in the order in which they were said. The time is None where no item has one.
    """
    known = [time for item in items if (time := time_of(item)) is not None]
    ordered = items[::-1] if falls(known) else items
    near = next((time for item in ordered if (time := time_of(item)) is not None), None)
    found: list[tuple[datetime | None, Item]] = []
    for item in ordered:
        near = time_of(item) or near
        found.append((near, item))
    return sorted(found, key=lambda pair: pair[0] or datetime.min)


def falls(times: Sequence[datetime]) -> bool:
    """Return whether times go from the newest to the oldest more often than the other way."""
    return sum((one > two) - (one < two) for one, two in pairwise(times)) > 0


def settled(talk: Talk, noted: Noted) -> Talk:
    """Return a talk whose messages stand in the order of time, and whose speakers' names are one line each."""
    messages = [
        message if message.speaker == (name := _name(message.speaker)) else replace(message, speaker=name)
        for message in talk.messages
    ]
    if not talk.ordered:
        if falls([message.time for message in messages if message.time is not None]) and len(messages) > 2:
            noted.note(NEWEST_FIRST)
        messages = [message for _, message in dated(messages, lambda message: message.time)]
    return replace(talk, messages=tuple(messages))


def _name(speaker: str) -> str:
    return " ".join(speaker.split()) or "unknown"


def note_undated(talks: Sequence[Talk], noted: Noted) -> None:
    """Note how many conversations have no time where others of their log have one."""
    timed = {talk.log for talk in talks if talk.begin is not None}
    undated = sum(bool(talk.messages) and talk.begin is None and talk.log in timed for talk in talks)
    if undated:
        noted.note(f"conversations without a time, read beside their neighbours: {undated:,}")


def sessions(messages: Sequence[Message], gap: timedelta) -> Iterator[list[Message]]:
    """The sessions of a conversation: a silence of `gap` ends one, and, where no hours are known, the day does."""
    if not messages:
        return
    session = [messages[0]]
    for before, message in pairwise(messages):
        if before.time is not None and message.time is not None:
            only_days = before.time.time() == message.time.time() == datetime.min.time()
            apart = before.time.date() != message.time.date() if only_days else abs(message.time - before.time) > gap
            if apart:
                yield session
                session = []
        session.append(message)
    yield session


def begin_of(messages: Sequence[Message]) -> datetime | None:
    """Return when the first message that says so was written."""
    return next((message.time for message in messages if message.time is not None), None)
