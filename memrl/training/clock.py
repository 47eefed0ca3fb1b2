"""A clock of what a run spends its time on, in seconds, over all the processes that it was resumed in."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class Clock:
    """The wall clock of a run, by phase.

    Attributes:
        wall: seconds by phase, since the run began.
    """

    def __init__(self) -> None:
        self.wall: defaultdict[str, float] = defaultdict(float)
        self._began = time.monotonic()
        self._before = 0.0  # seconds spent by the runs that this one resumes
        self._reported: dict[str, float] = {}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Count the block's time to a phase."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.wall[phase] += time.monotonic() - began

    def lap(self) -> dict[str, float]:
        """Return the seconds by phase since this was last asked."""
        spent = {phase: self.wall[phase] - self._reported.get(phase, 0.0) for phase in self.wall}
        self._reported = dict(self.wall)
        return spent

    def seconds(self) -> float:
        """Return the seconds that the run has taken, those before it was resumed included."""
        return self._before + time.monotonic() - self._began

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the clock."""
        return {"wall": dict(self.wall), "seconds": self.seconds()}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` was, on top of what building has taken this time."""
        for phase, spent in state["wall"].items():
            self.wall[phase] += spent
        self._reported = dict(state["wall"])
        self._before = state["seconds"]
