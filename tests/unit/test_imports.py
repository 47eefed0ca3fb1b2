"""The light rooms stay light: none of them pulls in a heavy library (ARCHITECTURE, Direction)."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "ray", "transformers", "vllm", "trl", "peft", "accelerate", "datasets")
LIGHT = (
    "envs",
    "envs.memory_env",
    "envs.sources",
    "rewards",
    "rewards.compose",
    "rewards.metrics",
    "rewards.parts",
    "memrl",
    "memrl.answer_cache",
    "memrl.cli",
    "memrl.config",
    "memrl.cost",
    "memrl.data",
    "memrl.endpoint",
    "memrl.errors",
    "memrl.reader",
    "memrl.records",
)


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


@pytest.mark.parametrize("room", ["envs", "rewards"])
def test_rooms_do_not_look_upwards(room: str) -> None:
    code = (
        f"import importlib, pkgutil, sys, {room}\n"
        f"for module in pkgutil.walk_packages({room}.__path__, {room + '.'!r}):\n"
        f"    importlib.import_module(module.name)\n"
        f"above = ['memrl'] + (['rewards'] if {room!r} == 'envs' else [])\n"
        f"found = [name for name in above + list({HEAVY!r}) if name in sys.modules]\n"
        f"assert not found, found\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
