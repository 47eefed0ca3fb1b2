"""The connections under the server: how many there may be, how long one may wait, and how all of them end.

Invariant: a client that sends nothing, or half a request, costs a connection for seconds and nobody else anything.
uvicorn has limits of its own for neither.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from memrl.serve.limits import Limits

log = logging.getLogger(__name__)
OWN_FILES = 256
"""Descriptors that are left for everything but connections: the memory's file is open once a user."""
GRACE = 2
"""Seconds in which requests may end after a signal; those under way are then cancelled."""
LONGEST_END = 4.5
"""Seconds after a signal when the process ends, whatever is still under way: what was acknowledged is on the disk."""
SELDOM = 60.0
"""Seconds in which a complaint that anybody can cause is logged once."""


class Connection(H11Protocol):
    """A connection that is closed when it waits too long for the rest of a request."""

    header_seconds: float
    most: int
    late: asyncio.TimerHandle | None = None
    since = 0.0
    """When it began to wait."""
    _left = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.since = self.loop.time()
        if len(self.connections) > self.most:
            self._make_room()
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if not self._waits_for_body and not self._waits and self.conn.trailing_data[0]:
            # A second request before the first is answered: no client does it, and nobody would see this one go.
            self.transport.abort()
        self._watch()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self.since = self.loop.time()
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.late is not None:
            self.late.cancel()
        super().connection_lost(exc)

    @property
    def _waits(self) -> bool:
        """Return whether no request is being answered."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def _waits_for_body(self) -> bool:
        return self.cycle is not None and self.cycle.more_body

    def _watch(self) -> None:
        """Have the clock run while the head of a request is due. Bodies have the guard's."""
        if not self._waits:
            if self.late is not None:
                self.late.cancel()
            self.late = None
        elif self.late is None:
            self.late = self.loop.call_later(self.header_seconds, self._too_late)

    def _too_late(self) -> None:
        left, before = self.transport.get_write_buffer_size(), self._left
        self.late, self._left = None, left
        if left and (left < before or not before):  # a reply that its client is still reading
            self._watch()
        else:
            self.transport.abort()

    def _make_room(self) -> None:
        """Close the connection that waits longest: for a request, or for the rest of its body."""
        waiting = [each for each in self.connections if isinstance(each, Connection) and each is not self]
        waiting = [each for each in waiting if each._waits or each._waits_for_body]
        closed = min(waiting, key=lambda each: each.since, default=self)
        self.connections.discard(closed)
        closed.transport.abort()
        log.warning("more than %d connections at once; those that wait longest for a request are closed", self.most)


def bounded(limits: Limits) -> type[Connection]:
    """Return the protocol of connections under these limits, and under the process's limit of open files."""
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    room = limits.connections if files == resource.RLIM_INFINITY else max(files - OWN_FILES, files // 4)

    class Bounded(Connection):
        header_seconds = limits.header_seconds
        most = min(limits.connections, room)

    return Bounded


class Server(uvicorn.Server):
    """A server that ends within seconds of a signal, and then hands on what its caller has to close."""

    ended_by: int | None = None
    """The signal that ended it."""

    async def serve(self, sockets: list[Any] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_complain)
        await super().serve(sockets)

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """Note signals instead of raising them again after the end: the caller still has to close its agent."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        handled = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in handled}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self.ended_by is None:
            self.ended_by = sig
            last = threading.Timer(LONGEST_END, _leave, (128 + sig,))
            last.daemon = True
            last.start()


class Seldom(logging.Filter):
    """A filter that lets each complaint through once in `SELDOM` seconds: whoever sends nonsense fills no disk."""

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        message = str(record.msg)
        if record.levelno > logging.WARNING or now - self._last.get(message, -SELDOM) >= SELDOM:
            self._last[message] = now
            return True
        return False


def _leave(code: int) -> None:
    log.warning("something did not end in time; what was acknowledged is on the disk")
    os._exit(code)


_last_accept = -SELDOM


def _complain(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log what goes wrong in the loop; that no connection can be accepted, which repeats itself, seldom."""
    global _last_accept
    if "accept" in str(context.get("message")):
        if time.monotonic() - _last_accept >= SELDOM:
            _last_accept = time.monotonic()
            log.error("no connection can be accepted (%s); raise the limit of open files", context.get("exception"))
        return
    loop.default_exception_handler(context)
