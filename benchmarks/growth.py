"""How a step of training grows: wall time and peak memory against chunks, episodes of a group, and streams.

    .venv/bin/python benchmarks/growth.py --out benchmarks/results/growth.json --plot docs/growth.png

Each point is one step (rollout, credit, one turn of the learner) of the embedded default in a process of its own, with
one setting changed; prints JSON: seconds of wall and of CPU time, the process's greatest memory, and for each setting
the exponent e of a time that grows as setting ** e (least squares in logarithms). Growth with the items of a memory is
`memory_scale.py`'s.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

SETTINGS: dict[str, tuple[int, ...]] = {
    "chunks": (4, 8, 16, 32, 64),
    "group": (4, 8, 16, 32),
    "streams": (2, 4, 8, 16),
}
FIXED = {"chunks": 6, "group": 8, "streams": 4}


def words_of(setting: dict[str, int], folder: str) -> list[str]:
    """The overrides of one point. A longer stream has as much more of everything: people, questions, memory."""
    times = setting["chunks"] / FIXED["chunks"]
    people, questions = max(4, round(16 * times)), max(4, round(16 * times))
    chunks = setting["chunks"]
    source = f"{{source: synthetic, sentences: 3, people: {people}, chunks: {chunks}, questions: {questions}}}"
    return [
        "train.steps=1",
        "eval.every=0",
        "eval.streams=1",
        f"data.train=[{source}]",
        f"memory.budget={round(55 * times)}",
        f"train.group_size={setting['group']}",
        f"train.streams_per_step={setting['streams']}",
        f"run.dir={folder}/run",
    ]


def point(setting: dict[str, int]) -> None:
    """Measure one step in this process, and print it."""
    import logging

    from rich.console import Console

    from memrl.config import load_config
    from memrl.training.trainer import Trainer

    logging.disable(logging.WARNING)
    with TemporaryDirectory() as folder:
        config = load_config("tiny", words_of(setting, folder))
        trainer = Trainer(config, name="growth", resume=False, console=Console(quiet=True))
        trainer.run()
        rows = [json.loads(line) for line in Path(folder, "run", "metrics.jsonl").read_text().splitlines()]
    [step] = [row for row in rows if row["step"] == 1]
    found = {
        "wall": step["time/rollout"] + step["time/learn"],
        "rollout": step["time/rollout"],
        "learn": step["time/learn"],
    }
    found["peak_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({name: round(value, 2) for name, value in found.items()}))


def exponents(rows: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By setting and figure: e of figure = constant * setting ** e."""
    found: dict[str, dict[str, float]] = {}
    for name in SETTINGS:
        of = [row for row in rows if row["varied"] == name]
        for figure in ("wall", "rollout", "learn", "peak_mb"):
            if len(of) > 1:
                (exponent, _) = np.polyfit(np.log([row[name] for row in of]), np.log([row[figure] for row in of]), 1)
                found.setdefault(name, {})[figure] = round(float(exponent), 2)
    return found


def draw(rows: list[dict[str, Any]], found: dict[str, dict[str, float]], path: Path) -> None:
    """A row of plots for time, and one for memory."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, len(SETTINGS), figsize=(11, 6), squeeze=False)
    for column, name in enumerate(SETTINGS):
        of = [row for row in rows if row["varied"] == name]
        for line, (what, unit) in enumerate((("wall", "seconds a step"), ("peak_mb", "MB at most"))):
            axis = axes[line][column]
            axis.plot([row[name] for row in of], [row[what] for row in of], "o-")
            axis.set(xscale="log", yscale="log", xlabel=name, ylabel=unit)
            axis.set_title(f"exponent {found[name][what]:.2f}", fontsize=10)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the two smallest values of each setting")
    parser.add_argument("--out", type=Path, help="a file for the JSON too; points that it holds are not measured again")
    parser.add_argument("--plot", type=Path, help="a file for the plot")
    parser.add_argument("--point", type=json.loads, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.point is not None:
        point(asked.point)
        return
    result: dict[str, Any] = {"rows": []}
    if asked.out is not None and asked.out.is_file():
        result = json.loads(asked.out.read_text(encoding="utf-8"))
    result |= {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": date.today().isoformat()}
    planned = [(name, value) for name, values in SETTINGS.items() for value in values[: 2 if asked.short else None]]
    began = time.monotonic()
    for number, (name, value) in enumerate(planned, start=1):
        setting = FIXED | {name: value}
        if any(row["varied"] == name and row[name] == value for row in result["rows"]):
            continue
        done = subprocess.run(
            [sys.executable, __file__, "--point", json.dumps(setting)], stdout=subprocess.PIPE, text=True, check=True
        )
        result["rows"].append({"varied": name, **setting, **json.loads(done.stdout)})
        result["growth"] = exponents(result["rows"])
        if asked.out is not None:
            asked.out.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
        print(f"{number} of {len(planned)}, {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(json.dumps(result, indent=1))
    if asked.plot is not None:
        draw(result["rows"], result["growth"], asked.plot)


if __name__ == "__main__":
    main()
