"""A tracker's library in a process of its own, seen from the trainer's.

One JSON line goes there for each call, and one comes back. Whatever the library prints goes into
`trackers/NAME.log` of the run.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import memrl
from memrl.report.trackers import HeldOut, RunInfo
from memrl.report.tracking.kept import FOLDER

log = logging.getLogger(__name__)
GRACE_SECONDS = 10.0
"""How long a library may take to end its process once all is written."""


class TrackerFailed(Exception):
    """A library has failed in its process; the message says how."""


class InProcess:
    """A tracker whose library runs in a process of its own.

    The library is opened meanwhile; what it says of that is heard at the first call.

    Args:
        name: of the module beside this one that writes for the library.
    """

    def __init__(self, name: str, run: RunInfo) -> None:
        self._name = name
        folder = run.folder / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        self._said = folder / f"{name}.log"
        here = str(Path(memrl.__file__).resolve().parents[1])
        paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
        with self._said.open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "memrl.report.tracking", name],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # Ctrl-C is for the trainer, which ends this in its turn
            )
        self._send("open", {**asdict(run), "folder": str(run.folder)})
        self._unheard = True

    def row(self, row: Mapping[str, Any]) -> None:
        """Write one row.

        Raises:
            TrackerFailed: the library refuses, or its process has ended; as in each of these.
        """
        self._ask("row", dict(row))

    def evaluation(self, held_out: HeldOut) -> None:
        """Write one evaluation."""
        self._ask("evaluation", {**asdict(held_out), "curve": str(held_out.curve)})

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Write the summary, and end the process."""
        try:
            self._ask("end", summary)
        finally:
            self._let_go()

    def abandon(self) -> None:
        """End the process, and what it has started, at once."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _ask(self, what: str, given: Any) -> None:
        if self._unheard:
            self._unheard = False
            self._hear()
        self._send(what, given)
        self._hear()

    def _send(self, what: str, given: Any) -> None:
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # it has ended: then there is no answer
            self._process.stdin.write(json.dumps([what, given], default=str).encode() + b"\n")
            self._process.stdin.flush()

    def _hear(self) -> None:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer.endswith(b"\n"):
            raise TrackerFailed(f"its process has ended (exit code {self._process.wait()}); see {self._said}")
        told = json.loads(answer)
        if told.get("error"):
            self._let_go()
            raise TrackerFailed(f"{told['error']} (see {self._said})")
        if told.get("note"):
            log.info("tracker %s: %s", self._name, told["note"])

    def _let_go(self) -> None:
        with suppress(BrokenPipeError):
            if self._process.stdin is not None:
                self._process.stdin.close()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self.abandon()
            self._process.wait()
