"""The benchmark of the orchestration runs: a worker on Ray with a simulated engine, and its figures."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support import ROOT


@pytest.mark.slow
def test_the_benchmark_measures_a_small_case() -> None:
    words = ["--workers", "1", "--per-worker", "4", "--rounds", "1", "--seconds-per-token", "0.01"]
    command = [sys.executable, "-m", "benchmarks.orchestration", *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found, machine = map(json.loads, done.stdout.splitlines())
    assert (found["workers"], found["in_flight"], found["episodes"]) == (1, 4, 8)
    assert found["engine_seconds_per_episode"] > 0.1
    assert 0 < found["share_of_ideal"] <= 1.05
    assert machine["cpus"] >= 1
