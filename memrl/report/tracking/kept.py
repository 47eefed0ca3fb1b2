"""The record of a tracker's run: what it is called there, and how far it has come. It stands in the run folder, so that
a run that goes on goes on there and sends nothing twice.

Invariant: a step is noted after it was written. A kill between the two, and nothing else, can send a row twice.
"""

from __future__ import annotations

import json
import uuid
from pathlib import Path

from memrl.storage.files import write_json_atomic

FOLDER = "trackers"
"""The folder in a run for all that trackers keep."""


class TrackerRecord:
    """A tracker's run: its id, and the last row and evaluation that it has.

    Args:
        folder: of the run.
        name: of the tracker.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder / FOLDER
        self._path = self.folder / f"{name}.json"
        told = _read(self._path)
        self.again = "id" in told
        """Whether there is such a run already."""
        self.id = str(told.get("id") or uuid.uuid4().hex[:8])
        """It is ours to choose, and may be replaced by the library's own before `note`."""
        self._last = {what: int(told.get(what, -1)) for what in ("row", "evaluation")}

    def has(self, what: str, step: int) -> bool:
        """Return whether a row or an evaluation was sent before."""
        return step <= self._last[what]

    def note(self, what: str | None = None, step: int = -1) -> None:
        """Keep the id, and that a row or an evaluation was sent."""
        if what is not None:
            self._last[what] = step
        write_json_atomic(self._path, {"id": self.id, **self._last})


def _read(path: Path) -> dict[str, str | int]:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return told if isinstance(told, dict) else {}
