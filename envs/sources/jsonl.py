"""Streams that lie ready in a file of ours: `.jsonl` (one `Stream` a line) or `.parquet` (column `stream`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count as numbers
from pathlib import Path

from memrl.envs.building.shuffling import shuffled
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.faults import count_faults, one_record
from memrl.envs.stream import Stream, read_jsonl, read_parquet

READERS = {".jsonl": read_jsonl, ".parquet": read_parquet}


def _distinct(path: Path, reader: Callable[[Path], Iterator[Stream]]) -> Iterator[Stream]:
    seen: set[str] = set()
    faults = count_faults()
    for stream in reader(path):
        if stream.id in seen:
            with one_record():
                raise DataError(f"{path} holds two streams with the id {stream.id!r}. Give each stream its own id.")
            continue
        seen.add(stream.id)
        yield stream
    if not seen and count_faults() == faults:
        raise DataError(f"data file {path} holds no stream. Build or download it again.")


def read(path: Path, seed: int = 0, count: int | None = None) -> Iterator[Stream]:
    """Streams of a file, in an order shuffled by `seed`.

    The file is read whole before the first stream, so that a damaged line is found before anything slow starts.

    Args:
        path: a `.jsonl` or `.parquet` file; its suffix decides how it is read.
        count: how many; past the end of the file, go on in a newly shuffled order. None: each stream once.

    Raises:
        DataError: the file is missing, damaged, empty, of another suffix, or holds two streams of one id.
    """
    if count is not None and count < 0:
        raise DataError(f"source 'jsonl': count is {count}; it must not be negative.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"data file {path} ends in {path.suffix!r}. Use one of {', '.join(READERS)}.")
    given = 0
    for turn in numbers():
        for stream in shuffled(_distinct(path, reader), f"jsonl:{seed}:{turn}"):
            if count is not None and given >= count:
                return
            yield stream
            given += 1
        if count is None:
            return


SOURCE = Source(
    name="jsonl", read=read, about="streams in a file of ours, e.g. of a built set", kind="mixed", splits=()
)
