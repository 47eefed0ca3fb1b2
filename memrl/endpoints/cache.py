"""Answers that were paid for already, on disk: one SQLite file for each host that asks.

No network disk ever sees two machines write one file; processes of one host share theirs. Invariant: whatever happens
to the file, no answer changes and no episode fails. Each row has a checksum, since SQLite has none; a damaged file is
set aside, and one that cannot be used is done without.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import socket
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from memrl.config import EndpointConfig

log = logging.getLogger(__name__)
Role = Literal["reader", "judge", "sft"]
"""Who is asked, by the section that names it; `sft`: the teacher of a warm start."""
BUSY_SECONDS = 5.0
"""How long another process of this host may hold the file."""
_TABLE = """CREATE TABLE IF NOT EXISTS answers
(key TEXT PRIMARY KEY, text TEXT, prompt_tokens INTEGER, completion_tokens INTEGER, checksum TEXT) WITHOUT ROWID"""


@dataclass(frozen=True)
class CachedAnswer:
    """An answer of a model, and the tokens it took."""

    text: str
    prompt_tokens: int
    completion_tokens: int

    def checksum(self, key: str) -> str:
        """Return the checksum of the row that holds it."""
        return _digest([key, self.text, self.prompt_tokens, self.completion_tokens])


def request_key(model: str, messages: Sequence[Mapping[str, str]], max_tokens: int) -> str:
    """Equal for requests that must get the same answer: the messages hold the memory's view and the question."""
    return _digest([model, [dict(message) for message in messages], max_tokens])


def cache_folder(config: EndpointConfig, role: Role, run_dir: str | None) -> Path | None:
    """Return where the reader's or the judge's answers are kept; None where they are not."""
    if not config.cache or not (config.cache_dir or run_dir):
        return None
    folder = Path(config.cache_dir) if config.cache_dir else Path(str(run_dir)) / f"{role}-cache"
    return folder.expanduser().resolve()


def with_cache_folder(config: EndpointConfig, role: Role, run_dir: str | None) -> EndpointConfig:
    """Return an endpoint's section for other processes, which do not start in this one's folder."""
    folder = cache_folder(config, role, run_dir)
    return config if folder is None else replace(config, cache_dir=str(folder))


def open_cache(config: EndpointConfig, role: Role, run_dir: str | None) -> AnswerCache | None:
    """Return the cache of the reader's or the judge's answers; None where they are not kept."""
    folder = cache_folder(config, role, run_dir)
    return None if folder is None else AnswerCache(folder)


class AnswerCache:
    """The answers of this host in a folder that hosts may share. Opens its file when it is first asked."""

    def __init__(self, folder: Path) -> None:
        host = re.sub(r"[^\w.-]", "_", socket.gethostname())
        self.path = folder / f"answers-{host}.sqlite"
        self._connection: sqlite3.Connection | None = None
        self._opened: int | None = None  # inode
        self._warned = False

    def get(self, key: str) -> CachedAnswer | None:
        """The answer kept under `key`, if there is one and it is what was written."""
        query = "SELECT text, prompt_tokens, completion_tokens, checksum FROM answers WHERE key = ?"
        row = self._do(lambda database: database.execute(query, (key,)).fetchone())
        if row is None:
            return None
        found = CachedAnswer(*row[:3])
        if row[3] != found.checksum(key):
            self._set_aside("an answer in it is not what was written")
            return None
        return found

    def put(self, key: str, answer: CachedAnswer) -> None:
        """Keep an answer, if the file can be written."""
        row = (key, answer.text, answer.prompt_tokens, answer.completion_tokens, answer.checksum(key))
        self._do(lambda database: database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)", row))

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _do(self, work: Callable[[sqlite3.Connection], Any]) -> Any:
        try:
            return work(self._open())
        except (sqlite3.OperationalError, OSError) as error:  # locked, full, read-only: the next one may get through
            self._warn(f"cannot be used ({error})")
        except sqlite3.Error as error:
            self._set_aside(str(error))
        return None

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # Which thread the event loop runs in is not ours to say; it is always one.
            connection = sqlite3.connect(self.path, BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._connection, self._opened = connection, self.path.stat().st_ino
            # An answer lost in a power cut is asked again. No WAL: it needs memory that network disks cannot share.
            connection.execute("PRAGMA synchronous = OFF")
            connection.execute(_TABLE)
        return self._connection

    def _set_aside(self, why: str) -> None:
        """Rename the damaged file, unless another process has done so and the name is a fresh one's by now."""
        self.close()
        try:
            if self.path.stat().st_ino == self._opened:
                for end in ("-journal", ""):  # a journal left behind would be played into the next file
                    file = self.path.with_name(self.path.name + end)
                    if file.exists():
                        os.replace(file, file.with_name(f"{file.name}.damaged"))
        except OSError as error:
            why = f"{why}; {error}"
        self._warn(f"is damaged ({why}) and was set aside")

    def _warn(self, what: str) -> None:
        if not self._warned:
            log.warning("the cache of answers %s %s; what it lacks is asked again", self.path, what)
        self._warned = True


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, ensure_ascii=True, sort_keys=True, default=repr).encode()).hexdigest()
