"""The process of one tracker's library: `python -m memrl.report.tracking NAME`, started by the trainer's.

It reads calls from stdin, a JSON line each, and answers each by a line on what was its stdout; that is stderr from
then on, for whatever the library prints. Where stdin ends without a call `end`, the trainer is gone: the library is
ended as for a run that was stopped, and has a while for it.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

from memrl.report.trackers import HeldOut, RunInfo, Score
from memrl.report.tracking.kept import TrackerRecord
from memrl.report.tracking.shared import Writer

ORPHAN_SECONDS = 20
"""How long the library may take to end once the trainer is gone."""


class _Calls:
    """The calls of a run to one library."""

    def __init__(self, name: str) -> None:
        self._module = import_module(f"memrl.report.tracking.{name}")
        self._name = name
        self._writer: Writer | None = None
        self._kept: TrackerRecord | None = None

    def open(self, given: dict[str, Any]) -> str:
        run = RunInfo(**{**given, "folder": Path(given["folder"])})
        self._kept = TrackerRecord(run.folder, self._name)
        self._writer = self._module.open_writer(run, self._kept)
        self._kept.note()
        return self._writer.note if self._writer else ""

    def row(self, given: dict[str, Any]) -> None:
        step = int(given["step"])
        if self._writer and self._kept and not self._kept.has("row", step):
            values = {key: float(value) for key, value in given.items() if key != "step"}
            self._writer.row(step, values)
            self._kept.note("row", step)

    def evaluation(self, given: dict[str, Any]) -> None:
        scores = tuple(Score(**score) for score in given["scores"])
        episodes = tuple((title, text) for title, text in given["episodes"])
        held_out = HeldOut(given["step"], scores, Path(given["curve"]), episodes)
        if self._writer and self._kept and not self._kept.has("evaluation", held_out.step):
            self._writer.evaluation(held_out)
            self._kept.note("evaluation", held_out.step)

    def end(self, given: dict[str, Any] | None) -> None:
        writer, self._writer = self._writer, None
        if writer:
            writer.end(given)


def main() -> None:
    """Serve calls until there are no more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    requests = os.fdopen(os.dup(0), "rb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # no library may ask for a key here
    calls: _Calls | None = None
    for line in requests:
        what, given = json.loads(line)
        told: dict[str, str] = {}
        try:
            calls = calls or _Calls(sys.argv[1])
            told["note"] = getattr(calls, what)(given) or ""
        except BaseException as error:  # also what a library makes of a missing key: some exit
            traceback.print_exc()
            told["error"] = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        answers.write(json.dumps(told) + "\n")
        answers.flush()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.alarm(ORPHAN_SECONDS)
    if calls:
        calls.end(None)


if __name__ == "__main__":
    main()
