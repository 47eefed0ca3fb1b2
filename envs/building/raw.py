"""Raw files of a source, read record by record: plain or .gz, JSON or JSON lines or CSV, a folder or a tar archive.

Memory stays flat in the size of a file. Whatever is wrong with one (missing, cut short, a Git LFS pointer, a field of
the wrong type) is a `DataError` that names the file, the record and the remedy.
"""

from __future__ import annotations

import csv
import fnmatch
import gzip
import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar, cast

import ijson
from pydantic import BaseModel, ConfigDict, ValidationError

from memrl.envs.errors import DataError
from memrl.envs.faults import one_record
from memrl.envs.stream import explain

Record = TypeVar("Record", bound=BaseModel)


class AnyRecord(BaseModel):
    """A record with whatever fields it has, in `model_extra`."""

    model_config = ConfigDict(extra="allow")


LFS_POINTER = b"version https://git-lfs.github.com/spec/"
AGAIN = "Download it again."
csv.field_size_limit(1 << 30)  # of the module, and 131,072 characters by default: less than a long document has
_GZIP = b"\x1f\x8b"
_DONE = object()


@contextmanager
def _reading(path: Path | str) -> Iterator[None]:
    """Turn what reading a damaged file raises into a `DataError`."""
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error, tarfile.TarError) as error:
        raise DataError(f"{path} is damaged or cut short: {error}. {AGAIN}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). {AGAIN}") from error


def _refuse_pointer(head: bytes, where: Path | str) -> None:
    if head.startswith(LFS_POINTER):
        raise DataError(
            f"{where} is a Git LFS pointer, not the data it stands for. Run `git lfs pull` in its repository, or "
            "download the file itself."
        )


@contextmanager
def open_raw(path: Path) -> Iterator[IO[bytes]]:
    """Open a file for reading; what is compressed comes out plain.

    Raises:
        DataError: it is missing, a folder, a Git LFS pointer, or (also while it is read) damaged.
    """
    if path.is_dir():
        raise DataError(f"{path} is a folder; this source reads a file. Give the file's own path.")
    if not path.is_file():
        raise DataError(f"data file {path} does not exist. Check the path (data.path or the source's own `path`).")
    with path.open("rb") as file:
        head = file.read(len(LFS_POINTER))
    _refuse_pointer(head, path)
    packed = head.startswith(_GZIP) or path.suffix == ".gz"
    with _reading(path):
        if packed:
            with gzip.open(path, "rb") as unpacked:
                yield cast(IO[bytes], unpacked)
        else:
            with path.open("rb") as file:
                yield file


def find(path: Path, name: str) -> Path:
    """The file `name`, or `name`.gz, in a folder. A path that is a file is taken as it is.

    Raises:
        DataError: neither is there.
    """
    return path if path.is_file() else find_in(path, name)


def find_in(folder: Path, name: str) -> Path:
    """The file `name`, or `name`.gz, in a folder, for a source that reads several files.

    Raises:
        DataError: neither is there, or the folder is a file.
    """
    if folder.is_file():
        raise DataError(f"{folder} is a file; this source reads the folder that it is in. Give the folder's path.")
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    raise DataError(
        f"{folder} has no file {name} (or {name}.gz). Check the path (data.path or the source's own `path`)."
    )


def contents(path: Path, *patterns: str) -> Iterator[tuple[str, bytes]]:
    """The files of a folder, or of a tar archive, whose path in it matches a pattern (as in a shell), by name.

    Yields:
        Where the file is, for messages, and its bytes.

    Raises:
        DataError: there is no such folder or archive, it is damaged, or no file matches.
    """
    found = 0
    for where, data in _members(path, patterns):
        _refuse_pointer(data[: len(LFS_POINTER)], where)
        found += 1
        yield where, data
    if not found:
        raise DataError(
            f"{path} holds no file {' or '.join(patterns)}. Check the path (data.path or the source's own `path`)."
        )


