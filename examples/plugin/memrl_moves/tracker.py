"""The tracker `csv`: the figures of a run as a table, `metrics.csv` in its folder."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from typing import Any

from memrl.report.trackers import RunInfo

COLUMNS = ("step", "episodes", "reward/qa", "eval/qa")


class CsvTracker:
    """Writes a line when a step is done."""

    def __init__(self, run: RunInfo) -> None:
        self._file = (run.folder / "metrics.csv").open("w" if run.step == 0 else "a", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS, extrasaction="ignore")
        if run.step == 0:
            self._writer.writeheader()

    def row(self, row: Mapping[str, Any]) -> None:
        """Write one row."""
        self._writer.writerow(dict(row))
        self._file.flush()

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Close the file."""
        self._file.close()
