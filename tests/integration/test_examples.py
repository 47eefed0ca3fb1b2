"""The examples run as they stand, on short settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from memrl.storage.files import find_damage
from tests.support import ROOT

EXAMPLES = ROOT / "examples"
SHORT = ["train.steps=1", "train.streams_per_step=2", "train.group_size=4", "eval.streams=2", "eval.every=0"]
ENVIRONMENT = {
    **os.environ,
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "PYTHONPATH": str(ROOT),
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
}


def start(*words: str | Path, **how: int) -> subprocess.Popen[str]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([str(word) for word in words], env=ENVIRONMENT, text=True, **{**pipes, **how})


def said(process: subprocess.Popen[str], given: str = "") -> str:
    out, error = process.communicate(given, timeout=300)
    assert process.returncode == 0, error
    return out


@pytest.fixture
def memrl_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A `memrl` on the PATH that is this clone's, wherever the installed one comes from."""
    command = tmp_path / "bin" / "memrl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m memrl.cli "$@"\n')
    command.chmod(0o755)
    monkeypatch.setitem(ENVIRONMENT, "PATH", f"{command.parent}{os.pathsep}{ENVIRONMENT['PATH']}")


@pytest.mark.slow
@pytest.mark.usefixtures("memrl_here")
def test_the_scripts_train_measure_and_export(tmp_path: Path) -> None:
    scripts = {"train_and_export": tmp_path / "synthetic", "own_data": tmp_path / "own"}
    running = {out: start(EXAMPLES / f"{name}.sh", out, *SHORT) for name, out in scripts.items()}
    for out, process in running.items():
        said(process)
        assert find_damage(out / "policy") is None
        methods = [row["method"] for row in json.loads((out / "run" / "eval" / "results.json").read_text())["results"]]
        assert methods[:3] == ["policy", "untrained", "verbatim"]
    assert "documents" in (tmp_path / "own" / "policy" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.usefixtures("memrl_here")
def test_the_chat_remembers_and_another_agent_gets_the_memory(exported_policy: Path, tmp_path: Path) -> None:
    policy, store = exported_policy / "adapter", tmp_path / "m.sqlite"
    lines = "It rained.\nNora works as a baker.\nWhere does Nora live?\n/memory\n/undo\n"
    first = said(start(sys.executable, EXAMPLES / "chat.py", policy, store), lines).splitlines()
    noted = [line.removeprefix("noted: ") for line in first if line.startswith("noted: ")]
    assert len(noted) == 2 and noted[1] == "Nora works as a baker."
    assert noted[1] in first[-2] and first[-1] == "1 changes taken back"
    question = "Where does Nora live?"
    text = "Nora has a dog."
    told = said(start(sys.executable, EXAMPLES / "agent_with_mcp.py", policy, store, text, question)).splitlines()
    assert told[0] == "tools: memory_insert, memory_update, memory_delete, memory_search, memory_list, read, ask"
    assert told[1].startswith("read:") and told[2].startswith("ask:")
