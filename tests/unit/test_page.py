"""The built pages are those of their sources, and have nothing that could run the text of others."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from memrl.look.report import PAGE

ROOT = Path(__file__).resolve().parents[2]
ALONE = ("index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.js")


@dataclass(frozen=True)
class Made:
    """A page: its sources, what it is built to, and what it shares with the other one."""

    sources: Path
    built: Path
    shared: tuple[str, ...] = ()
    asks: tuple[str, ...] = ()
    """The one file that may ask the server, where there is one."""


REPORT = Made(ROOT / "web" / "report", PAGE)
DEMO = Made(
    ROOT / "web" / "demo",
    ROOT / "memrl" / "serve" / "page",
    ("../report/src/text.tsx", "../report/src/theme.ts"),
    ("api.ts",),
)
PAGES = pytest.mark.parametrize("made", [REPORT, DEMO], ids=["report", "demo"])


@PAGES
def test_the_built_page_is_that_of_the_sources(made: Made) -> None:
    inside = [path.relative_to(made.sources).as_posix() for path in (made.sources / "src").rglob("*") if path.is_file()]
    total = hashlib.sha256()
    for name in sorted([*ALONE, *made.shared, *inside]):
        total.update(f"{name}\0{hashlib.sha256((made.sources / name).read_bytes()).hexdigest()}\n".encode())
    built = json.loads((made.built / "memrl-page.json").read_text(encoding="utf-8"))
    assert built["sources"] == total.hexdigest(), f"{made.sources} has changed since it was built: make page"
    assert {path.name for path in made.built.iterdir()} == {
        "index.html", "licences.txt", "memrl-page.json", "page.css", "page.js",
    }  # fmt: skip


@pytest.mark.long
def test_the_types_of_the_page_are_those_of_the_records() -> None:
    done = subprocess.run([sys.executable, "records.py", "--check"], cwd=REPORT.sources, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@PAGES
def test_the_page_runs_no_script_of_its_own_text_and_asks_nobody_else(made: Made) -> None:
    html = (made.built / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(.*?)>(.*?)</script>", html, re.DOTALL) == [(' defer src="./page.js"', "")]
    assert not re.search(r"<style|style=|\son\w+=|https?:", html)
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'"
    assert policy in html and "unsafe" not in html
    assert ("connect-src 'self'" in html) is bool(made.asks)
    for path in (made.sources / "src").rglob("*.ts*"):
        text = path.read_text(encoding="utf-8")
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text)
        assert found is None, f"{path.name}: {found}"
        assert "fetch(" not in text or path.name in made.asks, path.name


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed: it is needed to build the pages alone")
@PAGES
def test_the_lock_file_builds_the_same_page_to_the_byte(made: Made, tmp_path: Path) -> None:
    for each in (REPORT, DEMO):
        clone = tmp_path / each.sources.relative_to(ROOT)
        shutil.copytree(each.sources, clone, ignore=shutil.ignore_patterns("node_modules"))
    clone = tmp_path / made.sources.relative_to(ROOT)
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=300)
        if "npm ci" in " ".join(command) and re.search("ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED", done.stderr):
            pytest.skip("the registry of npm cannot be reached")
        assert done.returncode == 0, done.stdout + done.stderr
    built = tmp_path / made.built.relative_to(ROOT)
    assert {path.name: path.read_bytes() for path in built.iterdir()} == {
        path.name: path.read_bytes() for path in made.built.iterdir()
    }
