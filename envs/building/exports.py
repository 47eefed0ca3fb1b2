"""Exports of chats and documents, as whoever exported them left them: files, folders and zip archives in one shape.

A format (`memrl/envs/logs/`, one file each) says of an `ExportEntry` whether it knows it, and reads talks out of it.
What it leaves out is counted on the entry by the reason, so that nothing vanishes unsaid.
"""

from __future__ import annotations

import codecs
import gzip
import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import IO, Any, cast

import ijson

from memrl.envs.building.archives import MOST_BYTES, MOST_NESTED, UNPACK, ZipPlace, zip_root
from memrl.envs.building.raw import LFS_POINTER, AnyRecord, records_in
from memrl.envs.building.times import moment
from memrl.envs.errors import DataError

AGAIN = "Export it again, or download it again."
_HEAD = 1 << 16
_BLOCK = 1 << 20
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""What a file begins with that says its own encoding."""
UNREAD_TIMES = "times that cannot be read (2025-03-05 10:14 can)"
MEDIA = (".jpg", ".jpeg", ".png", ".gif", ".webp", ".heic", ".mp4", ".mov", ".opus", ".mp3", ".m4a", ".ogg", ".wav",
         ".webm", ".vcf", ".tgs", ".aac", ".3gp", ".ico", ".svg", ".css", ".js", ".woff", ".woff2")  # fmt: skip
"""Ends of names of pictures, sounds, and what pages are laid out with."""
_JUNK = ("__MACOSX", "Thumbs.db", "desktop.ini")


@dataclass(frozen=True)
class Message:
    """Words of one speaker, and when they were said (UTC where the export says so, else the exporter's clock)."""

    speaker: str
    text: str
    time: datetime | None = None


@dataclass(frozen=True)
class Talk:
    """A conversation, or a document, of an export: messages or a text."""

    log: str
    """The log it belongs to: a chat, a channel, an account. Logs are split by time, each for itself."""
    name: str
    messages: tuple[Message, ...] = ()
    text: str = ""
    id: str = ""
    """What its program calls it in every export of the account; empty where no export says."""
    chat: str = ""
    """What tells its log from another of the same name; empty where no export says."""
    ordered: bool = False
    """Whether the export itself says in what order its messages stand, whatever their times are."""

    @property
    def begin(self) -> datetime | None:
        """Return when its first message that says so was written."""
        return next((message.time for message in self.messages if message.time is not None), None)


@dataclass
class Noted:
    """Words about a file beside its talks."""

    dropped: Counter[str] = field(default_factory=Counter)
    """What was left out, by the reason, in words that go on after a number."""
    notes: list[str] = field(default_factory=list)
    """How it was read, where that is no matter of course."""

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)


@dataclass(frozen=True)
class Columns:
    """Answers of the user to what files do not say themselves."""

    text: str | None = None
    """The column of a table that holds the text."""
    speaker: str | None = None
    time: str | None = None
    encoding: str | None = None
    dates: str | None = None
    """dmy, mdy or ymd, where dates are written in numbers."""


