"""The order in which the writers of one process use a file that other processes use too.

Invariant: they go one after another, in the order in which they came; none waits for longer than BUSY_SECONDS; while
another process holds the file, or it is written anew, few of them wait, and the others are told so at once: whoever
reads finds a thread then.
"""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

BUSY_SECONDS = 5.0
"""How long a writer waits for another process that holds the file."""
CLOSING_SECONDS = 2.0
"""How long it still waits once the file is to be closed: less than a server has to end."""
STUCK_SECONDS = 0.25
"""After so long in vain, the file counts as held."""
MOST_WAITING = 16
"""Writers of this process that wait for a file that is held."""


class Held(Exception):
    """Somebody else has the file; the message says who."""


class WriteTurn:
    """The time in which one writer of this process may write."""

    def __init__(self, turns: Turns, began: float) -> None:
        self._turns = turns
        self._began = began

    def begin(self, database: sqlite3.Connection) -> None:
        """Begin a transaction, once other processes let us.

        We ask again ourselves: SQLite's own pauses of up to 0.1 s would hardly ever meet the gap between two
        transactions of a busy process.
        """
        self._turns.asking(True)
        try:
            database.execute("PRAGMA busy_timeout = 0")
            while True:
                try:
                    database.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    if not getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                        raise
                self.wait("another process holds it")
        finally:
            self._turns.asking(False)
            database.execute(f"PRAGMA busy_timeout = {int(BUSY_SECONDS * 1000)}")

    def wait(self, why: str) -> None:
        """Pause for a moment.

        Raises:
            Held: the writer has waited long enough.
        """
        if self._turns.is_late(self._began):
            raise Held(why)
        time.sleep(random.uniform(0.001, 0.01))


class Turns:
    """The queue of the writers of this process."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        """The one at the head has its turn."""
        self._asking_since: float | None = None
        self._hurried = 0.0
        """When those who waited were told to hurry."""

    @contextmanager
    def next(self) -> Iterator[WriteTurn]:
        """Wait for one's turn, and have it for as long as the block lasts.

        Raises:
            Held: the file is held, and MOST_WAITING others wait for it; or for BUSY_SECONDS.
        """
        began = time.monotonic()
        with self._entered(began):
            yield WriteTurn(self, began)

    @contextmanager
    def last(self) -> Iterator[None]:
        """Wait for one's turn however long it takes: those before wait no longer than BUSY_SECONDS."""
        with self._entered(None):
            yield

    def hurry(self) -> None:
        """Let those who wait now wait for CLOSING_SECONDS at most."""
        self._hurried = time.monotonic()

    def is_late(self, began: float) -> bool:
        """Return whether who has waited since `began` has waited long enough."""
        until = began + BUSY_SECONDS
        if began <= self._hurried:
            until = min(until, self._hurried + CLOSING_SECONDS)
        return time.monotonic() > until

    def asking(self, begins: bool) -> None:
        """Note that the one at the head asks other processes for the file or writes it anew, or no longer does."""
        self._asking_since = time.monotonic() if begins else None

    @contextmanager
    def _entered(self, began: float | None) -> Iterator[None]:
        ticket = object()
        with self._changed:
            self._waiting.append(ticket)
            try:
                while self._waiting[0] is not ticket:
                    if began is not None:
                        self._check(ticket, began)
                    self._changed.wait(0.05)
            except BaseException:
                self._waiting.remove(ticket)
                raise
        try:
            yield
        finally:
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()

    def _check(self, ticket: object, began: float) -> None:
        since = self._asking_since
        if self.is_late(began):
            raise Held("others are writing all the time")
        stuck = since is not None and time.monotonic() - since > STUCK_SECONDS
        if stuck and self._waiting.index(ticket) > MOST_WAITING:
            raise Held(f"it is held, and {MOST_WAITING} wait for it already")
