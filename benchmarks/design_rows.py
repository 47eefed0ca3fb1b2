"""The one file of figures of memory designs, which several commands write: each keeps the rows of the others.

A row is known by its design, retrieval, stage and set (`KEY`); a row that is measured again takes the place of the old
one. `stage` is `scripted` (benchmarks/designs.py), `sft` or `grpo` (benchmarks/designs_trained.py).
"""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

from memrl.storage.files import write_json_atomic

ROOT = Path(__file__).resolve().parents[1]
FIGURES = ROOT / "benchmarks" / "results" / "designs.json"
STAGES = ("scripted", "sft", "grpo")
KEY = ("design", "retrieval", "stage", "set")
NEEDED = (*KEY, "score", "memory_tokens", "p")

Row = dict[str, Any]


def machine() -> str:
    """Return the machine in words."""
    return f"{platform.machine()}, {os.cpu_count()} cores"


def read_rows(path: Path = FIGURES) -> list[Row]:
    """Return the rows that are in the file; none where there is no file yet."""
    if not path.is_file():
        return []
    rows: list[Row] = json.loads(path.read_text(encoding="utf-8"))["results"]
    return rows


def key(row: Row) -> tuple[str, ...]:
    """Return what a row is known by."""
    return tuple(str(row[name]) for name in KEY)


def merge_rows(rows: Iterable[Row], path: Path = FIGURES) -> list[Row]:
    """Write rows into the file, in the place of those of the same key, and return all; the others stay as they are.

    Each row gets the machine and the date, unless it says them. Commands that write at once wait for each other.

    Raises:
        ValueError: a row lacks a field (`NEEDED`), or its stage is none of `STAGES`.
    """
    stamp = {"machine": machine(), "date": date.today().isoformat()}
    new = [{**stamp, **row} for row in rows]
    for row in new:
        missing = [name for name in NEEDED if name not in row]
        if missing or row["stage"] not in STAGES:
            wrong = f"lacks {', '.join(missing)}" if missing else f"has the stage {row['stage']!r}"
            raise ValueError(f"a row of {path.name} {wrong}; it needs {', '.join(NEEDED)}, stages {', '.join(STAGES)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _alone(path.parent):
        merged = {key(row): row for row in [*read_rows(path), *new]}
        ordered = sorted(merged.values(), key=place)
        write_json_atomic(path, {**stamp, "results": ordered})
    return ordered


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Keep out others that write into a folder by this function."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def place(row: Row) -> Sequence[Any]:
    """Return what rows are put in order by."""
    return STAGES.index(row["stage"]), row["set"], row["design"], row["retrieval"]
