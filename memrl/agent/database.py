"""The SQLite file under all memories: how it is opened, who writes in it next, and what its failures are called.

Invariant: whoever reads never waits for whoever writes, as long as the disk takes a write-ahead log (without shared
memory SQLite falls back to a journal, and readers wait for a commit). Writers of this process go one after another, in
the order in which they came; while another process holds the file, few of them wait and the others are told so at once.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from urllib.parse import quote

from memrl.agent import turns
from memrl.agent.finding import find_file
from memrl.agent.layout import adopt, kind_of, marks
from memrl.agent.turns import Held, Turns, WriteTurn
from memrl.envs.whole import whole_file
from memrl.errors import Closed, DataError, MemrlError, StoreBusy, StoreFailed

log = logging.getLogger(__name__)

IDLE_READERS = 4
"""Connections that are kept for the next readers."""
LOG_BYTES = 1 << 20
"""The size to which the write-ahead log is cut back once its content is in the file."""
_DAMAGED = {"SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_FORMAT", "SQLITE_ERROR", "SQLITE_SCHEMA"}


class Database:
    """An open file of memories, shared by whoever has called `share`; the last `close` closes it.

    Args:
        path: the file.
        make: whether it is made where there is none.

    Raises:
        DataError: it is none of ours, damaged, or cannot be written.
        FormatError: a newer version wrote it; it is untouched.
        StoreBusy: another process holds it, and it must be written before it can be read.
        StoreFailed: the disk is full, or fails.
    """

    def __init__(self, path: Path | str, *, make: bool = True) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._turns = Turns()
        self._idle: list[sqlite3.Connection] = []
        self._sharing = 1
        self._closed = False
        find_file(self.path, make=make)
        with self._typed():
            self._writer = self._connect()
        try:
            with self._typed():
                self._open()
        except BaseException:
            self._writer.close()
            raise
        found = self.path.stat()
        self._place = found.st_dev, found.st_ino
        self._clean_left_over()

    def share(self) -> Database:
        """Return this same database, which one more `close` then must close.

        Raises:
            Closed: it is closed already.
        """
        with self._lock:
            self._check_open()
            self._sharing += 1
        return self

    def close(self) -> None:
        """Let go of the file, if nobody else shares it. A transaction that is under way is finished before."""
        with self._lock:
            self._sharing -= 1
            if self._sharing or self._closed:
                return
            self._closed = True
            idle, self._idle = self._idle, []
        for reader in idle:
            reader.close()
        self._turns.hurry()
        with self._turns.last():
            self._writer.close()

    def hurry(self) -> None:
        """Have those who wait for their turn to write wait for no longer than CLOSING_SECONDS."""
        self._turns.hurry()

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the file as it is now, for as long as the block lasts.

        Raises:
            Closed, StoreBusy, StoreFailed, DataError: as the names say.
        """
        with self._typed():
            reader = self._take()
            try:
                reader.execute("BEGIN")
                yield reader
            finally:
                with suppress(sqlite3.Error):
                    reader.execute("ROLLBACK")  # nothing was written
                self._give(reader)

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that nobody else writes beside. The block ends it by `COMMIT`; else nothing was written.

        Raises:
            StoreBusy: another process has held the file for BUSY_SECONDS, or many wait for it already.
            Closed, StoreFailed, DataError: as the names say.
        """
        with self._typed(), self._turns.next() as turn:
            self._check_open()
            turn.begin(self._writer)
            try:
                yield self._writer
            finally:
                if self._writer.in_transaction:  # after a full disk SQLite has rolled back by itself
                    with suppress(sqlite3.Error):  # the cause is on its way already
                        self._writer.execute("ROLLBACK")

    def clean(self) -> None:
        """Write the whole file anew, so that nothing of what was deleted is left in it, and give back what was free.

        Raises:
            StoreBusy: others have used the file all the time; what was deleted may still be in its log.
            StoreFailed: the disk has no room for a second copy, or fails.
        """
        with self._typed(), self._turns.next() as turn:
            self._check_open()
            turn.begin(self._writer)  # to have waited for other processes
            cleared = marks(self._writer)  # of what others erase from now on bytes may be left
            self._writer.execute("COMMIT")
            self._turns.asking(True)  # writers who wait meanwhile keep no reader from a thread
            try:
                self._writer.execute("VACUUM")
                self._empty_log(turn)
            finally:
                self._turns.asking(False)
            turn.begin(self._writer)
            self._writer.executemany("DELETE FROM marks WHERE name = ?", [(name,) for name in cleared])
            self._writer.execute("COMMIT")

    def unfinished(self) -> bool:
        """Return whether bytes may be left of what was erased."""
        with self.reading() as reader:
            return bool(marks(reader))

    def check(self) -> None:
        """Look whether the file is where it was and can be read, on a connection that has read nothing of it, and
        without waiting: a file that somebody holds is there.

        Raises:
            DataError: it is gone, another, or destroyed.
            StoreFailed: its disk fails.
        """
        try:
            found = self.path.stat()
        except OSError as error:
            raise DataError(f"{self.path} is gone ({error.strerror}). Start again, from a copy if need be.") from error
        if (found.st_dev, found.st_ino) != self._place:
            raise DataError(f"{self.path} is another file than the one that was opened. Start again.")
        with suppress(StoreBusy), self._typed(), closing(self._connect()) as database:
            database.execute("PRAGMA busy_timeout = 0")
            if self._kind(database) != "ours":
                raise DataError(f"{self.path} is empty. Start again, from a copy if need be.")
            database.execute("SELECT life FROM users LIMIT 1").fetchone()

    def save(self, path: Path | str) -> None:
        """Copy the whole file to `path`, whole or not at all, while others may write.

        Raises:
            DataError: there is something already, or it cannot be written.
        """
        target = Path(path)
        if target.exists() or target.is_symlink():
            raise DataError(f"{target} exists already; give another path.")
        try:
            with self._typed(), whole_file(target) as partial:
                os.close(os.open(partial, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
                reader = self._take()
                try:
                    with closing(sqlite3.connect(partial)) as copy:
                        reader.backup(copy)
                finally:
                    self._give(reader)
        except OSError as error:
            raise DataError(f"{target} cannot be written ({error.strerror}); give another path.") from error

    # Opening ----------------------------------------------------------------------------------------------------

    def _connect(self) -> sqlite3.Connection:
        """Return a connection that overwrites what it deletes, and has a commit on the disk before it returns."""
        where = f"file:{quote(str(self.path.absolute()))}?mode=rw"
        found = sqlite3.connect(where, turns.BUSY_SECONDS, isolation_level=None, check_same_thread=False, uri=True)
        found.execute("PRAGMA trusted_schema = OFF")
        found.execute("PRAGMA synchronous = FULL")
        found.execute("PRAGMA secure_delete = ON")
        found.execute(f"PRAGMA journal_size_limit = {LOG_BYTES}")
        return found

    def _open(self) -> None:
        kind = self._kind(self._writer)  # before anything is written, the journal's mode included
        if kind in ("new", "older"):
            self._make_private()  # before there is a log, which has the file's rights
        (mode,) = self._writer.execute("PRAGMA journal_mode").fetchone()
        if mode != "wal":
            with suppress(sqlite3.OperationalError):  # another process is in it, and has the log or a journal
                (mode,) = self._writer.execute("PRAGMA journal_mode = WAL").fetchone()
            if mode != "wal":
                log.info("%s: the disk has no write-ahead log; who reads waits for who commits", self.path)
        if kind == "ours":
            return
        with self.writing() as database:
            adopt(database, self.path)
            database.execute("COMMIT")

    def _kind(self, database: sqlite3.Connection) -> str:
        """`kind_of`, at one moment: another process may be making the file ours."""
        database.execute("BEGIN")
        try:
            return kind_of(database, self.path)
        finally:
            with suppress(sqlite3.Error):  # nothing was written
                database.execute("ROLLBACK")

    def _make_private(self) -> None:
        """Keep everybody but its owner from a file that becomes ours, and from what SQLite has put beside it. Once:
        whoever opens it to others later has meant it."""
        try:
            for end in ("", "-wal", "-shm", "-journal"):
                beside = self.path.with_name(self.path.name + end)
                with suppress(FileNotFoundError):
                    if beside.stat().st_mode & 0o077:
                        beside.chmod(0o600)
        except OSError as error:
            raise DataError(
                f"{self.path} can be read by others, and that cannot be changed ({error.strerror}). Have its owner "
                "open it, or give a copy of your own."
            ) from error

    def _clean_left_over(self) -> None:
        """Finish an erasure that a killed process has begun, or an upgrade."""
        try:
            if self.unfinished():
                self.clean()
        except (StoreBusy, StoreFailed) as error:
            log.warning("what was erased may still be in the bytes of %s (%s)", self.path, error)
        except BaseException:
            self.close()
            raise

    def _empty_log(self, turn: WriteTurn) -> None:
        while self._writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
            turn.wait("others read it all the time, and it has still in its log what was deleted")

    # Connections ------------------------------------------------------------------------------------------------

    def _take(self) -> sqlite3.Connection:
        with self._lock:
            self._check_open()
            if self._idle:
                return self._idle.pop()
        return self._connect()

    def _give(self, reader: sqlite3.Connection) -> None:
        with self._lock:
            if not self._closed and len(self._idle) < IDLE_READERS:
                self._idle.append(reader)
                return
        reader.close()

    def _check_open(self) -> None:
        if self._closed:
            raise Closed(f"{self.path} is closed. Open it again.")

    @contextmanager
    def _typed(self) -> Iterator[None]:
        """Give SQLite's errors our names."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._named(error) from error
        except Held as error:
            raise StoreBusy(f"{self.path} cannot be written now: {error}. Try again in a moment.") from error

    def _named(self, error: sqlite3.Error) -> MemrlError:
        if self._closed and isinstance(error, sqlite3.ProgrammingError):
            return Closed(f"{self.path} is closed. Open it again.")
        code = getattr(error, "sqlite_errorname", "")
        kind = "_".join(code.split("_")[:2])  # SQLITE_IOERR_WRITE is an SQLITE_IOERR
        if kind in ("SQLITE_BUSY", "SQLITE_LOCKED"):
            return StoreBusy(f"{self.path} is held by another process. Try again in a moment.")
        if kind == "SQLITE_FULL":
            return StoreFailed(f"the disk of {self.path} is full; nothing was changed. Free some space.")
        if kind == "SQLITE_READONLY":
            return StoreFailed(f"{self.path} can no longer be written ({error}). Make it writable.")
        if kind in _DAMAGED:
            return DataError(f"{self.path} is no memory file, or damaged ({error}). Restore it from a copy.")
        return StoreFailed(f"{self.path} cannot be used now ({error}); nothing was changed. Look at its disk.")
