"""Streams that lie ready in a file of ours: `.jsonl` (one `Stream` a line) or `.parquet` (column `stream`)."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from itertools import count as numbers
from pathlib import Path

from envs.errors import DataError
from envs.stream import Stream, read_jsonl, read_parquet

READERS = {".jsonl": read_jsonl, ".parquet": read_parquet}


def _whole(path: Path, reader: Callable[[Path], Iterator[Stream]]) -> list[Stream]:
    try:
        return list(reader(path))
    except (OSError, ValueError) as error:  # pyarrow finds damage inside a parquet file only as it reads on
        raise DataError(f"{path} cannot be read to its end ({error}). Build or download it again.") from error


def jsonl(*, path: Path, seed: int = 0, count: int | None = None) -> Iterator[Stream]:
    """Streams of a file, in an order shuffled by `seed`.

    The file is read whole before the first stream, so that a damaged line is found before anything slow starts.

    Args:
        path: a `.jsonl` or `.parquet` file; its suffix decides how it is read.
        count: how many; past the end of the file, go on in a newly shuffled order. None: each stream once.

    Raises:
        DataError: the file is missing, damaged, empty, of another suffix, or holds two streams of one id.
    """
    path = Path(path)
    if count is not None and count < 0:
        raise DataError(f"source 'jsonl': count is {count}; it must not be negative.")
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"data file {path} ends in {path.suffix!r}. Use one of {', '.join(READERS)}.")
    streams: dict[str, Stream] = {}
    for stream in _whole(path, reader):
        if stream.id in streams:
            raise DataError(f"{path} holds two streams with the id {stream.id!r}. Give each stream its own id.")
        streams[stream.id] = stream
    if not streams:
        raise DataError(f"data file {path} holds no stream. Build or download it again.")
    given = 0
    for turn in numbers():
        order = list(streams.values())
        random.Random(f"jsonl:{seed}:{turn}").shuffle(order)
        for stream in order:
            if count is not None and given >= count:
                return
            yield stream
            given += 1
        if count is None:
            return
