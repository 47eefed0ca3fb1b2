"""The wheel, installed where there is no clone and where a user's own packages are called `envs` and `rewards`."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support import ROOT

pytestmark = pytest.mark.slow
NEIGHBOURS = ("envs", "rewards")
NOT_COPIED = (".git", ".venv*", "runs", "build", "dist", "*.egg-info", "__pycache__", ".*_cache", ".hypothesis", ".gpu")
SMALL = (
    "train.steps=2", "train.group_size=2", "train.streams_per_step=2", "eval.streams=2", "eval.every=0",
    "reader.type=lexical", "run.dir=run",
)  # fmt: skip


def said(*command: str | Path, cwd: Path) -> str:
    """What a command prints, with no path to the clone in its environment."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    words = [str(word) for word in command]
    done = subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `make dist` builds from a copy of the clone."""
    clone = tmp_path_factory.mktemp("clone") / "memrl"
    shutil.copytree(ROOT, clone, symlinks=True, ignore=shutil.ignore_patterns(*NOT_COPIED))
    said("make", "-o", "setup", "dist", f"BIN={Path(sys.executable).parent}", cwd=clone)
    return clone / "dist"


@pytest.fixture(scope="module")
def python(dist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment that holds the wheel; the other packages are those of this one."""
    folder = tmp_path_factory.mktemp("clean") / "venv"
    venv.create(folder)
    made = folder / "bin" / "python"
    [wheel] = dist.glob("*.whl")
    pip = [sys.executable, "-m", "pip", "--python", made, "install", "--quiet", "--no-deps", "--no-index"]
    said(*pip, wheel, cwd=folder)
    site = said(made, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    # A line of a .pth file adds a folder and does not read the .pth files in it: an editable memrl there is not found.
    (Path(site) / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return made


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder, whose own packages must be neither needed nor met."""
    folder = tmp_path_factory.mktemp("elsewhere")
    for name in NEIGHBOURS:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text(f"raise ImportError('the {name} of somebody else')\n")
    return folder


def test_sdist_and_wheel_hold_everything_and_nothing_beside_memrl(dist: Path) -> None:
    [wheel], [sdist] = dist.glob("*.whl"), dist.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"memrl"}
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "memrl").rglob("*.py")}
    for package in NEIGHBOURS:
        wanted |= {f"memrl/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / package).rglob("*.py")}
        wanted.add(f"memrl/{package}/py.typed")
    wanted |= {f"memrl/tiny/model/{path.name}" for path in (ROOT / "memrl" / "tiny" / "model").iterdir()}
    for room in ("report", "serve"):
        folder = ROOT / "memrl" / room / "page"
        page = {path.relative_to(ROOT).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert {f"memrl/{room}/page/{name}" for name in ("index.html", "page.js", "page.css")} <= page
        wanted |= page
    assert wanted | {"memrl/py.typed"} <= set(names)
    assert any(name.endswith("share/memrl/configs/tiny.yaml") for name in names)
    metadata = zipfile.ZipFile(wheel).read(next(name for name in names if name.endswith("/METADATA"))).decode()
    for line in ("Author: The memrl authors", "License-Expression: Apache-2.0", "Classifier: Typing :: Typed"):
        assert line in metadata
    with tarfile.open(sdist) as archive:
        held = {member.name.partition("/")[2] for member in archive if member.isfile()}
    assert {*wanted, "pyproject.toml", "README.md", "LICENSE", "configs/tiny.yaml"} <= held


def test_it_is_the_wheel_that_is_imported(python: Path, elsewhere: Path) -> None:
    code = "import memrl, memrl.envs, memrl.rewards; print(memrl.__file__, memrl.envs.__file__, memrl.rewards.__file__)"
    for path in said(python, "-c", code, cwd=elsewhere).split():
        assert Path(path).is_relative_to(python.parents[1])


def test_it_trains_exports_and_serves(python: Path, elsewhere: Path) -> None:
    said(python, "-m", "memrl.cli", "train", "tiny", *SMALL, cwd=elsewhere)
    assert len((elsewhere / "run" / "metrics.jsonl").read_text().splitlines()) == 3
    said(python.parent / "memrl", "export", "run", "--out", "policy", "--adapter", "last", cwd=elsewhere)
    process = subprocess.Popen(
        [python, "-m", "memrl.cli", "serve", "policy", "--store", "memory.sqlite", "--port", "0", "--device", "cpu"],
        cwd=elsewhere,
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        lines: list[str] = []
        for line in process.stderr:
            lines.append(line)
            if re.search(r"http://127\.0\.0\.1:\d+", line):
                break
        else:
            pytest.fail("".join(lines))
    finally:
        process.terminate()
        process.wait(30)
        process.stderr.close()


def test_type_checkers_see_its_types(python: Path, elsewhere: Path) -> None:
    (elsewhere / "use.py").write_text(
        "from memrl import MemoryAgent\nfrom memrl.envs.stream import Stream\nreveal_type(MemoryAgent.ask)\n"
        "reveal_type(Stream)\n"
    )
    # Of torch and its like only memrl's own users would want the types; to read them takes minutes.
    (elsewhere / "mypy.ini").write_text(
        "[mypy]\n[mypy-torch.*,transformers.*,peft.*,openai.*,ray.*,trl.*,yaml.*,pydantic.*,rich.*,omegaconf.*]\n"
        "follow_imports = skip\nignore_missing_imports = True\n"
    )
    found = said(sys.executable, "-m", "mypy", "--python-executable", python, "use.py", cwd=elsewhere)
    assert re.search(
        r'Revealed type is "def \(self: memrl\.agent\.agent\.MemoryAgent, question: (builtins\.)?str\)', found
    )
    assert re.search(r'Revealed type is "def \(.*memrl\.envs\.stream\.Stream"', found)
