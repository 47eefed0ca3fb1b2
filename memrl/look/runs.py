"""A run folder, read whatever its state: running, ended, stopped, killed, damaged, or of an older version.

Invariant: what cannot be read is named in `damage` and left out; the rest is there.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from memrl.envs.memory_env import INSTRUCTION
from memrl.errors import ConfigError, DataError
from memrl.frozen.reader import INSTRUCTION as READER_INSTRUCTION
from memrl.look.records import IntervalRecord, Part, State
from memrl.records import Episode
from memrl.storage.lock import holder
from memrl.storage.rundir import (
    CONFIG_FILE,
    EPISODES,
    EVALUATION,
    METRICS_FILE,
    NO_RUN_FILES,
    RUN_FILE,
    SUMMARY_FILE,
    EpisodeWriter,
    best_row,
    check_run,
    run_name,
)


@dataclass
class Run:
    """A run as it stands on the disk.

    Attributes:
        rows: of metrics.jsonl, in order, with finite numbers alone.
        settings: the resolved config, as nested plain data.
    """

    folder: Path
    name: str
    rows: list[dict[str, Any]]
    settings: dict[str, Any]
    summary: dict[str, Any] | None
    version: str
    state: State
    state_in_words: str
    damage: list[str] = field(default_factory=list)

    @property
    def step(self) -> int:
        """Trainer steps that are taken."""
        return int(self.rows[-1]["step"]) if self.rows else 0

    @property
    def steps(self) -> int | None:
        """Trainer steps that are planned."""
        return _whole(self.setting("train.steps"))

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return _whole(self.setting("seed"))

    @property
    def instruction(self) -> str:
        """System prompt of the policy."""
        return str(self.setting("rollout.instruction") or INSTRUCTION)

    @property
    def reader(self) -> str:
        """Instruction of the reader."""
        return str(self.setting("reader.instruction") or READER_INSTRUCTION)

    def setting(self, key: str) -> Any:
        """Return a setting by its dotted key; None where the config has none."""
        found: Any = self.settings
        for name in key.split("."):
            found = found.get(name) if isinstance(found, dict) else None
        return found

    def evaluations(self) -> list[dict[str, Any]]:
        """Return the rows that have an evaluation."""
        return [row for row in self.rows if "eval/qa" in row]

    def episode_files(self, part: Part) -> EpisodeWriter:
        """Return the files of a part's episodes."""
        return EpisodeWriter(self.folder / (EPISODES if part == "training" else f"{EVALUATION}/{EPISODES}"))

    def episodes(self, part: Part, step: int) -> list[Episode] | None:
        """Return the episodes of a step; None, and an entry in `damage`, where they cannot be read."""
        try:
            return self.episode_files(part).read(step)
        except DataError as error:
            if str(error) not in self.damage:
                self.damage.append(str(error))
            return None


def interval_of(row: dict[str, Any], key: str) -> IntervalRecord | None:
    """Return a row's value with its interval; None where it has none of that key."""
    if key not in row:
        return None
    return {"value": row[key], "low": row.get(f"{key}_low"), "high": row.get(f"{key}_high")}


def best_of(run: Run) -> IntervalRecord | None:
    """Return the held-out accuracy of the best evaluation."""
    best = best_row(run.rows)
    return interval_of(best, "eval/qa") if best else None


def last_of(run: Run) -> IntervalRecord | None:
    """Return the held-out accuracy of the last evaluation."""
    rows = run.evaluations()
    return interval_of(rows[-1], "eval/qa") if rows else None


def open_run(folder: Path) -> Run:
    """Read a run.

    Raises:
        ConfigError: there is no run, or nothing of one yet.
        FormatError: a newer version wrote it.
    """
    if not folder.is_dir():
        raise ConfigError(
            f"there is no run at {folder}: no such folder. `memrl runs {folder.parent}` lists those near."
        )
    if not is_run(folder):
        near = [path.name for path in sorted(folder.iterdir()) if path.is_dir() and is_run(path)][:3]
        remedy = f"; it holds runs: name one of them ({', '.join(near)})" if near else "; name a run's folder"
        raise ConfigError(f"{folder} is no run: it has no {CONFIG_FILE} and no {METRICS_FILE}{remedy}.")
    damage: list[str] = []
    if (folder / RUN_FILE).is_file() and _json(folder / RUN_FILE, damage) is not None:
        check_run(folder)
    rows = _rows(folder / METRICS_FILE, damage)
    settings = _settings(folder / CONFIG_FILE, damage)
    summary = _json(folder / SUMMARY_FILE, damage) if (folder / SUMMARY_FILE).is_file() else None
    who = holder(folder)
    if not rows and not damage and who is None:
        raise ConfigError(
            f"the run in {folder} is empty: it was stopped before its first step. Start it: memrl train --resume "
            f"run.dir={folder}"
        )
    told = _json(folder / RUN_FILE, []) or {}
    run = Run(folder, run_name(folder), rows, settings, summary, str(told.get("memrl", "")), "stopped", "", damage)
    run.state, run.state_in_words = _state(run, who)
    return run


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run, or what is left of one."""
    try:
        names = {path.name for path in folder.iterdir()}
    except OSError:
        return False
    return METRICS_FILE in names or RUN_FILE in names or (CONFIG_FILE in names and bool(names - NO_RUN_FILES))


def find_runs(folder: Path) -> Iterator[Path]:
    """Yield the runs in a folder, or it alone where it is one, by name; folders within folders up to three deep."""
    yield from _find(folder, 3)


def _find(folder: Path, depth: int) -> Iterator[Path]:
    if is_run(folder):
        yield folder
        return
    if not depth:
        return
    try:
        below = sorted(path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
    except OSError:
        return
    for path in below:
        if not path.name.startswith("."):
            yield from _find(path, depth - 1)


def _state(run: Run, who: str | None) -> tuple[State, str]:
    of = f" of {run.steps}" if run.steps is not None else ""
    where = f"step {run.step}{of}"
    if who is not None:
        return "running", f"running ({who}), {where}"
    if run.damage:
        return "damaged", f"damaged, {where}: {run.damage[0]}"
    if run.summary is not None and run.summary.get("steps") == run.step:
        return "ended", f"ended, {where}"
    return "stopped", f"stopped, {where}: memrl train --resume run.dir={run.folder}"


def _rows(path: Path, damage: list[str]) -> list[dict[str, Any]]:
    """The rows that can be read; a last line that a kill cut short is no damage."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    except OSError as error:
        damage.append(f"{path} cannot be read ({error.strerror}).")
        return []
    rows: list[dict[str, Any]] = []
    bad = 0
    for text in lines:
        try:
            row = json.loads(text)
            if not isinstance(row, dict) or not isinstance(row.get("step"), int):
                raise ValueError
        except ValueError:
            bad += text.endswith(b"\n")
            continue
        rows.append({key: value for key, value in row.items() if _finite(value)})
    if bad:
        damage.append(f"{path}: {bad} of {len(lines)} lines cannot be read; they are left out.")
    return rows


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _settings(path: Path, damage: list[str]) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        damage.append(f"{path} cannot be read ({' '.join(str(error).split())[:100]}).")
        return {}
    return found if isinstance(found, dict) else {}


def _json(path: Path, damage: list[str]) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        damage.append(f"{path} cannot be read ({' '.join(str(error).split())[:100]}).")
        return None
    return found if isinstance(found, dict) else None


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
