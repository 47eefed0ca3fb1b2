"""Trackers get every row and the end, and stop nothing."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from memrl.report.trackers import RunInfo, Trackers, open_trackers

RUN = RunInfo("test", Path("."), {"seed": 0}, 0)


class Keeps:
    """Keeps what it is told."""

    def __init__(self, run: RunInfo) -> None:
        self.run = run
        self.told: list[Any] = []

    def row(self, row: Mapping[str, Any]) -> None:
        self.told.append(row)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        self.told.append(("end", summary))


class Breaks(Keeps):
    """Breaks at the second row."""

    def row(self, row: Mapping[str, Any]) -> None:
        super().row(row)
        if row["step"] == 1:
            row["step"] += 1  # type: ignore[index]
            raise RuntimeError("no network")


def unopened(run: RunInfo) -> Keeps:
    raise OSError("not logged in")


def test_each_gets_every_row_and_one_end_whatever_the_others_do(caplog: pytest.LogCaptureFixture) -> None:
    made: dict[str, Keeps] = {}

    def opener(kind: type[Keeps], name: str) -> Any:
        return lambda run: made.setdefault(name, kind(run))

    rows = [{"step": 0}, {"step": 1}, {"step": 2}]
    with caplog.at_level(logging.WARNING):
        openers = {"a": opener(Breaks, "a"), "b": unopened, "c": opener(Keeps, "c")}
        with Trackers(openers, RUN) as trackers:
            for row in rows:
                trackers.row(row)
            trackers.end({"steps": 2})
    assert rows == [{"step": 0}, {"step": 1}, {"step": 2}]  # each had a copy
    assert made["c"].told == [*rows, ("end", {"steps": 2})]
    assert [entry["step"] for entry in made["a"].told] == [0, 2]
    assert [record.getMessage() for record in caplog.records] == [
        "tracker b failed and gets nothing more: OSError: not logged in",
        "tracker a failed and gets nothing more: RuntimeError: no network",
    ]


def test_a_run_that_is_stopped_ends_without_a_summary() -> None:
    kept = Keeps(RUN)
    with pytest.raises(KeyboardInterrupt), Trackers({"kept": lambda run: kept}, RUN) as trackers:
        trackers.row({"step": 0})
        raise KeyboardInterrupt
    assert kept.told == [{"step": 0}, ("end", None)]


def test_trackers_are_found_by_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_tracker.py").write_text(
        "class Mine:\n    def __init__(s, run): s.run = run\n    def row(s, row): s.run.settings.append(row)\n"
        "    def end(s, summary): pass"
    )
    monkeypatch.syspath_prepend(tmp_path)
    kept: list[Any] = []
    trackers = open_trackers(["my_tracker:Mine"], RunInfo("test", tmp_path, kept, 0))  # type: ignore[arg-type]
    trackers.row({"step": 0})
    assert kept == [{"step": 0}]
