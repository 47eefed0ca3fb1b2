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

from memrl.storage.held import hold, let_go

# Into the background and a session of its own: what ends the process and its children must leave it time to do this.
_AFTERWARDS = 'exec 3<&0; (trap "" HUP INT TERM; cat <&3 >/dev/null; rm -rf -- "$0") &'


class Scratch:
    """A new folder in the temporary directory of the machine.

    Args:
        prefix: of its name.
    """

    def __init__(self, prefix: str) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=prefix))
        reading, writing = os.pipe()  # not inherited by what this process starts
        self._held = hold(writing)
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

    def close(self) -> None:
        """Remove it."""
        shutil.rmtree(self.path, ignore_errors=True)
        let_go(self._held)
