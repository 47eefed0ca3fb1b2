"""The launch scripts for real: two Ray nodes on this machine, and a training run as a Ray job on them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT, overrides, rows

LAUNCH = ROOT / "launch"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Two nodes with token authentication; ended by the script as well."""
    tools = Path(sys.executable).parent
    found = {
        **{name: value for name, value in os.environ.items() if not name.startswith("RAY_")},
        "PATH": f"{tools}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "MEMRL": str(tools / "memrl"),
        "MEMRL_CLUSTER_DIR": str(tmp_path / "cluster"),
    }
    script, port = LAUNCH / "local-cluster.sh", free_port()
    started = subprocess.run(
        [script, "start", "--nodes", "2", "--port", str(port), "--dashboard-port", str(free_port())],
        env=found, capture_output=True, text=True, timeout=420,
    )  # fmt: skip
    assert started.returncode == 0, started.stderr
    assert "2 nodes with 1 CPU each" in started.stdout
    found["CLUSTER"] = f"127.0.0.1:{port}"
    pids = [int(pid) for pid in (tmp_path / "cluster" / "pids").read_text().split()]
    yield found
    stopped = subprocess.run([script, "stop"], env=found, capture_output=True, text=True, timeout=60)
    assert stopped.returncode == 0, stopped.stderr
    for status in (Path(f"/proc/{pid}/status") for pid in pids):
        assert not status.exists() or "State:\tZ" in status.read_text()  # at most a zombie that nobody reaps here


@pytest.mark.slow
def test_a_run_as_a_job_on_two_nodes(environment: dict[str, str], quick_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = overrides(quick_model, folder, {"train.steps": 2, "eval.every": 0, "reader.type": "lexical"})
    done = subprocess.run(
        [LAUNCH / "train.sh", "--workers", "2", "tiny", *words],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    found = rows(folder)
    assert [row["step"] for row in found] == [0, 1, 2]
    assert found[1]["fail/episodes"] == found[1]["fail/workers"] == 0
    assert "rollout.workers=2" in (folder / "command.txt").read_text()

    # A job that cannot begin says why, and its exit code comes back.
    again = subprocess.run(
        [LAUNCH / "train.sh", "tiny", *words], env=environment, capture_output=True, text=True, timeout=120
    )
    assert again.returncode != 0
    assert "holds another run" in again.stdout + again.stderr

    # What the doctor says of the same cluster. Without the token nobody gets in.
    token = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(tmp_path / "cluster" / "token")}
    doctor = [
        environment["MEMRL"],
        "doctor",
        "tiny",
        "rollout.workers=2",
        "--json",
        "--address",
        environment["CLUSTER"],
    ]
    seen = subprocess.run(doctor, env={**environment, **token}, capture_output=True, text=True, timeout=60)
    assert seen.returncode == 0, seen.stderr
    cluster = json.loads(seen.stdout)["cluster"]
    assert [node["resources"]["CPU"] for node in cluster["nodes"]] == [1.0, 1.0]
    greedy = [word.replace("workers=2", "workers=3") for word in doctor]
    refused = subprocess.run(greedy, env={**environment, **token}, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2
    assert "3 workers want 3 CPU, the cluster has 2" in " ".join(refused.stderr.split())
