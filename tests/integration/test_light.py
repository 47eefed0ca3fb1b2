"""A plain install, which has no torch: an agent behind a server, and what is said where more is needed.

The packages of the extra `train` are made unfindable in a fresh interpreter, as they are where it is not installed.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from memrl.packages import EXTRAS
from tests.completions_server import CompletionsServer

COMES_ANYWAY = ("numpy", "safetensors")
"""Packages that transformers brings, or that a plain install has."""
ABSENT = sorted(module for module, extra in EXTRAS.items() if extra == "train" and module not in COMES_ANYWAY)


def light(code: str) -> subprocess.CompletedProcess[str]:
    """Run code where nothing of `train` is installed."""
    hidden = f"import sys\nsys.modules.update(dict.fromkeys({ABSENT!r}))\n"
    return subprocess.run([sys.executable, "-c", hidden + code], capture_output=True, text=True, check=False)


def test_an_agent_behind_a_server_needs_no_torch(exported_policy: Path, tmp_path: Path) -> None:
    server = CompletionsServer(exported_policy / "adapter")
    folder, store = str(exported_policy / "adapter"), str(tmp_path / "m.sqlite")
    try:
        done = light(f"""
from memrl import MemoryAgent, Served
served = Served({server.url!r}, policy="memory", base="base")
with MemoryAgent.open({folder!r}, store={store!r}, served=served) as agent:
    agent.read("Nora lives in Bern.")
    print("answer:", agent.ask("Where does Nora live?").text)
""")
    finally:
        server.stop()
    assert done.returncode == 0, done.stderr
    assert "answer:" in done.stdout


def test_an_agent_that_computes_here_names_the_extra(exported_policy: Path, tmp_path: Path) -> None:
    folder, store = str(exported_policy / "adapter"), str(tmp_path / "m.sqlite")
    done = light(f"""
from memrl import MemoryAgent
from memrl.errors import ConfigError
try:
    MemoryAgent.open({folder!r}, store={store!r})
except ConfigError as error:
    print(error)
""")
    assert "pip install 'memrl[train]'" in done.stdout


def test_a_command_that_trains_names_the_extra(tmp_path: Path) -> None:
    done = light(f"""
from memrl.cli.main import main
sys.exit(main(["train", "tiny", "run.dir={tmp_path / "run"}"]))
""")
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "This command needs more than is installed: torch is not installed" in said
    assert "pip install 'memrl[train]'" in said and "Traceback" not in said


@pytest.mark.parametrize("heavy", ["torch", "transformers", "ray", "openai", "trl"])
def test_the_name_of_the_agent_brings_nothing_heavy(heavy: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", f"from memrl import MemoryAgent\nimport sys\nsys.exit({heavy!r} in sys.modules)"],
        check=False,
    )
    assert done.returncode == 0
