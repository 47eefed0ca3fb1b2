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
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from memrl.storage.held import hold, holds, let_go

GRACE = 30.0
"""Seconds after a SIGTERM in which another one changes nothing: it must not cut short what the first one has saved."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


def _terminator() -> Callable[[int, Any], None]:
    quiet_until = 0.0

    def terminate(number: int, frame: Any) -> None:
        nonlocal quiet_until
        if time.monotonic() >= quiet_until:
            quiet_until = time.monotonic() + GRACE
            raise Terminated

    return terminate


@contextmanager
def terminable() -> Iterator[None]:
    """Raise `Terminated` within the block when SIGTERM comes; in a thread that gets no signals do nothing."""
    try:
        before = signal.signal(signal.SIGTERM, _terminator())
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
    hold(writing)
    try:
        yield
    finally:
        if holds(writing):  # else this is a fork of the process
            with suppress(OSError):
                os.write(writing, b"ended\n")
            let_go(writing)
