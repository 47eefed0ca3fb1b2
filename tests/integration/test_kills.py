"""Ends at random moments leave nothing behind and change nothing: a short form of benchmarks/kills.py."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.kills import REPEATABLE, WAYS, Bench, command_of, holds, measure, rows_of

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("way", list(WAYS))
def test_runs_that_are_ended_at_random_moments_are_as_if_nothing_had_been(
    way: str, quick_model: Path, tmp_path: Path
) -> None:
    bench = Bench(str(quick_model), WAYS[way], tmp_path / way)
    found = measure(bench, 1, random.Random(f"test/{way}"), way in REPEATABLE)
    assert holds(found), found
    assert found["runs"] >= 1 and found["episodes"] > 0
    assert sum(found["signals"].values()) == 2
    assert set(found["exit_codes"]) <= {"0", "143", "-9", "-15"}, found  # -15: before there was a handler


def test_a_run_whose_ray_has_died_says_so_in_few_lines_and_goes_on(quick_model: Path, tmp_path: Path) -> None:
    """Ray ends the process of a run whose head has lost one of its agents, without asking."""
    bench = Bench(str(quick_model), {**WAYS["ray"], "run.save_every": 1}, tmp_path)
    run = tmp_path / "run"
    process = bench.start(run)
    while len(rows_of(run)) < 2:
        assert process.poll() is None, (tmp_path / "log").read_text()
        time.sleep(0.1)
    [agent] = [pid for pid in bench.processes() if "RuntimeEnvAgent" in command_of(pid)]
    os.kill(agent, signal.SIGKILL)
    assert process.wait(120) != 0
    assert bench.end() == []
    told = (tmp_path / "log").read_text()
    lost = re.findall(r"rollout worker \d+ \(pid", told)
    assert len(lost) <= 2, "one line a worker, none an episode"
    assert "is played again" not in told and "Raylet is terminated" not in told
    assert "The run was ended from outside" in told and "--resume auto" in told.splitlines()[-1]
    assert bench.start(run).wait() == 0
    assert [row["step"] for row in rows_of(run)] == [0, 1, 2, 3, 4]
    assert bench.end() == []


def test_a_sigterm_that_ray_takes_while_it_starts_ends_with_143(tmp_path: Path) -> None:
    """Ray puts its own handler in the place of ours until it has started."""
    program = """
import os, signal, threading, time
from memrl.cli.signals import Terminated, terminable
from memrl.cluster import connect

def send(ours):
    while signal.getsignal(signal.SIGTERM) is ours:
        time.sleep(0.001)
    os.kill(os.getpid(), signal.SIGTERM)

with terminable():
    threading.Thread(target=send, args=(signal.getsignal(signal.SIGTERM),), daemon=True).start()
    try:
        connect(None)
    except Terminated:
        raise SystemExit(143)
"""
    environment = {**os.environ, "RAY_TMPDIR": "/tmp/ray", "TMPDIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, timeout=120, capture_output=True, text=True)
    assert done.returncode == 143, done.stderr
