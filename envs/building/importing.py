"""Taking exports: what is in a file, folder or archive, by which format, what is dropped, and the logs that come of
it.

A log is a chat, a channel, an account's conversations, or all the documents together. Whatever is wrong is a
`DataError` before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatch
from itertools import pairwise
from pathlib import Path

from memrl.envs.building.chunking import Unit
from memrl.envs.building.exports import AGAIN, Columns, ExportEntry, LogFormat, Message, Noted, Talk
from memrl.envs.building.prose import paragraphs
from memrl.envs.building.splitting import share_of
from memrl.envs.building.times import shown
from memrl.envs.errors import DataError
from memrl.envs.logs import LOG_FORMATS

HUB = "hub:"
"""What a name of a set on the hub begins with, in the place of a path: "hub:OWNER/NAME"."""
MEDIA = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".heic", ".mp4", ".mov", ".opus", ".mp3", ".m4a", ".ogg", ".wav",
         ".webm", ".vcf", ".tgs", ".aac", ".3gp", ".ico", ".svg", ".css", ".js", ".woff", ".woff2")  # fmt: skip
"""Ends of names of pictures, sounds, and what pages are laid out with."""
WRITTEN = (".txt", ".md", ".json", ".jsonl", ".csv", ".tsv", ".html", ".htm", ".pdf", ".zip", ".parquet")
"""Ends of names of files that should hold something."""
ENCRYPTED = (".crypt12", ".crypt14", ".crypt15", ".gpg", ".pgp", ".age", ".enc", ".7z", ".rar")


@dataclass
class Taken:
    """A file, or a folder that is one export, and what was read of it."""

    where: str
    format: str
    talks: list[Talk]
    noted: Noted

    @property
    def messages(self) -> int:
        return sum(len(talk.messages) for talk in self.talks)

    @property
    def texts(self) -> int:
        return sum(bool(talk.text) for talk in self.talks)

    @property
    def speakers(self) -> list[str]:
        """Return who speaks, in the order of the first words."""
        return list(dict.fromkeys(message.speaker for talk in self.talks for message in talk.messages))

    @property
    def times(self) -> list[datetime]:
        return [message.time for talk in self.talks for message in talk.messages if message.time is not None]


@dataclass
class Import:
    """All that was taken, and the files that no format knows."""

    root: str = ""
    """What was given."""
    taken: list[Taken] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    beside: int = 0
    """Files that exports have beside their logs (an account's settings, a page to look at)."""
    media: int = 0
    """Pictures, sounds and the like, which are left where they are."""


def take(path: str | Path, columns: Columns = Columns(), *, one_person: bool = False) -> Import:  # noqa: B008
    """Return what is in a file, a folder, or a set on the hub.

    Args:
        path: a file or folder, or `hub:OWNER/NAME` with an optional split (`hub:OWNER/NAME:train`).
        one_person: take logs in which one person alone speaks too.

    Raises:
        DataError: nothing there is known or has a text, something is damaged or encrypted, or one person alone speaks.
    """
    found = Import(str(path))
    if str(path).startswith(HUB):
        found.taken.append(_hub(str(path), columns))
    else:
        place = Path(path).expanduser()
        if not place.exists():
            raise DataError(f"{place} does not exist. Check the path after --from.")
        for entry, known in _walk(ExportEntry(place, str(place), columns), found):
            talks = [talk for talk in known.read(entry) if talk.messages or talk.text.strip()]
            if not talks:
                raise DataError(f"{entry.where} ({known.about}) holds no message and no text. {AGAIN}")
            found.taken.append(Taken(entry.where, known.name, talks, entry.noted))
    if not found.taken:
        raise DataError(unknown_export(path, found))
    _once(found)
    for taken in found.taken:
        _check(taken, one_person)
    if not any(taken.talks for taken in found.taken):
        raise DataError(f"{path} holds no message and no text. {AGAIN}")
    return found


def unknown_export(path: str | Path, found: Import | None = None) -> str:
    """Return what to say of files that no format knows."""
    names = "" if found is None else f" ({', '.join(found.unknown[:5]) or 'it is empty'})"
    return (
        f"{path}: no format of exports knows what is there{names}. Known are {', '.join(LOG_FORMATS.names())}; give "
        "the file as it was exported, or write it as docs/own-data.md says."
    )


def is_known(path: Path) -> bool:
    """Return whether some format knows what is there, or would refuse a file of it; only first bytes are read."""
    try:
        return any(True for _ in _walk(ExportEntry(path, str(path)), Import()))
    except DataError:
        return True


def _walk(entry: ExportEntry, found: Import) -> Iterator[tuple[ExportEntry, LogFormat]]:
    """The entries at and below one that a format knows; what none knows is noted."""
    if not entry.is_folder and entry.suffix in MEDIA:
        found.media += 1
        return
    if not entry.is_folder and entry.suffix in ENCRYPTED:
        raise DataError(
            f"{entry.where} is encrypted or packed in a way that is not read. Unpack it first; of WhatsApp, export "
            "each chat as text in the app (its .crypt backups are sealed)."
        )
    if not entry.is_folder and not entry.head and entry.suffix in WRITTEN:
        raise DataError(f"{entry.where} is empty. {AGAIN}")
    known = _format(entry)
    if known is not None:
        yield entry, known
    elif entry.is_folder or entry.is_zip:
        parts = entry.entries()
        beside = {pattern for part in parts if (of := _format(part)) is not None for pattern in of.beside}
        kept = [part for part in parts if not any(fnmatch(part.name, pattern) for pattern in beside)]
        found.beside += len(parts) - len(kept)
        for part in kept:
            yield from _walk(part, found)
    else:
        found.unknown.append(entry.where)


def _format(entry: ExportEntry) -> LogFormat | None:
    """The format of an entry. Files that accompany the conversations of an account are none."""
    formats = sorted(LOG_FORMATS.values(), key=lambda known: known.rank)
    return next((known for known in formats if known.knows(entry)), None)


def _once(found: Import) -> None:
    """Drop what stands in an earlier file too: people export an account again and again."""
    seen: set[int] = set()
    for taken in found.taken:
        new = []
        for talk in taken.talks:
            content = hash((talk.log, talk.messages, talk.text))
            if content not in seen:
                new.append(talk)
            seen.add(content)
        if again := len(taken.talks) - len(new):
            taken.noted.dropped["conversations and texts that were there before"] += again
        taken.talks = new


def _check(taken: Taken, one_person: bool) -> None:
    """Refuse, or drop where other logs remain, the logs in which one person alone speaks."""
    people: dict[str, set[str]] = {}
    for talk in taken.talks:
        people.setdefault(talk.log, set()).update(message.speaker for message in talk.messages)
    alone = {log: speakers for log, speakers in people.items() if len(speakers) == 1}
    if one_person or not alone:
        return
    if len(alone) == len(people):
        log, speakers = next(iter(alone.items()))
        raise DataError(
            f"{taken.where}: in {log!r} nobody but {next(iter(speakers))!r} says anything. If these are notes, take "
            "them as they are: one_person=true. If others spoke, export the chat again."
        )
    taken.noted.dropped["messages of logs in which one person alone speaks"] += sum(
        len(talk.messages) for talk in taken.talks if talk.log in alone
    )
    taken.talks = [talk for talk in taken.talks if talk.log not in alone]


def _hub(name: str, columns: Columns) -> Taken:
    from memrl.envs.building.published import hub_rows
    from memrl.envs.logs.table import talks_of_rows

    set_name, _, split = name.removeprefix(HUB).partition(":")
    entry = ExportEntry(Path(set_name), set_name, columns)
    talks = [talk for talk in talks_of_rows(hub_rows(set_name, split or "train"), entry) if talk.messages or talk.text]
    return Taken(name, "hub", talks, entry.noted)


def logs_of(found: Import, gap: timedelta) -> Iterator[tuple[str, list[Unit], frozenset[str]]]:
    """The logs of an import: name, units in the order of time with a section for each session, and who speaks.

    Args:
        gap: silence after which a session ends. Where no hours are known, a day is a session.
    """
    logs: dict[str, list[Talk]] = {}
    for taken in found.taken:
        for talk in taken.talks:
            logs.setdefault(talk.log, []).append(talk)
    for name, talks in logs.items():
        timed = all(talk.begin is not None for talk in talks)
        if timed:
            talks.sort(key=lambda talk: talk.begin or datetime.min)
        elif not any(talk.messages for talk in talks):
            talks.sort(key=lambda talk: share_of(talk.name))  # documents in no order: the last are a fair sample
        units: list[Unit] = []
        for number, talk in enumerate(talks):
            if talk.text:
                parts = paragraphs(talk.text)
                units += [Unit(part, (f"{number}:{n}",), section=f"{number}") for n, part in enumerate(parts)]
            for place, session in enumerate(sessions(talk.messages, gap)):
                units += _units(session, f"{number}.{place}")
        yield name, units, frozenset(message.speaker for talk in talks for message in talk.messages)


def sessions(messages: tuple[Message, ...], gap: timedelta) -> Iterator[list[Message]]:
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


def _units(session: list[Message], section: str) -> list[Unit]:
    """The messages of a session, all dated by its beginning, so that chunks may join them."""
    begin = next((message.time for message in session if message.time is not None), None)
    time = shown(begin) if begin is not None else None
    return [
        Unit(f"{message.speaker}: {message.text}", (f"{section}:{place}",), time, section, turn=True)
        for place, message in enumerate(session)
    ]
