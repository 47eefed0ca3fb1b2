"""SIGTERM as a word to stop: what Slurm, Kubernetes and spot machines send some seconds before they kill.

It ends a command as Ctrl-C does, wherever that stands, so that whatever saves its work on one saves it on the other.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


def _terminate(number: int, frame: Any) -> None:
    signal.signal(number, signal.SIG_IGN)  # a second one must not cut short what the first one has saved
    raise Terminated


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` within the block when SIGTERM comes; in a thread that gets no signals do nothing."""
    try:
        before = signal.signal(signal.SIGTERM, _terminate)
    except ValueError:
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)
