"""trackio: a run of the project `memrl`, or of TRACKIO_PROJECT, where trackio keeps its projects (TRACKIO_DIR).

`trackio show` opens them. TRACKIO_SPACE_ID and TRACKIO_SERVER_URL send them elsewhere, as trackio says.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import trackio

from memrl.report.trackers import HeldOut, RunInfo
from memrl.report.tracking.kept import TrackerRecord
from memrl.report.tracking.shared import COLUMNS, PROJECT, flat, numbers, table, verbatim


class Trackio:
    """Writes a run; trackio's own thread puts it into its database twice a second."""

    note = ""

    def __init__(self, run: RunInfo, kept: TrackerRecord) -> None:
        self._step = run.step
        self._run = trackio.init(
            project=os.environ.get("TRACKIO_PROJECT", PROJECT),
            name=f"{run.folder.resolve().name}-{kept.id}",  # the name is all that a run is found again by
            config={key: value if isinstance(value, int | float) else str(value) for key, value in flat(run.settings)},
            resume="allow",
            embed=False,
            auto_log_gpu=False,
            auto_log_cpu=False,
        )

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        self._step = step
        self._run.log(dict(values), step=step)

    def evaluation(self, held_out: HeldOut) -> None:
        """Write a table, the curve, and the episodes as text."""
        told: dict[str, Any] = {"held-out/scores": trackio.Table(columns=list(COLUMNS), data=table(held_out))}
        if held_out.curve.is_file():
            told["held-out/curve"] = trackio.Image(str(held_out.curve))
        for number, (title, text) in enumerate(held_out.episodes):
            told[f"held-out/episode_{number}"] = trackio.Markdown(f"{verbatim(title)}\n\n{verbatim(text)}")
        self._run.log(told, step=held_out.step)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Write the summary's figures, and wait until all is in the database."""
        told = {f"summary/{key}": value for key, value in numbers(summary or {}).items()}
        if told:
            self._run.log(told, step=self._step)
        self._run.finish()


def open_writer(run: RunInfo, kept: TrackerRecord) -> Trackio:
    """Open the run, or go on with it."""
    return Trackio(run, kept)
