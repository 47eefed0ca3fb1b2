"""A folder for as long as a process lives, which is removed also when that is killed.

A process that gets SIGKILL cleans nothing up. So somebody else does: a shell that waits for the end of a pipe whose
other end this process holds, and which the kernel closes for the dead as well.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

# Into the background and a session of its own: what ends the process and its children must leave it time to do this.
_AFTERWARDS = 'exec 3<&0; (trap "" HUP INT TERM; cat <&3 >/dev/null; rm -rf -- "$0") &'


class Scratch:
    """A new folder in the temporary directory of the machine.

    Args:
        prefix: of its name.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        reading, self._held = os.pipe()  # not inherited by what this process starts
        try:
            subprocess.run(
                ["sh", "-c", _AFTERWARDS, str(self.path)],
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                check=True,
            )
        finally:
            os.close(reading)
        _open.add(self)

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.let_go()

    def let_go(self) -> None:
        """Hold it no longer in this process."""
        _open.discard(self)
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


_open: set[Scratch] = set()


def _let_go_in_child() -> None:
    """Close what a fork has copied: a folder would stay for as long as a child of its process lives."""
    for scratch in tuple(_open):
        scratch.let_go()


os.register_at_fork(after_in_child=_let_go_in_child)