def _members(path: Path, patterns: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.is_file() and _any(file.relative_to(path).as_posix(), patterns):
                with open_raw(file) as opened:
                    yield str(file), opened.read()
        return
    with open_raw(path) as opened, _reading(path), tarfile.open(fileobj=io.BytesIO(opened.read())) as archive:
        for member in sorted(archive.getmembers(), key=lambda member: member.name):
            if member.isfile() and _any(member.name, patterns):
                file_in = archive.extractfile(member)
                assert file_in is not None
                yield f"{path}, {member.name}", file_in.read()


def _any(name: str, patterns: Sequence[str]) -> bool:
    return any(matches(name, pattern) for pattern in patterns)


def is_archive(path: Path) -> bool:
    """Return whether a file is a tar archive, plain or compressed, by its name."""
    return path.name.endswith((".tar", ".tar.gz", ".tgz"))


def matches(name: str, pattern: str) -> bool:
    """Return whether a path in a folder or archive matches a pattern from its start, or from any folder on.

    Hidden files never do: systems leave such beside those that they copy.
    """
    if name.rpartition("/")[2].startswith("."):
        return False
    return fnmatch.fnmatch(name, pattern) or fnmatch.fnmatch(name, f"*/{pattern}")


def parse(model: type[Record], value: Any, where: str) -> Record:
    """Check one record.

    Raises:
        DataError: a field is missing or of the wrong type: `where`, and which.
    """
    try:
        return model.model_validate(value)
    except ValidationError as error:
        raise DataError(f"{where}: {explain(error)}. Mend that record, or check that it is the right file.") from error


def parse_json(model: type[Record], data: bytes, where: str) -> Record:
    """Check a whole small file of JSON."""
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        raise DataError(f"{where}: {explain(error)}. {AGAIN}") from error


def records(
    path: Path, model: type[Record], *, at: str = "item", kind: str | None = None
) -> Iterator[tuple[str, Record]]:
    """The records of a JSON or JSON lines file, or the rows of a parquet file, checked one by one.

    Args:
        path: plain or .gz. A JSON array, a JSON object that holds the records, or one object a line; or .parquet.
        model: what each record must be.
        at: where in a JSON object the records are, as ijson writes it ("data.item" for `{"data": [...]}`).
        kind: what the file should be, for messages ("SQuAD JSON").

    Yields:
        Where the record stands, for messages, and the record.

    Raises:
        DataError: the file is missing, damaged or cut short, holds no record, or one is not as it should be.
    """
    with open_raw(path) as file:
        if path.suffix == ".parquet":
            yield from _checked(_rows(path), path, model, kind or "a table of this source")
        else:
            yield from records_in(file, path, model, at=at, kind=kind)


def records_in(
    file: IO[bytes],
    path: Path | str,
    model: type[Record],
    *,
    at: str = "item",
    kind: str | None = None,
    some: bool = True,
) -> Iterator[tuple[str, Record]]:
    """The records of an open file of JSON or JSON lines, as `records`.

    Args:
        path: where it is, for messages.
        some: refuse a file that holds none.
    """
    place = "" if at == "item" else f" at {at}"
    yield from _checked(_values(file, path, at), path, model, kind or "JSON of this source", place, some)


def _checked(
    values: Iterable[tuple[str, Any]],
    path: Path | str,
    model: type[Record],
    kind: str,
    place: str = "",
    some: bool = True,
) -> Iterator[tuple[str, Record]]:
    found = 0
    for where, value in values:
        found += 1
        record = None
        with one_record():
            record = parse(model, _loads(value, where) if isinstance(value, bytes) else value, where)
        if record is not None:
            yield where, record
    if some and not found:
        raise DataError(f"{path} is not {kind}: it holds no record{place}. Check the path.")


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        for batch in pq.ParquetFile(path).iter_batches(batch_size=64):
            for row in batch.to_pylist():
                number += 1
                yield f"{path}, row {number}", row
    except (pa.ArrowException, OSError, ValueError) as error:
        message = " ".join(str(error).split())[:200]
        raise DataError(f"{path}, after {number} rows: {message}. The file is damaged. {AGAIN}") from error


def _values(file: IO[bytes], path: Path | str, at: str) -> Iterator[tuple[str, Any]]:
    """The records to be, each with its place: of JSON lines still as bytes, so that a damaged one can be passed by."""
    head = file.read(4096)
    start = 3 if head.startswith(b"\xef\xbb\xbf") else 0
    file.seek(start)
    if head[start:].lstrip()[:1] != b"{":
        return _items(file, path, "item")
    if at != "item":
        return _items(file, path, at)
    if _spread(file, start):
        return _items(file, path, "", multiple_values=True)
    return ((f"{path}, line {number}", line) for number, line in enumerate(file, start=1) if line.strip())


def _spread(file: IO[bytes], start: int) -> bool:
    """Return whether the first object of a file is written over several lines. The file is set back."""
    lines = (line.strip() for line in file if line.strip())
    first, second = next(lines, b""), next(lines, b"")
    file.seek(start)
    if not second or (second.startswith(b"{") and first != b"{"):
        return False
    try:
        json.loads(first)
    except ValueError:
        return True
    return False


def _loads(line: bytes, where: str) -> Any:
    """Return the value of a line of JSON.

    Raises:
        DataError: it is none.
    """
    try:
        text = line.decode("utf-8")
        value = json.loads(text)
        if "\\ud" in text or "\\uD" in text:  # half a surrogate pair is no text
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{where} is not UTF-8 text (byte {error.start}). {AGAIN}") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{where}, column {error.colno}: {error.msg}. The JSON is damaged or cut short. {AGAIN}"
        ) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise DataError(f"{where} is no JSON that can be read: {error}. {AGAIN}") from error
    return value


