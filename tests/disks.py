"""Faults of a file's surroundings: small disks, which need a right to mount, and another process that holds it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

HOLDS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("PRAGMA busy_timeout = 5000")
database.execute(sys.argv[2])
database.execute("SELECT count(*) FROM sqlite_master").fetchall()
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A disk of that size, at `folder`, in memory."""
    folder.mkdir()
    words = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "memrl-test", str(folder)]
    mounted = subprocess.run(words, capture_output=True, text=True, check=False)
    if mounted.returncode:
        pytest.skip(f"a disk cannot be mounted here: {mounted.stderr.strip() or 'no right to mount'}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)


def make_read_only(folder: Path) -> None:
    """Let nobody write on a small disk any more."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Fill a disk to its last page; return the file that does it."""
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            return filler


def found(folder: Path, word: str) -> list[str]:
    """The files of a folder that have a word in their bytes. Another process reads them: whoever closes a file gives up
    the locks that SQLite has on it in the same process."""
    words = ["grep", "--text", "--fixed-strings", "--files-with-matches", "-e", word, *map(str, folder.iterdir())]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return [Path(line).name for line in done.stdout.splitlines()]


@contextmanager
def held_by_another(path: Path, how: str = "BEGIN IMMEDIATE") -> Iterator[None]:
    """Another process holds the file for as long as the block lasts."""
    words = [sys.executable, "-c", HOLDS, str(path), how]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        try:
            yield
        finally:
            assert holder.stdin is not None
            holder.stdin.close()
