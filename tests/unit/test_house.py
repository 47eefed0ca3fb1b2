"""The house stands as planned: every import goes down, no rooms import each other in a ring, no file lies loose."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.house import FLOORS, ROOT, TOP_FILES, _imported, measure

SECTIONED = [room for rooms in FLOORS[: FLOORS.index(("sft",))] for room in rooms if room != "config"]
"""The rooms below those that put the parts together, but for the one that `Config` is of."""


@pytest.mark.long
def test_every_import_goes_to_a_lower_floor_or_stays_in_its_room() -> None:
    house = measure()
    assert not house.upward_imports
    assert not house.circles


@pytest.mark.long
def test_every_room_has_a_floor_and_every_floor_a_room() -> None:
    assert sorted(measure().rooms) == sorted(room for rooms in FLOORS for room in rooms)


@pytest.mark.long
def test_no_file_lies_loose_at_the_top() -> None:
    assert measure().top_files == sorted(f"{name}.py" for name in TOP_FILES)


def test_the_learner_knows_nothing_of_credit_and_pay() -> None:
    files = list((ROOT / "memrl" / "learner").glob("*.py"))
    wanted = {room for file in files for _, room in _imported(ast.parse(file.read_text(encoding="utf-8")))}
    assert "records" in wanted
    assert not wanted & {"credit", "rewards", "envs", "rollout", "frozen"}


@pytest.mark.long
def test_only_build_files_see_the_whole_config() -> None:
    memrl = ROOT / "memrl"
    files = [file for room in SECTIONED for file in [*memrl.glob(f"{room}.py"), *(memrl / room).glob("**/*.py")]]
    seen = {file.relative_to(memrl).as_posix() for file in files if _sees_config(file.read_text("utf-8"))}
    assert len(files) > 100, "the files were read"
    assert seen == {"engines/build.py", "learner/build.py", "frozen/build.py", "rollout/build.py"}


def _sees_config(text: str) -> bool:
    """Return whether code names `Config`, under TYPE_CHECKING too, or could get one by all of the room's names."""
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.Name(id="Config") | ast.Attribute(attr="Config") | ast.alias(name="Config" | "load_config" | "*"):
                return True
            case ast.Constant(value=str(quoted)) if quoted.strip() == "Config":
                return True
    return False


@pytest.mark.parametrize(
    "code",
    [
        "from memrl.config import Config",
        "from memrl.config import RunConfig, Config as Whole",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from memrl.config.schema import Config",
        "def late():\n    from memrl.config import load_config",
        "from memrl.config import *",
        "import memrl.config\ndef f(config: memrl.config.Config): ...",
        "def f(config: 'Config'): ...",
    ],
)
def test_the_whole_config_is_found_wherever_it_hides(code: str) -> None:
    assert _sees_config(code)
    assert not _sees_config("from memrl.config import RunConfig\nfrom pydantic import BaseModel, ConfigDict")


def test_what_runs_up_is_found_wherever_it_hides(tmp_path: Path) -> None:
    for folder in ("memrl/config", "memrl/learner", "memrl/elsewhere", "memrl/other", "envs"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").write_text("")
    (tmp_path / "memrl/learner/a.py").write_text("from memrl.config import b\nfrom memrl.envs import stream\n")
    (tmp_path / "memrl/config/b.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from memrl.learner.a import A\n"
    )
    (tmp_path / "envs/stream.py").write_text("def late():\n    import memrl.config.b\n")
    (tmp_path / "memrl/elsewhere/c.py").write_text("from memrl import other\n")
    (tmp_path / "memrl/other/d.py").write_text("import memrl.elsewhere.c\n")
    house = measure(tmp_path)
    assert set(house.upward_imports) == {
        "memrl/config/b.py:3 imports learner",
        "envs/stream.py:2 imports config",
        "memrl/elsewhere/c.py:1 imports other",
        "memrl/other/d.py:1 imports elsewhere",
    }
    assert house.circles == [["config", "envs", "learner"], ["elsewhere", "other"]]


@pytest.mark.long
def test_the_script_prints_what_others_read() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "house.py"), "--json"]
    printed = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    wanted = {"top_files", "rooms", "floors", "circles", "upward_imports", "largest_file", "longest_function"}
    assert wanted <= printed.keys()
