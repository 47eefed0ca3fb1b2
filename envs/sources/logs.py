"""Logs and documents as they were exported, from ChatGPT to WhatsApp: docs/own-data.md says which, and how."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from memrl.envs.building.exports import Columns
from memrl.envs.building.importing import logs_of, take
from memrl.envs.building.logs import LogPacking, LogRecord
from memrl.envs.building.source import Source


def read(
    path: str,
    text_column: str | None = None,
    speaker_column: str | None = None,
    time_column: str | None = None,
    encoding: str | None = None,
    dates: Literal["dmy", "mdy", "ymd"] | None = None,
    gap_hours: float = 6.0,
    one_person: bool = False,
) -> Iterator[LogRecord]:
    """The logs of an export.

    Args:
        path: a file or zip as exported, a folder of such, or a set on the hub as hub:OWNER/NAME.
        text_column: the column of a table that holds the text; None: the first that is usually called so.
        speaker_column: the column that says who speaks.
        time_column: the column that says when.
        encoding: of texts that are not in UTF-8; None: it is detected.
        dates: how WhatsApp wrote dates in numbers; None: it is told from all of them.
        gap_hours: silence after which a session ends.
        one_person: take logs in which one person alone speaks.

    Raises:
        DataError: nothing there is known, or something of it is damaged, encrypted, cut short or empty.
    """
    columns = Columns(text_column, speaker_column, time_column, encoding, dates)
    found = take(path, columns, one_person=one_person)
    for name, units, speakers in logs_of(found, timedelta(hours=gap_hours)):
        yield LogRecord(name, tuple(units), speakers)


SOURCE = Source(
    name="logs",
    read=read,
    about="exported chats and documents of your own; questions are written from their text",
    stage=LogPacking(),
    home="docs/own-data.md",
    licence="your own",
    kind="mixed",
    tried="format",
    recurring=True,
)
