"""WhatsApp's "export chat": a text file, of iPhones with brackets (`[5/3/25, 10:14:33] Ana: hi`), of Android with a
dash (`05.03.25, 10:14 - Ana: hi`), with dates and hours in the manner of the phone's language.

A line that begins with no date goes on with the message before it. Which number is the day is told from all dates of
the file together; where they do not tell, from the hours (12 hours with AM and PM: month first), and it is said.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from memrl.envs.building.exports import ExportEntry, LogFormat, Message, Talk
from memrl.envs.errors import DataError

_HALF = r"[APap]\.?[ ]?[Mm]\.?|上午|下午|午前|午後|오전|오후"
_WHEN = (
    r"(?P<a>\d{1,4})[./\-](?P<b>\d{1,2})[./\-](?P<c>\d{1,4})\.?,?[ ]{1,2}(?P<before>上午|下午|午前|午後|오전|오후)?[ ]?"
    rf"(?P<hour>\d{{1,2}})[:.](?P<minute>\d\d)(?:[:.](?P<second>\d\d))?(?:[ ]?(?P<after>{_HALF}))?"
)
_LINE = re.compile(rf"(?:\[{_WHEN}\] ?|{_WHEN.replace('?P<', '?P<a_')} [-–] )(?P<rest>.*)", re.DOTALL)
_SAID = re.compile(r"(?P<speaker>[^:\n]{1,60}): ?(?P<text>.*)", re.DOTALL)
_BLANKS = str.maketrans({"\u202f": " ", "\u00a0": " ", "\u2009": " "})
_UNSEEN = re.compile(r"^[\u200e\u200f\u202a-\u202e\ufeff]+")
_SYSTEM = "\u200e"
"""What iPhones write before words of the program: media that is omitted, notes on encryption."""
_KINDS = (
    "jpe?g|png|webp|gif|heic|mp4|3gp|mov|avi|mkv|webm|opus|ogg|mp3|m4a|aac|amr|wav|pdf|vcf|docx?|xlsx?|pptx?|odt|ods"
    "|odp|rtf|csv|txt|md|json|xml|html?|epub|zip|rar|7z|apk|ics|svg"
)
_ATTACHED = (
    "attached|angehängt|adjunt|joint|allegat|anexad|bijgevoegd|bifoga|vedhæft|vedlagt|liitet|dołącz|załącz|přilož|prilož"
    "|csatol|ataşat|atașat|anexat|eklen|прикреп|влож|прикріп|συνημμέν|מצורף|مرفق|संलग्न|附件|添付|첨부|terlampir|đính kèm"
)
_MEDIA = re.compile(
    rf"<[^<>\n]{{1,80}}>|(?:[A-Z]{{3}}-\d{{8}}-WA\d{{4,5}}\.(?:{_KINDS}) \([^()\n]{{1,40}}\))"
    rf"|[^\n]{{1,200}}\.(?:{_KINDS}) \([^()\n]{{0,30}}(?:{_ATTACHED})[^()\n]{{0,30}}\)|null",
    re.IGNORECASE,
)
"""A message that is nothing but a file: "<Media omitted>", "IMG-1.jpg (file attached)". A file is known by the name
that WhatsApp gives it, in every language, or by the words that say so: "see python.org (the docs)" is somebody's."""
_AFTERNOON = ("下午", "午後", "오후")
_DELETED = ("This message was deleted", "You deleted this message", "Diese Nachricht wurde gelöscht",
            "Du hast diese Nachricht gelöscht", "Se eliminó este mensaje", "Eliminaste este mensaje",
            "Ce message a été supprimé", "Questo messaggio è stato eliminato", "Mensagem apagada")  # fmt: skip
_EDITED = re.compile(r"[ \u200e]*<[^<>\n]{0,40}(?:edited|bearbeitet|editó|modifié|modificato|editada)[^<>\n]{0,20}>$")
ORDERS = {"dmy": (2, 1, 0), "mdy": (2, 0, 1), "ymd": (0, 1, 2)}
"""Where year, month and day stand among a date's three numbers."""


@dataclass
class _Line:
    """A message, or a line of the program, as it stands in the file."""

    number: int
    date: tuple[int, int, int]
    time: tuple[int, int, int]
    half: str
    rest: str


def _matched(line: str) -> re.Match[str] | None:
    return _LINE.match(_UNSEEN.sub("", line).translate(_BLANKS))


def _knows(entry: ExportEntry) -> bool:
    if entry.is_folder or entry.suffix != ".txt" or b"\0" in entry.head[:64].replace(b"\xff\xfe", b"")[1::2][:1]:
        return False
    try:
        lines = entry.head.decode(entry.encoding, errors="ignore").splitlines()
    except DataError:
        return False
    first = [line for line in lines[:20] if line.strip()]
    return bool(first) and _matched(first[0]) is not None


