"""The agents of many users over one loaded model."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

KEPT = 64


@dataclass
class _Opened:
    agent: MemoryAgent
    uses: int = 0


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
        with self._lock:
            opened = self._opened.pop(user, None) or _Opened(self._agent.for_user(user))
            self._opened[user] = opened
            opened.uses += 1
        try:
            yield opened.agent
        finally:
            with self._lock:
                opened.uses -= 1
                self._close_idle(self._kept)

    def close(self) -> None:
        """Close all that nobody uses."""
        with self._lock:
            self._close_idle(0)

    def _close_idle(self, kept: int) -> None:
        idle = [user for user, opened in self._opened.items() if not opened.uses]
        for user in idle[: max(len(idle) - kept, 0)]:
            self._opened.pop(user).agent.close()
