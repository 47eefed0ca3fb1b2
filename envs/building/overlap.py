"""Exports that overlap: people export a chat or an account again and again, and what several files have is taken once.

A message that stood in two places could be trained on in one and asked about in the other.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from memrl.envs.building.exports import Message, Noted, Talk

RUN = 3
"""Messages in a row, of the same speakers, words and times, by which two files are known to have the same chat."""
AGAIN = "conversations and texts that were there before"
LONGER = "conversations that stand elsewhere with more messages"
MESSAGES_AGAIN = "messages that were there before"


def taken_once(files: Sequence[tuple[Sequence[Talk], Noted]]) -> list[list[Talk]]:
    """Return the talks of each file without what another has; what is left out is counted on its file.

    Of conversations that a program numbers, the longest of each number stays. One that is the beginning of another is
    left out. Of chats that overlap, the messages that an earlier file has are; the rest goes to the log of that one.
    """
    longest: dict[tuple[str, str], int] = {}
    ends: set[int] = set()
    for talk in (talk for talks, _ in files for talk in talks):
        ends.add(_content(talk))
        if talk.id:
            longest[talk.log, talk.id] = max(longest.get((talk.log, talk.id), 0), len(talk.messages))
    begun = _Held()
    for file, (talks, _) in enumerate(files):
        for talk in talks:
            for beginning in list(_beginnings(talk))[:-1]:
                if beginning in ends:
                    begun.add(beginning, file, talk)
    whole = _Held()
    seen: dict[Message, str] = {}
    kept: list[list[Talk]] = []
    for file, (talks, noted) in enumerate(files):
        rest: list[Talk] = []
        for talk in talks:
            content, numbered = _content(talk), hash((talk.log, talk.id, "number"))
            if talk.id and len(talk.messages) < longest[talk.log, talk.id]:
                noted.dropped[LONGER] += 1
                continue
            if begun.has(content, file, talk):
                noted.dropped[LONGER] += 1
            elif whole.has(content, file, talk) or (talk.id and whole.has(numbered, file, talk)):
                noted.dropped[AGAIN] += 1
            elif (new := _without(talk, seen, noted)) is not None:
                rest.append(new)
            whole.add(content, file, talk)
            whole.add(numbered, file, talk)
        # Only another file has the same again: who writes "ok" twice in a minute has written it twice.
        for talk in rest:
            for message in talk.messages:
                if message.time is not None:
                    seen.setdefault(message, talk.log)
        kept.append(rest)
    return kept


class _Held:
    """Places of contents. In one file two chats may well have the same message, and nobody exported it twice."""

    def __init__(self) -> None:
        self._places: dict[int, set[tuple[int, str]]] = {}

    def add(self, content: int, file: int, talk: Talk) -> None:
        self._places.setdefault(content, set()).add((file, talk.log))

    def has(self, content: int, file: int, talk: Talk) -> bool:
        """Return whether another file has it, or the same log."""
        return any(other != file or log == talk.log for other, log in self._places.get(content, ()))


def _content(talk: Talk) -> int:
    return hash(talk.text) if talk.text else next(reversed(list(_beginnings(talk))), 0)


def _beginnings(talk: Talk) -> Iterator[int]:
    """A hash of the first message, of the first two, and so on to all of them."""
    found = 0
    for message in talk.messages:
        found = hash((found, message))
        yield found


def _without(talk: Talk, seen: dict[Message, str], noted: Noted) -> Talk | None:
    """A talk without what an earlier file has of it, in that file's log; None where nothing is left."""
    logs = [seen.get(message) for message in talk.messages]
    runs = [(log, len(list(run))) for log, run in groupby(logs)]
    log, length = max(
        ((log, length) for log, length in runs if log is not None), key=lambda run: run[1], default=("", 0)
    )
    if not length or (length < RUN and length < len(logs)):
        return talk
    rest = tuple(message for message, of in zip(talk.messages, logs, strict=True) if of != log)
    if not rest:
        noted.dropped[AGAIN] += 1
        return None
    noted.dropped[MESSAGES_AGAIN] += len(logs) - len(rest)
    return replace(talk, log=str(log), messages=rest)