def _lines(entry: ExportEntry) -> list[_Line]:
    found: list[_Line] = []
    rests: list[list[str]] = []
    for number, line in enumerate(entry.text().split("\n"), 1):
        match = _matched(line)
        if match is None:
            if found:
                rests[-1].append(line)
            continue
        mark = "" if match["a"] else "a_"
        rests.append([match["rest"]])
        of = {name: match[mark + name] for name in ("a", "b", "c", "before", "hour", "minute", "second", "after")}
        found.append(
            _Line(
                number,
                (int(of["a"]), int(of["b"]), int(of["c"])),
                (int(of["hour"]), int(of["minute"]), int(of["second"] or 0)),
                of["before"] or of["after"] or "",
                "",
            )
        )
    for one, rest in zip(found, rests, strict=True):
        one.rest = "\n".join(rest)
    return found


def date_order(dates: Sequence[tuple[int, int, int]], twelve_hours: bool) -> tuple[str, bool]:
    """Return the order of a file's dates ("dmy", "mdy", "ymd"), and whether they tell it.

    Args:
        dates: their three numbers as they stand, in the order of the file.
        twelve_hours: hours are written with AM and PM.
    """
    if any(date[0] > 31 for date in dates):
        return "ymd", True
    if any(date[0] > 12 for date in dates):
        return "dmy", True
    if any(date[1] > 12 for date in dates):
        return "mdy", True
    rising = [name for name in ("dmy", "mdy") if _rises(dates, ORDERS[name])]
    if len(rising) == 1:
        return rising[0], True
    return ("mdy" if twelve_hours else "dmy"), False


def _rises(dates: Sequence[tuple[int, int, int]], order: tuple[int, int, int]) -> bool:
    days = [tuple(date[place] for place in order) for date in dates]
    return all(before <= after for before, after in pairwise(days))


def _moment(line: _Line, order: str, where: str) -> datetime:
    year, month, day = (line.date[place] for place in ORDERS[order])
    hour = line.time[0]
    if line.half:
        late = line.half in _AFTERNOON or line.half[0] in "Pp"
        hour = hour % 12 + 12 * late
    try:
        return datetime(year if year > 99 else 2000 + year, month, day, hour, *line.time[1:])
    except ValueError as error:
        raise DataError(
            f"{where}, line {line.number}: {'-'.join(map(str, line.date))} is no date in the order {order} ({error}). "
            "Say how dates are written: dates=dmy, mdy or ymd."
        ) from error


def _read(entry: ExportEntry) -> Iterator[Talk]:
    lines = _lines(entry)
    order, told = date_order([line.date for line in lines], any(line.half for line in lines))
    if entry.columns.dates is not None:
        order, told = entry.columns.dates, True
    if not told:
        first = "the day" if order == "dmy" else "the month"
        entry.noted.note(f"dates do not tell which number is the day: {first} is taken to come first (dates=dmy|mdy)")
    said = []
    for line in lines:
        match = _SAID.match(line.rest)
        if match is None or _is_told(match["speaker"]):
            entry.drop("lines of the program (joined, left, encryption)")
            continue
        text = _EDITED.sub("", match["text"].strip())
        bare = text.strip(_SYSTEM + " ")
        if text.startswith(_SYSTEM) or _MEDIA.fullmatch(bare) or bare.rstrip(".") in _DELETED:
            entry.drop("pictures, sounds, deleted messages and notes of the program")
        elif not bare:
            entry.drop("messages without text")
        else:
            text = "\n".join(part.rstrip() for part in text.replace(_SYSTEM, "").split("\n")).strip()
            said.append(
                Message(match["speaker"].strip("~ \u200e\u202f\u00a0"), text, _moment(line, order, entry.where))
            )
    yield Talk(_chat(entry), _chat(entry), tuple(said))


def _is_told(speaker: str) -> bool:
    """Return whether what stands before the colon is no name but the program's words: Ana changed the subject to "a."""
    return any(mark in speaker for mark in '"“”«»„') or len(speaker.split()) > 6


def _chat(entry: ExportEntry) -> str:
    """Return what the chat is called: the file, or, of `_chat.txt`, the archive or folder that it lies in."""
    if entry.stem != "_chat":
        return entry.stem
    parts = entry.where.split("/")
    return parts[-2].removesuffix(".zip") if len(parts) > 1 else entry.stem


FORMAT = LogFormat("whatsapp", "a chat that WhatsApp exported (.txt, or the zip it comes in)", _knows, _read)
