"""The agents of many users over one loaded model."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from anyio import CancelScope, to_thread

from memrl.errors import Closed

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

KEPT = 64


@dataclass
class _Opened:
    uses: int = 0
    agent: MemoryAgent | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Held while the agent is opened: no other user waits for that."""


class Users:
    """Each user's agent, opened when it is asked for.

    One agent a user, so that texts are read one after another; opened again for each request, a large memory would be
    read and indexed each time.

    Args:
        kept: agents that stay open while nobody uses them.
    """

    def __init__(self, agent: MemoryAgent, kept: int = KEPT) -> None:
        self._agent = agent
        self._kept = kept
        self._opened: dict[str, _Opened] = {}
        """Those used last at the end."""
        self._lock = threading.Lock()

    @contextmanager
    def of(self, user: str) -> Iterator[MemoryAgent]:
        """The user's agent; it stays open for as long as the block lasts."""
        opened = self._take(user)
        try:
            yield self._agent_of(opened, user)
        finally:
            self._give_back(opened)

    @asynccontextmanager
    async def awaited(self, user: str) -> AsyncIterator[MemoryAgent]:
        """`of`, where nothing may wait: the agent is opened and closed in another thread."""
        opened = self._take(user)
        try:
            yield await to_thread.run_sync(self._agent_of, opened, user)
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(self._give_back, opened)

    def close(self) -> None:
        """Close all that nobody uses."""
        self._close_idle(0)

    def _take(self, user: str) -> _Opened:
        with self._lock:
            opened = self._opened.pop(user, None) or _Opened()
            self._opened[user] = opened
            opened.uses += 1
            return opened

    def _agent_of(self, opened: _Opened, user: str) -> MemoryAgent:
        with opened.lock:
            if opened.agent is None:
                agent = self._agent.for_user(user)
                with self._lock:
                    if self._opened.get(user) is opened:
                        opened.agent = agent
                if opened.agent is None:  # whoever wanted it has given up, and nobody else would close it
                    agent.close()
                    raise Closed("the agent is no longer wanted.")
            return opened.agent

    def _give_back(self, opened: _Opened) -> None:
        with self._lock:
            opened.uses -= 1
        self._close_idle(self._kept)

    def _close_idle(self, kept: int) -> None:
        with self._lock:
            idle = [user for user, opened in self._opened.items() if not opened.uses]
            # one that could not be opened is tried again by whoever comes next
            closed = {user: self._opened.pop(user) for user in idle[: max(len(idle) - kept, 0)]}
        for opened in closed.values():
            if opened.agent is not None:
                opened.agent.close()
