"""Trackers get every row and the end, and stop nothing."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from memrl.config import load_config
from memrl.config.registries import TRACKER_PACKAGES
from memrl.errors import ConfigError
from memrl.report import trackers as module
from memrl.report.trackers import WAITING_AT_MOST, HeldOut, RunInfo, Score, Trackers, open_trackers

RUN = RunInfo("test", Path("."), {"seed": 0}, 0)
HELD_OUT = HeldOut(1, (Score("all", 0.5, 0.4, 0.6),), Path("curve.png"), ())


class Keeps:
    """Keeps what it is told."""

    def __init__(self, run: RunInfo) -> None:
        self.run = run
        self.told: list[Any] = []

    def row(self, row: Mapping[str, Any]) -> None:
        self.told.append(row)

    def end(self, summary: Mapping[str, Any] | None) -> None:
        self.told.append(("end", summary))


class KeepsAll(Keeps):
    """Takes evaluations too."""

    def evaluation(self, held_out: HeldOut) -> None:
        self.told.append(held_out)


class Breaks(Keeps):
    """Breaks at the second row."""

    def row(self, row: Mapping[str, Any]) -> None:
        super().row(row)
        if row["step"] == 1:
            row["step"] += 1  # type: ignore[index]
            raise RuntimeError("no network")


class Hangs(Keeps):
    """Hangs at the first row, until it is abandoned."""

    def __init__(self, run: RunInfo) -> None:
        super().__init__(run)
        self.gone = threading.Event()

    def row(self, row: Mapping[str, Any]) -> None:
        super().row(row)
        self.gone.wait()
        raise RuntimeError("too late to be told")

    def abandon(self) -> None:
        self.told.append("abandoned")
        self.gone.set()


def unopened(run: RunInfo) -> Keeps:
    raise OSError("not logged in")


def exits(run: RunInfo) -> Keeps:
    raise SystemExit(1)


def opened(kind: type[Keeps]) -> tuple[list[Keeps], Any]:
    made: list[Keeps] = []

    def opener(run: RunInfo) -> Keeps:
        made.append(kind(run))
        return made[-1]

    return made, opener


def messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return sorted(record.getMessage() for record in caplog.records)


def test_each_gets_every_row_and_one_end_whatever_the_others_do(caplog: pytest.LogCaptureFixture) -> None:
    (broken, breaks), (kept, keeps) = opened(Breaks), opened(Keeps)
    rows = [{"step": 0}, {"step": 1}, {"step": 2}]
    with (
        caplog.at_level(logging.WARNING),
        Trackers({"a": breaks, "b": unopened, "c": keeps, "d": exits}, RUN) as trackers,
    ):
        for row in rows:
            trackers.row(row)
        trackers.end({"steps": 2})
    assert rows == [{"step": 0}, {"step": 1}, {"step": 2}]  # each had a copy
    assert kept[0].told == [*rows, ("end", {"steps": 2})]
    assert [entry["step"] for entry in broken[0].told] == [0, 2]
    assert messages(caplog) == [
        "tracker a failed and gets nothing more: RuntimeError: no network",
        "tracker b failed and gets nothing more: OSError: not logged in",
        "tracker d failed and gets nothing more: SystemExit: 1",
    ]


def test_evaluations_go_to_those_that_take_them(caplog: pytest.LogCaptureFixture) -> None:
    (plain, keeps), (more, keeps_all) = opened(Keeps), opened(KeepsAll)

    def cannot() -> HeldOut:
        raise ValueError("no text")

    with Trackers({"plain": keeps, "more": keeps_all}, RUN) as trackers:
        trackers.row({"step": 1})
        trackers.evaluation(lambda: HELD_OUT)
        trackers.evaluation(cannot)
        trackers.end(None)
    assert plain[0].told == [{"step": 1}, ("end", None)]
    assert more[0].told == [{"step": 1}, HELD_OUT, ("end", None)]
    assert messages(caplog) == ["an evaluation was not given to trackers: ValueError: no text"]


def test_a_run_that_is_stopped_ends_without_a_summary() -> None:
    kept, keeps = opened(Keeps)
    with pytest.raises(KeyboardInterrupt), Trackers({"kept": keeps}, RUN) as trackers:
        trackers.row({"step": 0})
        raise KeyboardInterrupt
    assert kept[0].told == [{"step": 0}, ("end", None)]


def test_one_that_hangs_costs_no_row_any_time_and_the_end_no_more_than_it_may(
    caplog: pytest.LogCaptureFixture,
) -> None:
    (hung, hangs), (kept, keeps) = opened(Hangs), opened(Keeps)
    trackers = Trackers({"slow": hangs, "well": keeps}, RUN)
    began = time.monotonic()
    for step in range(WAITING_AT_MOST + 50):
        trackers.row({"step": step})
        if not step % 50:
            time.sleep(0.02)  # the other one keeps up
    assert time.monotonic() - began < 2
    began = time.monotonic()
    trackers.end({}, seconds=0.3)
    assert 0.3 <= time.monotonic() - began < 2
    assert hung[0].told == [{"step": 0}, "abandoned"]
    assert len(kept[0].told) == WAITING_AT_MOST + 51
    assert messages(caplog) == [
        "tracker slow has not ended within 0.3 s and is left to itself",
        f"tracker slow is too slow: {WAITING_AT_MOST} calls wait for it, and what comes now is dropped "
        "(metrics.jsonl has it)",
    ]


def test_no_exit_of_the_process_waits_for_one_that_hangs() -> None:
    program = """
import time
from pathlib import Path
from memrl.report.trackers import RunInfo, Trackers
class Hangs:
    def __init__(self, run): time.sleep(3600)
trackers = Trackers({"slow": Hangs}, RunInfo("test", Path("."), {}, 0))
trackers.row({"step": 0})
raise SystemExit(7)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=30, check=False)
    assert done.returncode == 7


def test_ctrl_c_while_an_end_waits_leaves_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    hung, hangs = opened(Hangs)
    trackers = Trackers({"slow": hangs}, RUN)
    trackers.row({"step": 0})

    def interrupted(follower: Any, seconds: float) -> None:
        time.sleep(0.1)
        raise KeyboardInterrupt

    monkeypatch.setattr(module._Follower, "wait", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trackers.end({})
    assert hung[0].told[-1] == "abandoned"


def test_trackers_are_found_by_import_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "my_tracker.py").write_text(
        "class Mine:\n    def __init__(s, run): s.run = run\n    def row(s, row): s.run.settings.append(row)\n"
        "    def end(s, summary): pass"
    )
    monkeypatch.syspath_prepend(tmp_path)
    kept: list[Any] = []
    with open_trackers(["my_tracker:Mine"], RunInfo("test", tmp_path, kept, 0)) as trackers:  # type: ignore[arg-type]
        trackers.row({"step": 0})
    assert kept == [{"step": 0}]


@pytest.mark.parametrize("name", TRACKER_PACKAGES)
def test_a_package_that_is_missing_is_told_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memrl.config.check.find_spec", lambda package: None)
    with pytest.raises(ConfigError, match=rf"run.trackers names {name}, .* pip install 'memrl\[{name}\]'"):
        load_config("tiny", [f"run.trackers=[{name}]"])


def test_a_tracker_is_named_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memrl.config.check.find_spec", lambda package: package)
    with pytest.raises(ConfigError, match=r"run\.trackers names 'wandb' 2 times; name it once"):
        load_config("tiny", ["run.trackers=[wandb, wandb]"])
