"""The run folder: what it may hold when a run begins, and the files that grow while it goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import zstandard
from pydantic import ValidationError

from memrl.envs.whole import PARTIAL
from memrl.errors import CheckpointError, ConfigError, DataError
from memrl.records import Episode, adapter_name
from memrl.storage.files import find_damage, write_bytes_atomic, write_json_atomic, write_text_atomic
from memrl.storage.formats import check_format, stamp
from memrl.storage.lock import LOCK_FILE

COMPUTED_FILE = "computed.jsonl"
"""What the engines computed in each step; with several workers or rollouts ahead it may differ between two runs of one
seed, so it stands apart from the metrics."""
CONFIG_FILE = "config.yaml"
ESTIMATE_FILE = "estimate.json"
EVALUATION = "eval"
"""The folder in which a run keeps its evaluation, where none is named."""
EPISODES = "episodes"
"""The folder of a run's training episodes, and in that of its evaluations the one of the held-out episodes."""
EVALUATION_FILE = "evaluation.json"
"""Says whose evaluation a folder of `memrl eval` holds."""
METRICS_FILE = "metrics.jsonl"
SUMMARY_FILE = "summary.json"
"""What a run came to; it is there once the run has ended."""
RUN_FILE = "run.json"
"""Says the format of the run folder, and which memrl wrote there last."""
RUN_MARKS = (CONFIG_FILE, RUN_FILE)
"""One of them is in every run folder; the older runs lack the second."""
NO_RUN_FILES = {CONFIG_FILE, ESTIMATE_FILE, LOCK_FILE, "run.lock", "lost+found"}
"""What a dry run leaves in a folder, or a process that was killed before its run began, also one of an older version
(`run.lock`); and what is in every mounted disk."""


def holds_run(folder: Path) -> bool:
    """Return whether `folder` holds more than NO_RUN_FILES, and than half-written files."""
    if not folder.is_dir():
        return False
    return any(entry.name not in NO_RUN_FILES and not entry.name.endswith(PARTIAL) for entry in folder.iterdir())


def check_run(folder: Path) -> None:
    """Refuse a run folder that a newer version wrote. One without a format is an older one, and read.

    Raises:
        FormatError: it is of a newer format.
        CheckpointError: its format cannot be read.
    """
    file = folder / RUN_FILE
    if not file.is_file():
        return
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} cannot be read ({error}). Restore it, or remove it.") from error
    check_format("run", told, folder)


def write_run_format(folder: Path, version: str, name: str) -> None:
    """Say that this version of memrl writes here, and the name of the config that the run was begun by."""
    write_json_atomic(folder / RUN_FILE, {**stamp("run"), "memrl": version, "name": name})


def run_name(folder: Path) -> str:
    """Return the name that a run was begun under; its folder's, where an older version began it."""
    try:
        told = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return folder.name
    return str(told.get("name") or folder.name) if isinstance(told, dict) else folder.name


