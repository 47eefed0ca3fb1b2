"""The light rooms stay light: none of them pulls in a heavy library (ARCHITECTURE, Direction)."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import overrides

HEAVY = ("torch", "ray", "transformers", "vllm", "trl", "peft", "accelerate", "datasets", "openai", "matplotlib")
"""Seconds each."""
SLOW = (*HEAVY, "numpy", "pydantic", "pyarrow", "snowballstemmer", "importlib.metadata")
"""What help and the reading of a config do without besides."""
LIGHT = (
    "memrl.envs",
    "memrl.envs.memory_env",
    "memrl.envs.sources",
    "memrl.rewards",
    "memrl.rewards.compose",
    "memrl.rewards.metrics",
    "memrl.rewards.parts",
    "memrl",
    "memrl.endpoints.cache",
    "memrl.cli.main",
    "memrl.config",
    "memrl.training.cost",
    "memrl.data.feed",
    "memrl.endpoints.client",
    "memrl.engines.endpoint_engine",
    "memrl.engines.models",
    "memrl.errors",
    "memrl.frozen.reader",
    "memrl.records",
    "memrl.report.curve",
    "memrl.rollout.build",
)


@pytest.mark.long
def test_light_rooms_import_nothing_heavy() -> None:
    code = (
        f"import importlib, sys\n"
        f"for name in {LIGHT!r}:\n"
        f"    importlib.import_module(name)\n"
        f"    found = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n"
        f"    assert not found, f'{{name}} imports {{found}}'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.long
@pytest.mark.parametrize("room", ["memrl.envs", "memrl.rewards"])
def test_the_task_and_the_pay_know_nothing_of_the_pipeline(room: str) -> None:
    code = (
        f"import importlib, pkgutil, sys, {room}\n"
        f"for module in pkgutil.walk_packages({room}.__path__, {room + '.'!r}):\n"
        f"    importlib.import_module(module.name)\n"
        f"allowed = {{'memrl.envs'}} | ({{'memrl.rewards'}} if {room!r} == 'memrl.rewards' else set())\n"
        f"rooms = {{'.'.join(name.split('.')[:2]) for name in sys.modules if name.startswith('memrl.')}}\n"
        f"found = sorted(rooms - allowed) + [name for name in {HEAVY!r} if name in sys.modules]\n"
        f"assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def brought(code: str) -> set[str]:
    """Return the modules that code leaves in a fresh interpreter, which prints nothing else on its last line."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport json, sys\nprint(json.dumps([*sys.modules]))"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def command(*words: str) -> str:
    """Return the code that runs `memrl` and goes on where it ends."""
    return f"""
from memrl.cli.main import main
try:
    assert main({list(words)!r}) == 0
except SystemExit as end:  # of argparse, after the help
    assert not end.code
"""


@pytest.mark.long
def test_a_config_and_the_help_cost_no_library_that_they_do_not_use() -> None:
    for code, module in (("import memrl.config", "memrl.config.check"), (command("--help"), "memrl.cli.data")):
        found = brought(code)
        assert module in found
        assert not found.intersection(SLOW)


@pytest.mark.long
def test_a_name_is_known_without_what_it_names() -> None:
    found = brought("""
from memrl.config.registries import BY_KEY
from memrl.envs.sources import SOURCES
assert all(list(registry) for registry in BY_KEY.values())
assert "squad" in SOURCES and not SOURCES.complaint("squad") and "did you mean 'squad'" in SOURCES.unknown("sqaud")
""")
    assert not found & {
        "memrl.envs.sources.squad",
        "memrl.envs.designs.stores",
        "memrl.envs.dialects.hermes",
        "pydantic",
    }


@pytest.mark.long
def test_a_dry_run_of_the_embedded_model_brings_its_tokenizer_and_no_torch(tmp_path: Path) -> None:
    found = brought(command("train", "tiny", "--dry-run", f"run.dir={tmp_path / 'run'}"))
    assert (tmp_path / "run" / "estimate.json").is_file()
    assert {"transformers", "memrl.envs.sources.synthetic"} <= found
    assert not found & {"torch", "ray", "openai", "matplotlib", "memrl.envs.sources.squad"}


@pytest.mark.long
def test_a_run_that_asks_no_endpoint_brings_no_client_of_one(quick_model: Path, tmp_path: Path) -> None:
    words = ["train", "tiny", *overrides(quick_model, tmp_path / "run", {"train.steps": 2})]
    watched = "import memrl.training.trainer, sys\nassert 'matplotlib' not in sys.modules, 'nothing is drawn yet'\n"
    found = brought(watched + command(*words))
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) >= 2
    assert {"torch", "matplotlib"} <= found  # it has learned, and drawn its curve
    assert "openai" not in found
