"""What the docs name is there: files, tests, versions; and the site can be built, with nothing amiss."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml

import memrl
from benchmarks.house import FLOORS

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "examples").rglob("*.md")])
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
DOCS_PYTHON = ROOT / ".venv-docs" / "bin" / "python"


def page_id(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def links(page: Path) -> Iterator[str]:
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            yield target.partition("#")[0]


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_links_lead_to_files(page: Path) -> None:
    # Pages of reference/ and project/ are made when the site is built (docs/generate.py), which checks those links.
    made = ("reference/", "project/")
    wrong = [target for target in links(page) if target and not (page.parent / target).exists()]
    assert [target for target in wrong if not target.removeprefix("../").startswith(made)] == []


@lru_cache
def functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_tests_that_a_page_names_are_there(page: Path) -> None:
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert [f"{file}::{name}" for file, name in named if name not in functions(file)] == []


@pytest.mark.parametrize(("page", "least"), [("docs/why.md", 20), ("docs/architecture.md", 10)])
def test_pages_that_stand_on_tests_name_them(page: str, least: int) -> None:
    assert len(NAMED.findall((ROOT / page).read_text(encoding="utf-8"))) >= least


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_files_that_a_page_names_are_there(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:memrl|envs|rewards|tests|docs|benchmarks|configs|examples)/[\w./-]*)`", text))
    assert named
    assert [name for name in sorted(named) if "NAME" not in name and not (ROOT / name).exists()] == []


def test_the_architecture_has_every_room_in_order() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| room | what is in it |") :].split("\n\n")[0]
    shown = [room for line in table.splitlines()[2:] for room in re.findall(r"`(\w+)`", line.split("|")[1])]
    floors = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    assert set(shown) == set(floors)
    assert [floors[room] for room in shown] == sorted(floors.values())


def test_every_make_target_that_a_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {
        target
        for page in PAGES
        for target in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert named >= {"setup", "test", "docs"}
    assert named - targets == set()


def test_the_citation_is_of_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == memrl.__version__
    assert citation["license"] == "Apache-2.0"


@pytest.mark.slow
def test_the_site_is_built_strictly(tmp_path: Path) -> None:
    python = str(DOCS_PYTHON) if DOCS_PYTHON.exists() else sys.executable
    if python == sys.executable and not (find_spec("mkdocs") and find_spec("mkdocstrings")):
        pytest.skip("mkdocs is not installed; `make docs` makes an environment that has it (.venv-docs)")
    command = [python, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    built = subprocess.run(
        command,
        cwd=ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    settings = (tmp_path / "site" / "reference" / "settings.html").read_text(encoding="utf-8")
    assert "train.group_size" in settings
    agent = (tmp_path / "site" / "reference" / "agent.html").read_text(encoding="utf-8")
    assert "Reads texts into one user" in agent  # mkdocstrings has found the class behind the package's lazy name
    assert "eval/qa_&lt;kind&gt;" in (tmp_path / "site" / "metrics.html").read_text(encoding="utf-8")
    assert (tmp_path / "site" / "project" / "contributing.html").is_file()
