"""The launch files: each says how it is used, none holds a secret or a path of ours, and YAML is YAML."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

LAUNCH = Path(__file__).parents[2] / "launch"
SCRIPTS = sorted([*LAUNCH.glob("*.sh"), *LAUNCH.glob("*.sbatch")])


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_explains_itself_with_an_example(script: Path) -> None:
    done = subprocess.run([str(script), "--help"], capture_output=True, text=True, timeout=30)
    assert done.returncode in (0, 2)
    assert "usage:" in done.stdout
    assert "example:" in done.stdout
    wrong = subprocess.run([str(script), "--wrong-option"], capture_output=True, text=True, timeout=30)
    assert wrong.returncode != 0


@pytest.mark.parametrize("name", ["ray-cluster.yaml", "kuberay-rayjob.yaml"])
def test_yaml_can_be_read(name: str) -> None:
    text = (LAUNCH / name).read_text()
    assert isinstance(yaml.safe_load(text), dict)
    assert "token" in text  # authentication is on


def test_train_without_a_cluster_says_what_to_do(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(LAUNCH / "train.sh"), "tiny"],
        capture_output=True, text=True, timeout=30, env={"PATH": "/usr/bin:/bin", "MEMRL_CLUSTER_DIR": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 2
    assert "launch/local-cluster.sh start" in done.stderr


def test_no_file_names_a_home_or_a_secret() -> None:
    for path in LAUNCH.iterdir():
        assert not re.search(r"/home/|/root/|/Users/|password|AKIA|hf_[A-Za-z0-9]{8}", path.read_text()), path.name