class JsonLines:
    """A file of one JSON object a line, which a kill may have cut short."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, row: dict[str, Any]) -> None:
        """Add one row and force it to the disk. What a kill cut short goes first: nothing can be joined to it."""
        text = self.path.read_bytes() if self._is_cut() else b""
        if text:
            write_bytes_atomic(self.path, text[: text.rfind(b"\n") + 1])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def rows(self) -> list[dict[str, Any]]:
        """All whole rows; a last line that a kill cut short is left out."""
        if not self.path.is_file():
            return []
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def _is_cut(self) -> bool:
        if not self.path.is_file() or not self.path.stat().st_size:
            return False
        with self.path.open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() != b"\n"


class MetricsFile(JsonLines):
    """`metrics.jsonl`: `step` first in each row."""

    def cut(self, step: int) -> None:
        """Drop the rows after `step`, which a resumed run will write again."""
        kept = [row for row in self.rows() if row["step"] <= step]
        write_text_atomic(self.path, "".join(json.dumps(row) + "\n" for row in kept))


class EpisodeWriter:
    """`episodes/step_00012.jsonl.zst`: one episode a line, with all that is needed to compute its rewards again and to
    show it without a model. The text of a stream stands in the first of its episodes alone."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, step: int) -> Path:
        return self.folder / f"step_{step:05d}.jsonl.zst"

    def write(self, step: int, episodes: list[Episode]) -> None:
        """Write one step's episodes; the file appears whole or not at all."""
        lines, told = "", None
        for episode in episodes:
            text = (episode.source, episode.stream_id, episode.chunks)
            lines += episode.model_dump_json(exclude={"chunks"} if text == told else None) + "\n"
            told = text
        write_bytes_atomic(self.path(step), zstandard.ZstdCompressor(level=3).compress(lines.encode()))

    def read(self, step: int) -> list[Episode]:
        """The episodes of one step.

        Raises:
            DataError: the file is missing or damaged.
        """
        path = self.path(step)
        try:
            data = zstandard.ZstdDecompressor().decompress(path.read_bytes())
            return _with_texts(Episode.model_validate_json(line) for line in data.splitlines())
        except (OSError, zstandard.ZstdError, ValidationError) as error:
            raise DataError(f"{path} cannot be read ({' '.join(str(error).split())[:200]}).") from error

    def steps(self) -> list[int]:
        """The steps whose episodes are there, in order."""
        numbers = (file.name[5:].split(".")[0] for file in self.folder.glob("step_*.jsonl.zst"))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def cut(self, step: int) -> None:
        """Remove the episodes after `step`."""
        for later in (number for number in self.steps() if number > step):
            self.path(later).unlink(missing_ok=True)


def _with_texts(episodes: Iterable[Episode]) -> list[Episode]:
    """Return episodes, each with the text of its stream, which stands in the first of several in a row."""
    found: list[Episode] = []
    for episode in episodes:
        before = found[-1] if found else None
        if before is not None and not episode.chunks and _stream(before) == _stream(episode):
            episode = episode.model_copy(update={"chunks": before.chunks})
        found.append(episode)
    return found


def _stream(episode: Episode) -> tuple[str, str]:
    return episode.source, episode.stream_id


def best_row(rows: Iterable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the row of the best evaluation (`memrl.evaluation.kinds.BEST_RULE`); None where there is none."""
    scored = [row for row in rows if "eval/qa" in row]
    return min(scored, key=lambda row: (-row["eval/qa"] - row.get("eval/worst_fall", 0.0), row["step"]), default=None)


def find_adapter(run: Path, wanted: str) -> Path:
    """The folder of a run's adapter: `best` (as `best_row`), `last`, a version's name (v00012), or that of the
    checkpoint that was written with it (step_00012).

    Raises:
        ConfigError, CheckpointError: there is none of that name, or it is damaged.
    """
    folder = run / "adapters"
    names = sorted(path.name for path in folder.glob("v*") if path.is_dir() and path.suffix == "")
    if not names:
        raise CheckpointError(f"{run} has no adapter yet.")
    rows = MetricsFile(run / METRICS_FILE).rows()
    if wanted == "best":
        best = best_row(rows)
        name = _adapter_of(best) if best else names[-1]
    elif wanted.startswith("step_"):
        name = next((_adapter_of(row) for row in rows if f"step_{row['step']:05d}" == wanted), wanted)
    else:
        name = names[-1] if wanted == "last" else wanted
    if name not in names:
        raise ConfigError(f"{run} has no adapter {name}; it has {', '.join(names)}.")
    damage = find_damage(folder / name)
    if damage is not None:
        raise CheckpointError(f"adapter {folder / name} is damaged: {damage}. Export another: {', '.join(names)}.")
    return folder / name


def _adapter_of(row: dict[str, Any]) -> str:
    """The adapter that a trainer step left."""
    return adapter_name(int(row.get("learner/version", 0)))
