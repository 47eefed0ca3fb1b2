"""The light rooms stay light: none of them pulls in a heavy library (ARCHITECTURE, Direction)."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "transformers", "vllm", "trl", "peft", "accelerate", "datasets")
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
    "memrl.errors",
    "memrl.frozen.reader",
    "memrl.records",
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
