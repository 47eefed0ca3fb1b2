"""Taking exports: what is in a file, folder or archive, by which format, what is dropped, and the logs that come of
it.

A log is a chat, a channel, an account's conversations, or all the documents together. Whatever is wrong is a
`DataError` before anything is built.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path

from memrl.envs.building.archives import ZipPlace
from memrl.envs.building.chunking import Unit
from memrl.envs.building.exports import AGAIN, MEDIA, Columns, ExportEntry, LogFormat, Message, Noted, Talk
from memrl.envs.building.ordering import begin_of, dated, note_undated, sessions, settled
from memrl.envs.building.overlap import taken_once
from memrl.envs.building.prose import paragraphs
from memrl.envs.building.splitting import share_of
from memrl.envs.building.times import shown
from memrl.envs.errors import DataError
from memrl.envs.logs import LOG_FORMATS

HUB = "hub:"
"""What a name of a set on the hub begins with, in the place of a path: "hub:OWNER/NAME"."""
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
    folders: set[Path] = field(default_factory=set)
    """Folders of the disk that were gone into: a link may lead back to one."""


def take(path: str | Path, columns: Columns = Columns(), *, one_person: bool = False) -> Import:  # noqa: B008
    """Return what is in a file, a folder, or a set on the hub.

    Args:
        path: a file or folder, or `hub:OWNER/NAME` with an optional split (`hub:OWNER/NAME:train`).
        one_person: take logs in which one person alone speaks too.

    Raises:
        DataError: nothing there is known or has a text, something is damaged or encrypted, or one person alone speaks.
    """
    found = Import(str(path))
    _check_encoding(columns.encoding)
    if str(path).startswith(HUB):
        found.taken.append(_hub(str(path), columns))
    else:
        place = Path(path).expanduser()
        if not place.exists():
            raise DataError(f"{place} does not exist. Check the path after --from.")
        for entry, known in _walk(ExportEntry(place, str(place), columns), found):
            talks = _talks(known.read(entry), entry.noted)
            if not talks:
                raise DataError(f"{entry.where} ({known.about}) holds no message and no text. {AGAIN}")
            found.taken.append(Taken(entry.where, known.name, talks, entry.noted))
    if not found.taken:
        raise DataError(unknown_export(path, found))
    _tell_apart(found)
    for taken, talks in zip(found.taken, taken_once([(one.talks, one.noted) for one in found.taken]), strict=True):
        taken.talks = talks
    _check(found, one_person)
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
    if not entry.is_readable or _gone_into(entry, found):
        found.unknown.append(entry.where)
        return
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


def _gone_into(entry: ExportEntry, found: Import) -> bool:
    """Return whether an entry is a folder of the disk that was gone into before; else it is now."""
    if isinstance(entry.place, ZipPlace) or not entry.is_folder:
        return False
    real = entry.place.resolve()
    again = real in found.folders
    found.folders.add(real)
    return again


def _format(entry: ExportEntry) -> LogFormat | None:
    """The format of an entry. Files that accompany the conversations of an account are none, and neither are pipes."""
    if not entry.is_readable:
        return None
    formats = sorted(LOG_FORMATS.values(), key=lambda known: known.rank)
    return next((known for known in formats if known.knows(entry)), None)


def _check_encoding(name: str | None) -> None:
    try:
        b"a".decode(name or "utf-8", errors="ignore")
    except (LookupError, ValueError) as error:
        raise DataError(f"there is no encoding of texts that is called {name!r}. Give another encoding=.") from error


def _talks(read: Iterable[Talk], noted: Noted) -> list[Talk]:
    """The talks that hold something, each in the order of time."""
    talks = [settled(talk, noted) for talk in read if talk.messages or talk.text.strip()]
    note_undated(talks, noted)
    return talks


def _tell_apart(found: Import) -> None:
    """Give chats of one name, which their program tells apart, logs of their own."""
    first: dict[str, str] = {}
    for taken in found.taken:
        for place, talk in enumerate(taken.talks):
            if talk.chat and first.setdefault(talk.log, talk.chat) != talk.chat:
                taken.talks[place] = replace(talk, log=f"{talk.log} ({talk.chat})")


def _check(found: Import, one_person: bool) -> None:
    """Refuse, or drop where other logs of the file remain, the logs in which one person alone speaks."""
    if one_person:
        return
    people: dict[str, set[str]] = {}
    for taken in found.taken:
        for talk in taken.talks:
            people.setdefault(talk.log, set()).update(message.speaker for message in talk.messages)
    for taken in found.taken:
        logs = dict.fromkeys(talk.log for talk in taken.talks)
        alone = [log for log in logs if len(people[log]) == 1]
        if alone and len(alone) == len(logs):
            raise DataError(
                f"{taken.where}: in {alone[0]!r} nobody but {next(iter(people[alone[0]]))!r} says anything. If these "
                "are notes, take them as they are: one_person=true. If others spoke, export the chat again."
            )
        if alone:
            taken.noted.dropped["messages of logs in which one person alone speaks"] += sum(
                len(talk.messages) for talk in taken.talks if talk.log in alone
            )
            taken.talks = [talk for talk in taken.talks if talk.log not in alone]


def _hub(name: str, columns: Columns) -> Taken:
    from memrl.envs.building.published import hub_rows
    from memrl.envs.logs.table import talks_of_rows

    set_name, _, split = name.removeprefix(HUB).partition(":")
    entry = ExportEntry(Path(set_name), set_name, columns)
    talks = _talks(talks_of_rows(hub_rows(set_name, split or "train"), entry), entry.noted)
    return Taken(name, "hub", talks, entry.noted)


def logs_of(found: Import, gap: timedelta) -> Iterator[tuple[str, list[Unit], frozenset[str]]]:
    """The logs of an import: name, units in the order of time with a section for each session, and who speaks.

    Args:
        gap: silence after which a session ends. Where no hours are known, a day is a session.
    """
    pieces: dict[str, list[tuple[datetime | None, Talk, list[Message]]]] = {}
    for taken in found.taken:
        logs: dict[str, list[Talk]] = {}
        for talk in taken.talks:
            logs.setdefault(talk.log, []).append(talk)
        for name, talks in logs.items():
            # A conversation that was taken up again is read where each of its sessions was, not where it began.
            for near, talk in dated(talks, lambda talk: talk.begin):
                held = pieces.setdefault(name, [])
                if talk.text:
                    held.append((near, talk, []))
                held += [(begin_of(session) or near, talk, session) for session in sessions(talk.messages, gap)]
    for name, read in pieces.items():
        if all(not session and time is None for time, _, session in read):
            read.sort(key=lambda piece: share_of(piece[1].name))  # documents in no order: the last are a fair sample
        else:
            read.sort(key=lambda piece: piece[0] or datetime.min)
        units: list[Unit] = []
        for number, (_, talk, session) in enumerate(read):
            if session:
                units += _units(session, f"{number}")
            else:
                parts = paragraphs(talk.text)
                units += [Unit(part, (f"{number}:{n}",), section=f"{number}") for n, part in enumerate(parts)]
        yield name, units, frozenset(message.speaker for _, _, session in read for message in session)


def _units(session: list[Message], section: str) -> list[Unit]:
    """The messages of a session, all dated by its beginning, so that chunks may join them."""
    begin = begin_of(session)
    time = shown(begin) if begin is not None else None
    return [
        Unit(f"{message.speaker}: {message.text}", (f"{section}:{place}",), time, section, turn=True)
        for place, message in enumerate(session)
    ]
