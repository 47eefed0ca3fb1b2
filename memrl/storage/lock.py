"""One process at a time writes a run folder: a lock that the kernel keeps, and takes back when the process dies.

The invariant: whoever holds the lock is alive. A process that was killed, however hard, leaves a file behind and no
lock; the next one takes the file over. Readers (`memrl eval`, `memrl export`) ask for no lock.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from memrl.errors import ConfigError
from memrl.storage.held import hold, let_go

log = logging.getLogger(__name__)

LOCK_FILE = "lock"
"""Holds the process that writes in the folder: its id and its host."""
_WITHOUT_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP}


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Hold a folder, which is made where it is not there. What was made for the lock alone goes with it.

    Raises:
        ConfigError: another process holds it; names the process.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / LOCK_FILE
    held = _take(file)
    try:
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()} {socket.gethostname()}\n".encode(), 0)
        yield
    finally:
        file.unlink(missing_ok=True)  # before the lock ends: nobody else can have taken it by now
        let_go(held)
        with suppress(OSError):  # it is not empty: there is a run in it
            for path in made:
                path.rmdir()


def holder(folder: Path) -> str | None:
    """Return who holds a folder, as `process 12 on host`; None where nobody does. It asks for no lock, so it keeps
    nobody from one; of a process on another host it is told what the file says."""
    try:
        words = (folder / LOCK_FILE).read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return None
    if len(words) != 2 or not words[0].isdecimal() or len(words[0]) > 9:
        return None
    if words[1] == socket.gethostname():
        try:
            os.kill(int(words[0]), 0)
        except ProcessLookupError:
            return None
        except PermissionError:
            pass  # it is there, and somebody else's
    return _in_words(words)


def _in_words(words: list[str]) -> str:
    """Return whom the two words of a lock file name."""
    process, host = words
    return f"process {process} on {host}"


def _take(file: Path) -> int:
    """Return the open and locked file."""
    while True:
        opened = hold(os.open(file, os.O_RDWR | os.O_CREAT, 0o644))
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            words = os.pread(opened, 200, 0).decode(errors="replace").split()
            let_go(opened)
            who = _in_words(words) if len(words) == 2 else "another process"
            raise ConfigError(
                f"{file.parent} is in use: {who} is training there. Wait until it has ended or end it, or give this "
                f"run another folder: run.dir={file.parent}-2"
            ) from error
        except OSError as error:
            if error.errno not in _WITHOUT_LOCKS:
                raise
            log.warning("%s is on a file system without locks: see to it that no second run writes there", file.parent)
            return opened
        # The last holder may have removed the file between our opening and our locking it: then it locks nothing.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(opened), os.stat(file)):
                return opened
        let_go(opened)
