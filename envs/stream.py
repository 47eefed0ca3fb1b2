"""A stream: ordered chunks of text and the questions asked once all of them were read.

Task data is frozen; nothing that happens during an episode is ever written to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from memrl.envs.errors import DataError
from memrl.envs.faults import one_record
from memrl.envs.whole import whole_file


class Chunk(BaseModel):
    """One piece of the stream, read in one step."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    text: str
    time: str | None = None
    """When it was said, as text ("May 3"). Stamped on episodic items that name no time of their own."""

    @field_validator("text")
    @classmethod
    def _not_blank(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("a chunk's text is empty")
        return text


class Question(BaseModel):
    """One question about a finished stream, with its accepted answers."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    text: str
    answers: tuple[str, ...]
    """Accepted gold answers; any one of them is right."""
    metric: str = "token_f1"
    """A name in `memrl.rewards.metrics.METRICS`."""
    kind: str = "fact"
    evidence: tuple[int, ...] | None = None
    """0-based indices of the chunks that hold the answer; None where the source does not say."""

    @model_validator(mode="after")
    def _complete(self) -> Question:
        if not self.text.strip():
            raise ValueError(f"question {self.id!r} has no text")
        if not self.answers or not all(answer.strip() for answer in self.answers):
            raise ValueError(f"question {self.id!r} has no answer")
        return self


class Stream(BaseModel):
    """One task. `id` is unique within its source."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    source: str
    chunks: tuple[Chunk, ...]
    questions: tuple[Question, ...]
    metadata: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _consistent(self) -> Stream:
        if not self.chunks:
            raise ValueError(f"stream {self.id!r} has no chunks")
        if not self.questions:
            raise ValueError(f"stream {self.id!r} has no questions")
        seen: set[str] = set()
        for question in self.questions:
            if question.id in seen:
                raise ValueError(f"stream {self.id!r} has two questions with the id {question.id!r}")
            seen.add(question.id)
            for index in question.evidence or ():
                if not 0 <= index < len(self.chunks):
                    raise ValueError(
                        f"question {question.id!r} of stream {self.id!r} names evidence chunk {index}, "
                        f"but the stream has chunks 0 to {len(self.chunks) - 1}"
                    )
        return self


def explain(error: ValidationError) -> str:
    """The first complaint of a pydantic error as one plain line."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message


def parse_stream(raw: str | bytes, where: str) -> Stream:
    """Parse one JSON line.

    Args:
        raw: the JSON text of a `Stream`.
        where: file and line, for the message.

    Raises:
        DataError: the JSON is damaged, a field is missing or wrong, or the stream is empty.
    """
    try:
        return Stream.model_validate_json(raw)
    except ValidationError as error:
        raise DataError(f"{where}: {explain(error)}. Mend or remove that line.") from error


def write_jsonl(path: Path, streams: Iterable[Stream]) -> int:
    """Write one stream a line; returns how many. The file appears whole or not at all."""
    count = 0
    with whole_file(path) as partial, partial.open("w", encoding="utf-8") as file:
        for stream in streams:
            file.write(stream.model_dump_json() + "\n")
            count += 1
    return count


def read_jsonl(path: Path) -> Iterator[Stream]:
    """Read streams one by one; blank lines are skipped.

    Raises:
        DataError: the file is missing, or a line of it is not a stream (named by file and line).
    """
    if not path.is_file():
        raise DataError(f"data file {path} does not exist. Check the path (data.path or the source's own `path`).")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                stream = None
                with one_record():
                    stream = parse_stream(line, f"{path}, line {number}")
                if stream is not None:
                    yield stream


def write_parquet(path: Path, streams: Iterable[Stream]) -> int:
    """Write streams as parquet with the columns `id`, `source` and `stream` (JSON); returns how many."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = list(streams)
    table = pa.table(
        {
            "id": [stream.id for stream in rows],
            "source": [stream.source for stream in rows],
            "stream": [stream.model_dump_json() for stream in rows],
        }
    )
    with whole_file(path) as partial:
        pq.write_table(table, partial, write_page_checksum=True)
    return len(rows)


def read_parquet(path: Path) -> Iterator[Stream]:
    """Read what `write_parquet` wrote, one row group at a time.

    Raises:
        DataError: the file is missing, is not parquet, is damaged inside (found only as it is read on), lacks the
            column `stream`, or holds a row that is no stream.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError(f"data file {path} does not exist. Check the path (data.path or the source's own `path`).")
    try:
        file = pq.ParquetFile(path, page_checksum_verification=True)
        columns = file.schema_arrow.names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path} is not a readable parquet file ({error}). Build or download it again.") from error
    if "stream" not in columns:
        raise DataError(f"{path} has no column 'stream' (it has {', '.join(columns)}).")
    batches = file.iter_batches(columns=["stream"], batch_size=64)
    row = 0
    while True:
        try:
            batch = next(batches, None)
            texts = [] if batch is None else batch.column(0).to_pylist()
        except (pa.ArrowException, OSError, ValueError) as error:
            message = (
                f"{path} cannot be read to its end ({error}): damaged after row {row}. Build or download it again."
            )
            raise DataError(message) from error
        if batch is None:
            return
        for text in texts:
            stream = None
            with one_record():
                stream = parse_stream(text, f"{path}, row {row}")
            row += 1
            if stream is not None:
                yield stream
