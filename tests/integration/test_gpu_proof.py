"""The GPU proof, in its tiny form on this machine: so that it is known to run before time on a GPU is spent on it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu.proof import run_stage
from tests.support import ROOT


def proof(out: Path, *words: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """Exit code, the results by stage, and the closing line."""
    command = [sys.executable, "-m", "benchmarks.gpu.proof", "--smoke", "--out", str(out), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900)
    assert (out / "gpu.json").is_file(), done.stdout + done.stderr
    return done.returncode, json.loads((out / "gpu.json").read_text()), json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_the_stages_run_and_leave_their_figures(tmp_path: Path) -> None:
    code, found, closing = proof(tmp_path, "--only", "shard,loop,repeat", "--seconds", "800")
    assert closing["stages"] == dict.fromkeys(["loop", "shard", "repeat"], "ok"), found
    assert (code, list(found)) == (0, ["loop", "shard", "repeat"])
    assert [row["learner/version"] for row in found["loop"]["rows"][1:]] == [1]
    assert found["loop"]["rows"][1]["loss/grad_norm"] > 0
    assert found["shard"]["grad_norm_whole"] == pytest.approx(found["shard"]["grad_norm_fsdp"], rel=1e-2)
    assert found["shard"]["logprob_gap_before"] == pytest.approx(0.0, abs=1e-6)
    assert found["repeat"]["largest_difference"] == 0.0


def test_a_stage_that_takes_too_long_costs_its_share_alone(tmp_path: Path) -> None:
    began = time.monotonic()
    found = run_stage("repeat", 0.5, True, tmp_path)  # it takes longer to import torch
    assert time.monotonic() - began < 10
    assert found["error"].startswith("stopped after its 0.5 s")


def test_what_the_time_does_not_suffice_for_is_skipped(tmp_path: Path) -> None:
    code, found, closing = proof(tmp_path, "--only", "imports,limits", "--seconds", "1")
    assert code == 0
    assert closing["stages"] == {"imports": "skipped", "limits": "skipped"}
    assert found["limits"]["skipped"] == "1 s left, 38 wanted"