def _items(file: IO[bytes], path: Path | str, at: str, *, multiple_values: bool = False) -> Iterator[tuple[str, Any]]:
    values = ijson.items(file, at, use_float=True, multiple_values=multiple_values)
    number = 0
    while True:
        try:
            value = next(values, _DONE)
        except (ijson.JSONError, RecursionError, ValueError) as error:
            # UnicodeDecodeError is a ValueError too: the place after which it stands is what can be told.
            message = " ".join(str(error).split())[:200]
            raise DataError(
                f"{path}, after {number} records: {message}. The JSON is damaged or cut short. {AGAIN}"
            ) from error
        if value is _DONE:
            return
        number += 1
        yield f"{path}, record {number}{'' if at in ('', 'item') else f' at {at}'}", value


def csv_rows(
    data: Iterable[str], where: str, columns: Sequence[str], *, delimiter: str = ","
) -> Iterator[tuple[str, dict[str, str]]]:
    """The rows of a CSV file with a header.

    Args:
        data: the file's lines.
        columns: those that must be there, each with a value in every row.

    Raises:
        DataError: a column or a value is missing.
    """
    reader = csv.DictReader(data, delimiter=delimiter, strict=True)
    missing = [name for name in columns if name not in (reader.fieldnames or ())]
    if missing:
        raise DataError(
            f"{where} has no column {', '.join(missing)} (it has {', '.join(reader.fieldnames or ['nothing'])}). "
            "Check that it is the right file."
        )
    rows = iter(reader)
    while True:
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise DataError(f"{where}, line {reader.line_num}: {error}. The CSV is damaged. {AGAIN}") from error
        if row is None:
            return
        place = f"{where}, line {reader.line_num}"
        for name in columns:
            if not (row[name] or "").strip():
                raise DataError(f"{place}: the column {name} is empty. Mend or remove that line, or download it again.")
        yield place, {name: row[name] for name in columns}


def text_lines(path: Path, encoding: str = "utf-8-sig") -> Iterator[str]:
    """The lines of a text file, plain or .gz, line ends kept.

    Raises:
        DataError: it is missing, empty, damaged or not in this encoding.
    """
    empty = True
    with open_raw(path) as file, _reading(path), io.TextIOWrapper(file, encoding=encoding, newline="") as text:
        for line in text:
            empty = False
            yield line
    if empty:
        raise DataError(f"{path} is empty. {AGAIN}")


def lines_of(data: bytes, where: str) -> Iterable[str]:
    """The lines of a small text file that was read whole, line ends kept.

    Raises:
        DataError: it is not UTF-8.
    """
    with _reading(where):
        return io.StringIO(data.decode("utf-8-sig"), newline="")
