"""Tables: CSV, TSV, parquet, or JSON lines of flat records, a text in each row; who says it and when, if columns tell.

Rows with a list of messages (`messages`, `conversations`), as sets on the hub have them, are conversations.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from memrl.envs.building.exports import AGAIN, Columns, ExportEntry, LogFormat, Message, Talk
from memrl.envs.building.message_lists import openai_messages, sharegpt_messages
from memrl.envs.errors import DataError

LOG = "documents"
TEXTS = ("text", "message", "content", "body", "document", "sentence", "utterance")
SPEAKERS = ("speaker", "author", "sender", "name", "user", "from", "role")
TIMES = ("time", "timestamp", "date", "datetime", "created_at", "sent_at", "created")
LISTS = ("messages", "conversations")
_SUFFIXES = (".csv", ".tsv", ".parquet")


def _knows(entry: ExportEntry) -> bool:
    if entry.is_folder:
        return False
    return entry.suffix in _SUFFIXES or bool(entry.keys & ({*TEXTS, entry.columns.text or ""} - {""}))


def _read(entry: ExportEntry) -> Iterator[Talk]:
    yield from talks_of_rows(_rows(entry), entry)


def talks_of_rows(rows: Iterable[tuple[str, Mapping[str, Any]]], entry: ExportEntry) -> Iterator[Talk]:
    """The talks of a table: a conversation a row, one of all rows where these have speakers, else a document a row.

    Args:
        rows: each with its place.
        entry: where they come from, and what the user calls their columns.

    Raises:
        DataError: there is no such column, or a row has no text.
    """
    said: list[Message] = []
    columns: Columns | None = None
    example = ""
    number = 0
    for number, (where, row) in enumerate(rows, 1):
        if entry.columns.text is None and (held := next((name for name in LISTS if row.get(name) is not None), None)):
            values = row[held]
            first = values[0] if isinstance(values, list) and values else {}
            sharegpt = isinstance(first, Mapping) and "value" in first
            take = sharegpt_messages if sharegpt else openai_messages
            yield Talk(entry.stem, str(number), take(values, entry, where))
            continue
        columns = columns or _columns(list(row), entry)
        text = str(row.get(columns.text or "") or "").strip()
        if not text:
            entry.drop("rows without text")
        elif columns.speaker is None:
            yield Talk(LOG, f"{entry.where}:{number}", text=text)
        else:
            time = entry.time(row.get(columns.time)) if columns.time else None
            said.append(Message(str(row.get(columns.speaker) or "unknown"), text, time))
            example = example or str((row.get(columns.time) if columns.time else "") or "")
    if said:
        if entry.columns.time is not None and all(message.time is None for message in said):
            raise DataError(
                f"{entry.where}: the column {entry.columns.time!r} holds no time that can be read ({example!r}). Write "
                "times as 2025-03-05 10:14 or as seconds since 1970, or name another --time-column."
            )
        yield Talk(entry.stem, entry.stem, tuple(said))


def _columns(names: list[str], entry: ExportEntry) -> Columns:
    """The columns of texts, speakers and times: as the user says, else the first that is usually called so."""
    wanted = entry.columns
    for option, name in (("text", wanted.text), ("speaker", wanted.speaker), ("time", wanted.time)):
        if name is not None and name not in names:
            raise DataError(
                f"{entry.where} has no column {name!r} (it has {', '.join(names)}). Name another by --{option}-column."
            )

    def first(usual: tuple[str, ...]) -> str | None:
        return next((name for name in names if name.casefold() in usual), None)

    text = wanted.text or first(TEXTS)
    if text is None:
        raise DataError(
            f"{entry.where} has no column that is called {', '.join(TEXTS)} (it has {', '.join(names)}). Say which "
            "holds the text: --text-column NAME."
        )
    others = [wanted.speaker or first(SPEAKERS), wanted.time or first(TIMES)]
    return Columns(text, *(None if name == text else name for name in others))


def _rows(entry: ExportEntry) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if entry.suffix == ".parquet":
        yield from _parquet(entry)
    elif entry.suffix in (".csv", ".tsv"):
        yield from _csv(entry)
    else:
        yield from entry.objects("JSON lines with a text each")


def _csv(entry: ExportEntry) -> Iterator[tuple[str, Mapping[str, Any]]]:
    lines = io.StringIO(entry.text(), newline="")
    reader = csv.DictReader(lines, delimiter="\t" if entry.suffix == ".tsv" else ",", strict=True)
    while True:
        try:
            row = next(reader, None)
        except csv.Error as error:
            raise DataError(f"{entry.where}, line {reader.line_num}: {error}. The table is damaged. {AGAIN}") from error
        if row is None:
            return
        where = f"{entry.where}, line {reader.line_num}"
        if None in row:
            raise DataError(f"{where} has more values than there are columns. Put texts with commas into quotes.")
        yield where, row


def _parquet(entry: ExportEntry) -> Iterator[tuple[str, Mapping[str, Any]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(io.BytesIO(entry.data())).iter_batches(batch_size=64):
            for row in batch.to_pylist():
                number += 1
                yield f"{entry.where}, row {number}", row
    except (pa.ArrowException, OSError, ValueError) as error:
        message = " ".join(str(error).split())[:200]
        raise DataError(f"{entry.where}, after {number} rows: {message}. The file is damaged. {AGAIN}") from error


FORMAT = LogFormat("table", "CSV, TSV, parquet or JSON lines, a text in each row", _knows, _read, 8)
