"""All of the speed benchmarks, one after another: what `make bench` runs.

    .venv/bin/python benchmarks/bench.py                 # the short form: half an hour on two cores, prints a table
    .venv/bin/python benchmarks/bench.py --full --json benchmarks/results/speed.json --docs

Each row is a ratio of two sides that were measured in turn on this machine, beside its aim: at least, or at most, so
much. The full form repeats each pair five times. A row that could not be measured says why, and the exit code is 1; an
aim that is missed does not change it. `--docs` writes the rows into the table of docs/performance.md.

Other work on the machine is in the figures: leave it alone meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

HERE = Path(__file__).resolve().parent
DOCS = HERE.parent / "docs" / "performance.md"
BEGIN, END = "<!-- speed: begin -->", "<!-- speed: end -->"
Row = dict[str, Any]


def output_of(script: str, *words: str, one_thread: bool = True) -> str:
    """What a script of this folder prints; its progress goes to the terminal."""
    environment = {**os.environ, **({"OMP_NUM_THREADS": "1"} if one_thread else {})}
    done = subprocess.run(
        [sys.executable, str(HERE / script), *words], stdout=subprocess.PIPE, text=True, env=environment, check=True
    )
    return done.stdout


def row(name: str, against: str, pairs: list[tuple[float, float]], *, at_least: float = 0, at_most: float = 0) -> Row:
    """A row of (ours, other) in seconds: other ÷ ours where it is to be at least so much, else ours ÷ other."""
    ratios = sorted(other / ours if at_least else ours / other for ours, other in pairs)
    ratio = statistics.median(ratios)
    return {
        "name": name,
        "against": against,
        "ours": round(statistics.median(ours for ours, _ in pairs), 4),
        "other": round(statistics.median(other for _, other in pairs), 4),
        "ratio": round(ratio, 2),
        "range": [round(ratios[0], 2), round(ratios[-1], 2)],
        "aim": at_least or at_most,
        "at_least": bool(at_least),
        "met": ratio >= at_least if at_least else ratio <= at_most,
        "pairs": len(pairs),
    }


def parts(repeats: int) -> list[Row]:
    """Rollout, learner and reader: `speed.py`."""
    found: list[Row] = json.loads(output_of("speed.py", "--pairs", str(repeats)))["results"]
    return [one | {"at_least": True} for one in found]


def memory(repeats: int) -> list[Row]:
    """A memory that grows: `memory_scale.py`."""
    sizes = ("1000", "10000", "100000")
    told = json.loads(output_of("memory_scale.py", "--sizes", *sizes, "--rounds", str(max(3, repeats))))
    at = {one["items"]: {name: work["cpu_ms"] / 1000 for name, work in one.items() if isinstance(work, dict)}
          for one in told["rows"]}  # fmt: skip
    rows = []
    if "reference" in at[10_000]:
        pair = (at[10_000]["step"], at[10_000]["reference"])
        rows.append(row("memory step, 10,000 items", told["reference"], [pair], at_least=150))
    for name, said in (("step", "memory step"), ("env_step", "MemoryEnv.step")):
        pair = (at[100_000][name], at[1_000][name])
        rows.append(row(f"{said}, 100,000 items", "the same, 1,000 items", [pair], at_most=3))
    return rows


def ahead(repeats: int) -> list[Row]:
    """Rollouts ahead of the learner, an engine of a fixed latency: `staleness.py`."""
    with TemporaryDirectory() as folder:
        words = ("train.steps=12" if repeats >= 5 else "train.steps=5", "eval.every=0", "eval.streams=4")
        said = output_of("staleness.py", "--latency", "0.5", "--out", folder, *words)
    told = [json.loads(line) for line in said.splitlines() if '"max_staleness"' in line]
    steps = {one["max_staleness"]: one["seconds"]["step"] for one in told}
    return [row("steps, staleness 1, engine of fixed latency", "staleness 0", [(steps[1], steps[0])], at_most=0.55)]


def beside(repeats: int) -> list[Row]:
    """Training beside two processes that keep both cores busy, against alone, in seconds of wall time."""
    cores = os.cpu_count() or 1
    pairs = [(_wall_of_training(busy=cores), _wall_of_training(busy=0)) for _ in range(max(1, repeats // 2))]
    return [row("training beside a process a core (wall)", "alone", pairs, at_most=2.2)]


def _wall_of_training(busy: int) -> float:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        with TemporaryDirectory() as folder:
            words = ["train.steps=3", "eval.every=0", "eval.streams=4", f"run.dir={folder}/run"]
            began = time.monotonic()
            subprocess.run(
                [sys.executable, "-m", "memrl.cli", "train", "tiny", *words], check=True, stdout=subprocess.DEVNULL
            )
            return time.monotonic() - began
    finally:
        for other in others:
            other.kill()
            other.wait()


def workers(repeats: int) -> list[Row]:
    """Simulated workers: `orchestration.py`."""
    words = ("--workers", "64", "--seconds-per-token", "0.25", "--rounds", "2" if repeats >= 5 else "1")
    told = json.loads(output_of("orchestration.py", *words).splitlines()[0])
    ideal, found = told["ideal"], told["episodes_per_second"]
    return [row("64 simulated workers (seconds an episode)", "the ideal", [(1 / found, 1 / ideal)], at_least=0.9)]


BENCHMARKS: dict[str, Callable[[int], list[Row]]] = {
    "parts": parts, "memory": memory, "ahead": ahead, "beside": beside, "workers": workers
}  # fmt: skip


def table(result: dict[str, Any]) -> str:
    """The rows in Markdown."""
    lines = [
        f"`make bench` ({result['machine']}, {result['date']}); {result['pairs']} pairs each, medians of seconds:",
        "",
        "| what | against | ours | theirs | ratio (range) | aim | met |",
        "|---|---|---|---|---|---|---|",
    ]
    for one in result["results"]:
        low, high = one["range"]
        aim = f"{'at least' if one['at_least'] else 'at most'} {one['aim']:g}"
        lines.append(
            f"| {one['name']} | {one['against']} | {one['ours']:.4g} | {one['other']:.4g} | "
            f"{one['ratio']} ({low} to {high}) | {aim} | {'yes' if one['met'] else 'no'} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--full", action="store_true", help="five pairs of each, instead of one")
    parser.add_argument("--only", nargs="+", choices=sorted(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="write the result there too")
    parser.add_argument("--docs", action="store_true", help="write the table into docs/performance.md")
    asked = parser.parse_args()
    repeats = 5 if asked.full else 1
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}",
        "date": date.today().isoformat(),
        "pairs": repeats,
        "results": [],
    }
    failed = []
    for number, name in enumerate(asked.only, start=1):
        print(f"{number} of {len(asked.only)}: {name}", file=sys.stderr, flush=True)
        try:
            result["results"] += BENCHMARKS[name](repeats)
        except subprocess.CalledProcessError as error:
            failed.append(f"{name}: {' '.join(map(str, error.cmd[1:3]))} ended with {error.returncode}")
    print(json.dumps(result, indent=2))
    print(table(result), file=sys.stderr)
    if asked.json:
        asked.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if asked.docs:
        before, rest = DOCS.read_text(encoding="utf-8").split(BEGIN)
        DOCS.write_text(f"{before}{BEGIN}\n{table(result)}\n{END}{rest.split(END)[1]}", encoding="utf-8")
    if failed:
        sys.exit("not measured: " + "; ".join(failed))


if __name__ == "__main__":
    main()