class ExportEntry:
    """A file or a folder of an export, on the disk or inside a zip archive.

    Args:
        place: a path on the disk, or a place in a zip archive.
        where: what messages call it.
        nested: archives that it lies in.
    """

    def __init__(
        self,
        place: Path | ZipPlace,
        where: str,
        columns: Columns = Columns(),
        noted: Noted | None = None,
        nested: int = 0,
    ) -> None:
        self.place = place
        self.nested = nested
        self.where = where
        self.columns = columns
        self.noted = noted or Noted()
        self.name = str(place.name) or Path(where).name

    @property
    def stem(self) -> str:
        """Return the name without what says its form."""
        name = self.name.removesuffix(".gz")
        return name.rpartition(".")[0] or name

    @property
    def suffix(self) -> str:
        """Return the end of the name in small letters, that of a .gz file's content."""
        return Path(self.name.lower().removesuffix(".gz")).suffix

    @property
    def is_folder(self) -> bool:
        return bool(self.place.is_dir())

    @property
    def is_readable(self) -> bool:
        """Return whether it is a file or a folder, and no dangling link, pipe or device."""
        return bool(self.place.is_dir() or self.place.is_file())

    @property
    def is_zip(self) -> bool:
        return not self.is_folder and self.head.startswith(b"PK\x03\x04") and self.suffix not in (".docx", ".xlsx")

    def entries(self) -> list[ExportEntry]:
        """Return what is in a folder or a zip archive, by name, without hidden files and what systems leave behind.

        Raises:
            DataError: the archive is damaged or cut short, or names in it lead elsewhere; the folder cannot be read.
        """
        nested = self.nested + (not self.is_folder)
        with self._reading():
            within: Iterable[Path | ZipPlace] = (self.place if self.is_folder else self._unpacked).iterdir()
            found = [place for place in within if not place.name.startswith(".") and place.name not in _JUNK]
        return [
            ExportEntry(place, f"{self.where}/{place.name}", self.columns, nested=nested)
            for place in sorted(found, key=lambda place: str(place.name))
        ]

    @cached_property
    def _unpacked(self) -> ZipPlace:
        """The folder that an archive stands for."""
        if self.nested >= MOST_NESTED:
            raise DataError(f"{self.where} is an archive in {self.nested} others. {UNPACK}")
        with self._reading():
            file = io.BytesIO(self.data()) if isinstance(self.place, ZipPlace) else self.place
            return zip_root(zipfile.ZipFile(file), self.where, MEDIA)

    @cached_property
    def head(self) -> bytes:
        """The first bytes."""
        with self.open() as file:
            return file.read(_HEAD)

    @contextmanager
    def open(self) -> Iterator[IO[bytes]]:
        """Open the file; what is compressed comes out plain.

        Raises:
            DataError: it is damaged, encrypted, larger than `MOST_BYTES`, or a Git LFS pointer.
        """
        with self._reading():
            if isinstance(self.place, ZipPlace) and (info := self.place.info) is not None:
                if info.flag_bits & 1:
                    raise DataError(f"{self.where} is encrypted. Unpack the archive with its password first.")
                if info.file_size > MOST_BYTES:
                    raise DataError(f"{self.where} has {info.file_size:,} bytes, over {MOST_BYTES:,}. {UNPACK}")
            with self.place.open("rb") as file:
                begin = file.read(len(LFS_POINTER))
                file.seek(0)
                if begin == LFS_POINTER:
                    raise DataError(f"{self.where} is a Git LFS pointer. Run `git lfs pull` in its repository.")
                if begin.startswith(b"\x1f\x8b"):
                    with _BoundedGzip(self.where, fileobj=file) as plain:
                        yield cast("IO[bytes]", plain)
                else:
                    yield file

    def data(self) -> bytes:
        """Return the whole content."""
        with self.open() as file:
            return file.read()

    @cached_property
    def encoding(self) -> str:
        """The encoding of a text: as the user says, by its mark, UTF-8, or the likeliest, which is noted.

        Raises:
            DataError: it is cut short in the middle of a character, or in no encoding that is known.
        """
        if self.columns.encoding is not None:
            return self.columns.encoding
        marked = next((name for mark, name in _MARKS if self.head.startswith(mark)), None)
        if marked is not None:
            if marked != "utf-8-sig":
                self.noted.note(f"in {marked.upper()}, not UTF-8")
            return marked
        decoder = codecs.getincrementaldecoder("utf-8")()
        read = 0
        with self.open() as file:
            try:
                for block in iter(lambda: file.read(_BLOCK), b""):
                    decoder.decode(block)
                    read += len(block)
                rest = len(decoder.getstate()[0])
            except UnicodeDecodeError:
                return self._likeliest()
        if rest:
            raise DataError(
                f"{self.where} is cut short in the middle of a character, after byte {read - rest}. {AGAIN}"
            )
        return "utf-8"

    def _likeliest(self) -> str:
        from charset_normalizer import from_bytes

        best = from_bytes(self.data()[:_BLOCK]).best()
        if best is None:
            raise DataError(
                f"{self.where} is not UTF-8, and its encoding cannot be told. Name it: encoding=cp1252 (or another)."
            )
        self.noted.note(f"not UTF-8: read as {best.encoding} (if that is wrong: encoding=NAME)")
        return str(best.encoding)

    def text(self) -> str:
        """Return the whole content as text, line ends as "\\n".

        Raises:
            DataError: it is not in the encoding that was given.
        """
        try:
            text = self.data().decode(self.encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise DataError(
                f"{self.where} cannot be read as {self.encoding}: {error}. Give another encoding=."
            ) from error
        return text.replace("\r\n", "\n").replace("\r", "\n")

    @contextmanager
    def utf8(self) -> Iterator[IO[bytes]]:
        """Open a text file as UTF-8, whatever its encoding."""
        if self.encoding in ("utf-8", "utf-8-sig"):
            with self.open() as file:
                yield file
        else:
            yield io.BytesIO(self.text().encode("utf-8"))

    @cached_property
    def keys(self) -> frozenset[str]:
        """The keys of the first JSON object, of an array's first element where it is one; none where it is no JSON."""
        if self.is_folder or self.suffix not in (".json", ".jsonl", ".ndjson"):
            return frozenset()
        found: set[str] = set()
        with self.utf8() as file:
            begin = file.read(_HEAD).removeprefix(codecs.BOM_UTF8).lstrip()
        depth = 1 if begin.startswith(b"[") else 0
        prefix = "item" if depth else ""
        try:
            for at, event, value in ijson.parse(io.BytesIO(begin), multiple_values=True):
                if event == "map_key" and at == prefix:
                    found.add(str(value))
                elif event == "end_map" and at == prefix:
                    break
        except (ijson.JSONError, ValueError, RecursionError):
            pass  # cut by the size of the head; damage is for the reader to tell
        return frozenset(found)

    def objects(self, kind: str, *, at: str = "item", some: bool = True) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The objects of a JSON file (an array, or one a line), each with its place.

        Args:
            some: refuse a file that holds none.

        Raises:
            DataError: it is damaged or cut short, or holds none.
        """
        with self.utf8() as file, self._reading():
            for where, record in records_in(file, self.where, AnyRecord, at=at, kind=kind, some=some):
                yield where, record.model_extra or {}

    def time(self, value: Any) -> datetime | None:
        """Return a moment as `moment` reads it; a value that it cannot read is counted."""
        found = moment(value)
        if found is None and value:
            self.drop(UNREAD_TIMES)
        return found

    def drop(self, why: str, count: int = 1) -> None:
        """Note that so much is left out; `why` goes on after the number."""
        if count:
            self.noted.dropped[why] += count

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, gzip.BadGzipFile, zlib.error, zipfile.BadZipFile, zipfile.LargeZipFile) as error:
            raise DataError(f"{self.where} is damaged or cut short: {error}. {AGAIN}") from error
        except (
            RuntimeError,
            NotImplementedError,
        ) as error:  # zipfile says so of what is encrypted, and of rare packings
            raise DataError(f"{self.where} cannot be unpacked: {error}. {UNPACK}") from error
        except OSError as error:
            raise DataError(
                f"{self.where} cannot be read: {error.strerror or error}. Mend it, or leave it out."
            ) from error


class _BoundedGzip(gzip.GzipFile):
    """A compressed file that is refused where it passes `MOST_BYTES`: its size is known of nobody before."""

    def __init__(self, where: str, fileobj: IO[bytes]) -> None:
        super().__init__(fileobj=fileobj, mode="rb")
        self._where = where

    def read(self, size: int | None = -1) -> bytes:
        return self._checked(super().read(self._most(size)))

    def read1(self, size: int = -1) -> bytes:
        return self._checked(super().read1(self._most(size)))

    def readline(self, size: int | None = -1) -> bytes:
        return self._checked(super().readline(self._most(size)))

    def _most(self, size: int | None) -> int:
        left = max(MOST_BYTES - self.tell(), 0) + 1
        return left if size is None or size < 0 else min(size, left)

    def _checked(self, data: bytes) -> bytes:
        if self.tell() > MOST_BYTES:
            raise DataError(f"{self._where} unpacks to more than {MOST_BYTES:,} bytes. {UNPACK}")
        return data


Reads = Callable[[ExportEntry], Iterator[Talk]]


@dataclass(frozen=True)
class LogFormat:
    """A format of exports. `knows` looks at names and first bytes alone; `read` yields the talks."""

    name: str
    about: str
    """What a user would call it, and what of it is read."""
    knows: Callable[[ExportEntry], bool]
    read: Reads
    rank: int = 1
    """Formats of a lower rank are asked first; those that take any text come last."""
    beside: tuple[str, ...] = ()
    """Patterns of the names of what the same export has beside it, and is no log of its own."""
