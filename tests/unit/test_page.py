"""The built page of the report is that of its sources, and has nothing that could run the text of others."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from memrl.look.report import PAGE

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "web" / "report"
ALONE = ["index.html", "package.json", "package-lock.json", "tsconfig.json", "vite.config.js"]


def test_the_built_page_is_that_of_the_sources() -> None:
    inside = [path.relative_to(SOURCES).as_posix() for path in (SOURCES / "src").rglob("*") if path.is_file()]
    total = hashlib.sha256()
    for name in sorted([*ALONE, *inside]):
        total.update(f"{name}\0{hashlib.sha256((SOURCES / name).read_bytes()).hexdigest()}\n".encode())
    built = json.loads((PAGE / "memrl-page.json").read_text(encoding="utf-8"))
    assert built["sources"] == total.hexdigest(), (
        "web/report/ has changed since memrl/report/page/ was built: make page"
    )
    assert {path.name for path in PAGE.iterdir()} == {
        "index.html", "licences.txt", "memrl-page.json", "page.css", "page.js",
    }  # fmt: skip


@pytest.mark.long
def test_the_types_of_the_page_are_those_of_the_records() -> None:
    done = subprocess.run([sys.executable, "records.py", "--check"], cwd=SOURCES, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_page_runs_no_script_of_its_own_text_and_asks_nobody() -> None:
    html = (PAGE / "index.html").read_text(encoding="utf-8")
    assert re.findall(r"<script(.*?)>(.*?)</script>", html, re.DOTALL) == [(' defer src="./page.js"', "")]
    assert not re.search(r"<style|style=|\son\w+=|https?:", html)
    policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'"
    assert policy in html and "unsafe" not in html
    for path in (SOURCES / "src").rglob("*.ts*"):
        text = path.read_text(encoding="utf-8")
        found = re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|fetch\(", text)
        assert found is None, f"{path.name}: {found}"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed: it is needed to build the page alone")
def test_the_lock_file_builds_the_same_page_to_the_byte(tmp_path: Path) -> None:
    clone = tmp_path / "web" / "report"
    shutil.copytree(SOURCES, clone, ignore=shutil.ignore_patterns("node_modules"))
    for command in (["npm", "ci", "--no-audit", "--no-fund"], ["npm", "run", "build"]):
        done = subprocess.run(command, cwd=clone, capture_output=True, text=True, timeout=300)
        if "npm ci" in " ".join(command) and re.search("ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED", done.stderr):
            pytest.skip("the registry of npm cannot be reached")
        assert done.returncode == 0, done.stdout + done.stderr
    built = tmp_path / "memrl" / "report" / "page"
    assert {path.name: path.read_bytes() for path in built.iterdir()} == {
        path.name: path.read_bytes() for path in PAGE.iterdir()
    }
