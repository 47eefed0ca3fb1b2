"""Ends of training at random moments, and what is left of them: prints JSON.

A small run is ended again and again, by SIGKILL and by SIGTERM, each time at a moment drawn by chance from its whole
length, imports and shutdown included, and begun again by the same command (`--resume auto`). When it has come to its
end, its rows are compared with those of a run that nothing happened to, its episodes are counted, and its folder, the
temporary directory and the machine are searched for what it left behind.

    python benchmarks/kills.py --kills 20                 # of each signal, in each way to train
    python benchmarks/kills.py --kills 2 --ways process
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from memrl.storage.files import find_damage
from memrl.storage.rundir import EpisodeWriter, MetricsFile

ROOT = Path(__file__).resolve().parents[1]
SMALL = {
    "train.steps": 4,
    "train.group_size": 4,
    "train.streams_per_step": 2,
    "rollout.refill_rounds": 1,
    "train.micro_batch_tokens": 2048,
    "rollout.max_completion_tokens": 24,
    "eval.streams": 2,
    "eval.every": 2,
    "run.save_every": 2,
    "data.train": "[{source: synthetic, chunks: 2}]",
    "data.eval": "[{source: synthetic, chunks: 2}]",
    "model.device": "cpu",
}
WAYS: dict[str, dict[str, Any]] = {
    "process": {},
    "staleness": {"rollout.max_staleness": 1},
    "ray": {"rollout.workers": 2, "ray.worker_cpus": 0.5},
}
"""Ways to train, by name: all settings that differ."""
REPEATABLE = ("process", "staleness")
"""Those whose rows are the same to the bit: on Ray, which requests meet in a batch depends on timing."""
PATIENCE = 120.0
"""Seconds in which all that a run has started must have ended."""
MARK = "MEMRL_KILLS"
"""The environment variable by which the processes of a run are known."""


@dataclass
class Ends:
    """The ends of one way to train."""

    signals: Counter[str] = field(default_factory=Counter)
    codes: Counter[int] = field(default_factory=Counter)
    runs: int = 0
    """Those that came to their end."""
    rows_equal: int = 0
    episodes: int = 0
    twice: int = 0
    """Episodes of a step that stand in its file more than once, and steps with more than one row."""
    damaged: list[str] = field(default_factory=list)
    left: list[str] = field(default_factory=list)

    def told(self) -> dict[str, Any]:
        """Return them as plain JSON."""
        return {
            "signals": dict(self.signals),
            "exit_codes": {str(code): count for code, count in sorted(self.codes.items())},
            "runs": self.runs,
            "runs_with_equal_rows": self.rows_equal,
            "episodes": self.episodes,
            "episodes_or_steps_twice": self.twice,
            "damaged": self.damaged,
            "left_behind": self.left,
        }


class Bench:
    """Runs of one way to train, in a folder of their own.

    Args:
        model: `model.path`.
        settings: those of the way.
        folder: where runs and their temporary files go.
    """

    def __init__(self, model: str, settings: dict[str, Any], folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir(parents=True)
        self._settings = {"model.path": model, **SMALL, **settings}
        self._mark = f"{os.getpid()}-{folder.name}"
        self._known: set[psutil.Process] = set()

    def start(self, run: Path) -> subprocess.Popen[bytes]:
        """Begin a run, or go on with it."""
        words = [f"{key}={value}" for key, value in {**self._settings, "run.dir": run}.items()]
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TMPDIR": str(self.temporary),
            "TORCHINDUCTOR_CACHE_DIR": str(self.folder / "inductor"),  # torch's own, which it keeps on purpose
            "RAY_TMPDIR": "/tmp/ray",  # its sockets' paths must be short
            MARK: self._mark,
        }
        with (self.folder / "log").open("ab") as log:
            command = [sys.executable, "-m", "memrl.cli", "train", "tiny", *words, "--resume", "auto"]
            return subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=ROOT)

    def processes(self) -> list[int]:
        """Return the processes that its runs have started and that still live.

        Those that rename themselves, as Ray's do, show no environment any more: they are known from when they were
        children of others that do.
        """
        wanted = f"{MARK}={self._mark}".encode()
        for process in psutil.process_iter():
            with suppress(psutil.NoSuchProcess):
                if wanted in _environment(process.pid):
                    self._known |= {process, *process.children(recursive=True)}
        self._known = {process for process in self._known if _lives(process)}
        return [process.pid for process in self._known if process.pid != os.getpid()]

    def end(self) -> list[str]:
        """Wait until nothing of a run is there any more; return what is, in words, and remove it."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and (self.processes() or any(self.temporary.iterdir())):
            time.sleep(0.1)
        left = [f"process {pid}: {command_of(pid)}" for pid in self.processes()]
        left += [f"temporary {path.name}" for path in self.temporary.iterdir()]
        for pid in self.processes():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for path in self.temporary.iterdir():
            shutil.rmtree(path, ignore_errors=True)
        return left


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _environment(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


def command_of(pid: int) -> str:
    """Return the beginning of a process's command line."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:80]
    except OSError:
        return "gone"


def rows_of(run: Path) -> list[dict[str, Any]]:
    """Return a run's rows without `time/`, which alone may differ between two runs of one seed."""
    return [
        {key: value for key, value in row.items() if not key.startswith("time/")}
        for row in MetricsFile(run / "metrics.jsonl").rows()
    ]


def look(run: Path, ends: Ends, reference: list[dict[str, Any]] | None) -> None:
    """Add what a run that has come to its end holds, to what is known of its way to train."""
    rows = rows_of(run)
    ends.runs += 1
    ends.rows_equal += reference is not None and rows == reference
    steps = [row["step"] for row in rows]
    ends.twice += len(steps) - len(set(steps)) + (steps != sorted(steps))
    writer = EpisodeWriter(run / "episodes")
    for step in writer.steps():
        played = Counter((episode.stream_id, episode.index) for episode in writer.read(step))
        ends.episodes += played.total()
        ends.twice += played.total() - len(played)
    for folder in (*(run / "checkpoints").glob("step_*"), *(run / "adapters").glob("v*")):
        if (damage := find_damage(folder)) is not None:
            ends.damaged.append(f"{folder.name}: {damage}")
    ends.left += [
        f"in the run: {path.relative_to(run)}"
        for path in run.rglob("*")
        if path.name == "lock" or path.name.endswith((".partial", ".replaced", ".tmp"))
    ]


def measure(bench: Bench, kills: int, chance: random.Random, repeatable: bool) -> dict[str, Any]:
    """Return what `kills` ends by each signal leave of runs of one way to train."""
    ends = Ends()
    began = time.monotonic()
    whole = bench.folder / "whole"
    code = bench.start(whole).wait()
    if code != 0:
        raise SystemExit(f"the run that nothing happened to ended with {code}: see {bench.folder / 'log'}")
    length = time.monotonic() - began
    ends.left += bench.end()
    reference = rows_of(whole)
    todo = [name for name in ("SIGKILL", "SIGTERM") for _ in range(kills)]
    chance.shuffle(todo)
    number = 0
    while True:
        run = bench.folder / f"run-{number}"
        process = bench.start(run)
        if todo:
            with suppress(subprocess.TimeoutExpired):
                process.wait(chance.uniform(0.0, length))
            if process.poll() is None:
                name = todo.pop()
                bench.processes()  # known from now on
                process.send_signal(getattr(signal, name))
                ends.signals[name] += 1
        code = process.wait()
        ends.codes[code] += 1
        ends.left += bench.end()
        if code == 0:
            look(run, ends, reference)
            number += 1
            if not todo:
                break
    return {"seconds_of_a_run": round(length, 1), "repeatable": repeatable, **ends.told()}


def holds(found: dict[str, Any]) -> bool:
    """Return whether nothing was lost, doubled, damaged or left behind in one way to train."""
    equal = found["runs_with_equal_rows"] == found["runs"] or not found["repeatable"]
    return equal and not (found["episodes_or_steps_twice"] or found["damaged"] or found["left_behind"])


def main() -> int:
    """Print what was found; the exit code says whether it holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each signal, in each way (default: 20)")
    parser.add_argument("--ways", default=",".join(WAYS), help=f"some of {', '.join(WAYS)} (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--model", default="tiny", help="model.path (default: the embedded model)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="work there, and leave the runs there")
    arguments = parser.parse_args()
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="memrl-kills-") as made:
        root = arguments.keep or Path(made)
        for way in arguments.ways.split(","):
            bench = Bench(arguments.model, WAYS[way], root / way)
            chance = random.Random(f"{arguments.seed}/{way}")
            found[way] = measure(bench, arguments.kills, chance, way in REPEATABLE)
    print(json.dumps({"kills_of_each_signal": arguments.kills, "ways": found}, indent=2))
    return 0 if all(map(holds, found.values())) else 1


if __name__ == "__main__":
    sys.exit(main())
