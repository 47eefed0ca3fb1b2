"""Work of other people's making, tried in a process of its own that may compute so long and hold so much.

What cannot be interrupted from within (a template's endless loop, a string of many gigabytes) ends with its process.
"""

from __future__ import annotations

import os
import pickle
import resource
import select
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

_GRACE = 6.0
"""Seconds on the clock for each second of computing: other programs may keep the cores busy."""


class Unended(Exception):
    """The work did not end within what it was given; the message says which limit it was."""


def limited(work: Callable[[], Any], *, seconds: float, room: int) -> Any:
    """Return what `work` returns, or raise what it raises, in a copy of this process.

    Args:
        work: pure Python, since other threads do not live on in the copy; its result can be pickled.
        seconds: of computing.
        room: bytes beyond what this process holds.

    Raises:
        Unended: it took longer, wanted more, or its process was ended.
        OSError: this process cannot have another beside it.
    """
    reading, writing = os.pipe()
    try:
        child = os.fork()
    except BaseException:
        os.close(reading)
        os.close(writing)
        raise
    if not child:
        _tell(writing, work, seconds, room)
    os.close(writing)
    data: bytes | None = None
    try:
        data = _heard(reading, time.monotonic() + _GRACE * seconds)
    finally:
        os.close(reading)
        if data is None:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)  # it is to tell no more
        ended = _end_of(child)
    if data is None or ended == signal.SIGXCPU:
        raise Unended(f"it does not come to an end within {seconds:g} s of computing")
    if not data:
        how = f"was ended by signal {ended}" if ended else "ended without a word"
        raise Unended(f"the process that tried it {how}")
    done, result = pickle.loads(data)  # our own process wrote it
    if done:
        return result
    if isinstance(result, MemoryError):
        raise Unended(f"it wants more than {room >> 20} MiB of memory")
    raise result


def _end_of(child: int) -> int:
    """Wait for a child's end; returns the signal that ended it, 0 where none did or nobody says."""
    try:
        _, status = os.waitpid(child, 0)
    except ChildProcessError:  # who started this process lets the system clear its children away (SIGCHLD is ignored)
        return 0
    return os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0


def _heard(reading: int, until: float) -> bytes | None:
    """Return all that the other end has told when it ended; None where the time is over before."""
    data = bytearray()
    ready = select.poll()  # select knows no descriptor above 1,023
    ready.register(reading, select.POLLIN)
    while (left := until - time.monotonic()) > 0:
        if ready.poll(1000 * left):
            piece = os.read(reading, 1 << 16)
            if not piece:
                return bytes(data)
            data += piece
    return None


def _packed(told: tuple[bool, Any]) -> bytes:
    """Return what was told as bytes; of an error that cannot be told whole, what it says."""
    try:
        data = pickle.dumps(told)
        if not told[0]:
            pickle.loads(data)  # some errors can be written and not read
        return data
    except Exception as error:
        return pickle.dumps((False, RuntimeError(repr(error if told[0] else told[1]))))


def _tell(writing: int, work: Callable[[], Any], seconds: float, room: int) -> None:
    """Do the work, write what came of it, and end this process without anything else that it would do at its end."""
    try:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGXCPU):
            signal.signal(number, signal.SIG_DFL)
        with suppress(OSError, ValueError):  # no such file on this system, or a limit that was lower already
            held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (held + room, held + room))
        with suppress(ValueError):
            resource.setrlimit(resource.RLIMIT_CPU, (max(1, round(seconds)), max(1, round(seconds)) + 1))
        told: tuple[bool, Any]
        try:
            told = (True, work())
        except Exception as error:
            told = (False, error)
        data = _packed(told)
        while data:
            data = data[os.write(writing, data) :]
    finally:
        os._exit(0)
