"""How many episodes each way of giving credit needs, on the embedded model, by the length of the streams.

    .venv/bin/python benchmarks/credit.py --chunks 12 24 --out runs/credit

Every run has the world, the reader, the rewards and the learner of `make train`, at another length and budget of
episodes; only `advantage.mode` differs. Where the held-out accuracy reaches the target is read off the curve: all runs
go on to their end, so that what they come to can be compared too. Two runs go on side by side with one thread each. A
run whose folder holds a summary is not run again, so the script can be stopped and started. Prints one JSON line a run,
then medians and intervals; writes `--results` and `--plot`.
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
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODES = ("pooled", "episode", "evidence", "counterfactual", "retrieved", "reroll")
SEEDS = 3
TARGET = 0.78
"""Two thirds of the way from the warm start (0.67) to what the embedded model comes to (0.83)."""
GROUPS, GROUP_SIZE, STEPS = 4, 8, 16
BUDGET_PER_CHUNK = 10
"""Tokens of memory for each chunk, as `make train` has them, rounded up."""


def settings(chunks: int, mode: str, seed: int, folder: Path) -> dict[str, Any]:
    """The embedded default at another length of streams."""
    world = {"source": "synthetic", "chunks": chunks, "sentences": 3, "people": 16}
    world |= {"changes": 0.2, "corrections": 0.15, "retractions": 0.1}
    return {
        "seed": seed,
        "run.dir": folder,
        "run.save_episodes": "false",
        "run.save_every": 4,
        "data.train": json.dumps([{**world, "questions": 4 * chunks}]),
        "data.eval": json.dumps([world]),
        "memory.budget": BUDGET_PER_CHUNK * chunks,
        "advantage.mode": mode,
        "advantage.reroll_steps": chunks // 3,
        "train.steps": STEPS,
        "train.group_size": GROUP_SIZE,
        "train.streams_per_step": GROUPS,
        "eval.streams": 48,
        "eval.every": 2,
    }


def train(chunks: int, mode: str, seed: int, out: Path, overrides: Sequence[str]) -> dict[str, Any]:
    """One run in a process of its own, or what its folder holds already."""
    folder = out / f"{chunks}-{mode}-{seed}"
    summary = folder / "summary.json"
    if not summary.is_file():
        resume = ["--resume"] if (folder / "checkpoints").is_dir() else []
        words = [f"{key}={value}" for key, value in settings(chunks, mode, seed, folder).items()]
        subprocess.run(
            [sys.executable, "-m", "memrl.cli", "train", "tiny", *words, *overrides, *resume],
            check=True,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        )
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    curve = [(row.get("episodes", 0), row["eval/qa"]) for row in rows if "eval/qa" in row]
    after = json.loads(summary.read_text())["eval"]["after"]
    reached = next((episodes for episodes, accuracy in curve if accuracy >= TARGET), None)
    return {
        "chunks": chunks,
        "mode": mode,
        "seed": seed,
        "episodes_to_target": reached,
        "final": curve[-1][1],
        "best": max(accuracy for _, accuracy in curve),
        "final_by_kind": {kind: score["value"] for kind, score in after["qa_by_kind"].items()},
        "curve": curve,
        "completion_tokens": sum(
            row.get("tokens/completion", 0) + row.get("tokens/reroll_completion", 0) for row in rows
        ),
        "wall_seconds": json.loads(summary.read_text())["wall_seconds"],
    }


def summarise(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Median and range over seeds, by length and mode; a run that missed the target counts as the whole budget."""
    rows = []
    for chunks in sorted({result["chunks"] for result in results}):
        medians = {}
        for mode in MODES:
            mine = [result for result in results if (result["chunks"], result["mode"]) == (chunks, mode)]
            if not mine:
                continue
            needed = [result["episodes_to_target"] or result["curve"][-1][0] for result in mine]
            medians[mode] = statistics.median(needed)
            rows.append(
                {
                    "chunks": chunks,
                    "mode": mode,
                    "seeds": len(mine),
                    "reached": sum(result["episodes_to_target"] is not None for result in mine),
                    "median": medians[mode],
                    "low": min(needed),
                    "high": max(needed),
                    "of_pooled": round(medians[mode] / medians["pooled"], 3) if "pooled" in medians else None,
                    "final_median": round(statistics.median(result["final"] for result in mine), 3),
                    "latest_median": round(statistics.median(result["final_by_kind"]["latest"] for result in mine), 3),
                }
            )
    return rows


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """Episodes to the target, by length, one line a mode, with the range over seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    styles = {
        "pooled": ("#CC79A7", "s", ":"),
        "episode": ("#D55E00", "^", "--"),
        "evidence": ("#009E73", "D", "-."),
        "counterfactual": ("#0072B2", "o", "-"),
        "retrieved": ("#E69F00", "v", "--"),
        "reroll": ("#56B4E9", "P", ":"),
    }
    figure = Figure(figsize=(7.2, 4.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for shift, (mode, (colour, marker, line)) in enumerate(styles.items()):
        mine = [row for row in rows if row["mode"] == mode]
        if not mine:
            continue
        x = [row["chunks"] * (1 + 0.02 * (shift - (len(styles) - 1) / 2)) for row in mine]
        y = [row["median"] for row in mine]
        bars = [[row["median"] - row["low"] for row in mine], [row["high"] - row["median"] for row in mine]]
        axes.errorbar(x, y, yerr=bars, color=colour, marker=marker, linestyle=line, capsize=3, label=mode)
        for row, place, height in zip(mine, x, y, strict=True):
            if row["reached"] < row["seeds"]:
                note = f"{row['reached']}/{row['seeds']}"
                axes.annotate(note, (place, height), (-24 + 30 * shift, 5), textcoords="offset points", color=colour)
    lengths = sorted({row["chunks"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set_xlabel("chunks a stream")
    axes.set_ylabel(f"episodes to {TARGET} held-out accuracy")
    axes.set_ylim(0, 1.12 * max(row["high"] for row in rows))
    axes.grid(True, axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    axes.set_title("median and range over seeds; n/m: so many runs reached it", fontsize=9)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chunks", type=int, nargs="+", default=[12, 24])
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--seeds", type=int, default=SEEDS, help="how many (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="runs side by side")
    parser.add_argument("--out", type=Path, default=Path("runs/credit"))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "credit.json")
    parser.add_argument("--plot", type=Path, default=ROOT / "docs" / "credit.png")
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    # Seeds outermost: if it is stopped early, every mode has as many.
    plan = [
        (chunks, mode, seed)
        for seed in range(arguments.seeds)
        for chunks in arguments.chunks
        for mode in arguments.modes
    ]
    results: list[dict[str, Any]] = []
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for result in pool.map(lambda run: train(*run, out, arguments.overrides), plan):
            results.append(result)
            print(json.dumps({key: value for key, value in result.items() if key != "curve"}), flush=True)
    rows = summarise(results)
    for row in rows:
        print(json.dumps(row))
    arguments.results.parent.mkdir(parents=True, exist_ok=True)
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d")}
    arguments.results.write_text(json.dumps({**machine, "summary": rows, "results": results}, indent=1) + "\n")
    draw(rows, arguments.plot)


if __name__ == "__main__":
    main()
