"""The ends that come from outside: SIGTERM, which Slurm, Kubernetes and spot machines send some seconds before they
kill, and those that leave no time for a word.

SIGTERM ends a command as Ctrl-C does, wherever that stands, so that whatever saves its work on one saves it on the
other. After an end without a word (SIGKILL; Ray ends a process whose node has died) a shell that was started beforehand
says the last one.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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


# Into the background and a session of its own, so that it outlives what ends the command.
_SPEAKER = 'exec 3<&0; (trap "" HUP INT TERM; read -r ended <&3 || printf "%s\\n" "$0" >&2) &'


@contextmanager
def last_word(message: str) -> Iterator[None]:
    """Have `message` written to stderr if this process ends within the block without leaving it."""
    reading, writing = os.pipe()  # the kernel closes our end for the dead as well
    command = ["sh", "-c", _SPEAKER, message]
    with suppress(OSError):  # a machine without a shell
        subprocess.run(command, stdin=reading, stdout=subprocess.DEVNULL, start_new_session=True, check=False)
    os.close(reading)
    try:
        yield
    finally:
        with suppress(OSError):
            os.write(writing, b"ended\n")
        os.close(writing)
