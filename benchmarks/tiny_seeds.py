"""Train the embedded default with several seeds and print one JSON line a run, then what the figures must fulfil.

    .venv/bin/python benchmarks/tiny_seeds.py --seeds 0 1 2 --ways in-process ray cluster --out runs/seeds

Ways: `in-process`; `ray`, two workers on a Ray that is started for the run; `cluster`, a Ray job with two workers on
two nodes of this machine (launch/local-cluster.sh, launch/train.sh). A run whose folder holds a summary is not run
again, so the script can be stopped and started.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
WAYS = ("in-process", "ray", "cluster")


def command(way: str, words: list[str]) -> list[str]:
    """What trains the embedded default in one of the ways."""
    if way == "cluster":
        return [str(ROOT / "launch" / "train.sh"), "--workers", "2", "tiny", *words]
    workers = ["rollout.workers=2"] if way == "ray" else []
    return [sys.executable, "-m", "memrl.cli", "train", "tiny", *workers, *words]


def train(way: str, seed: int, folder: Path, overrides: list[str]) -> dict[str, object]:
    """One run in processes of its own; returns the figures of its summary."""
    summary = folder / "summary.json"
    if not summary.is_file():
        resume = ["--resume"] if (folder / "checkpoints").is_dir() else []
        words = [f"seed={seed}", f"run.dir={folder}", *overrides, *resume]
        # Workers on other nodes import memrl too.
        subprocess.run(command(way, words), check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    data = json.loads(summary.read_text())
    evaluations = data["eval"]
    return {
        "way": way,
        "seed": seed,
        "before": evaluations["before"]["qa"],
        "best": evaluations["best"]["qa"],
        "after": evaluations["after"]["qa"],
        "gates": data["gates"],
        "episodes": data["episodes"],
        "wall_seconds": data["wall_seconds"],
    }


def overlap(results: list[dict[str, object]]) -> bool:
    """Whether the intervals of the final accuracy of all ways overlap, seed by seed."""
    for seed in {result["seed"] for result in results}:
        ends = [result["after"] for result in results if result["seed"] == seed]
        if max(end["low"] for end in ends) > min(end["high"] for end in ends):  # type: ignore[index]
            return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--ways", choices=WAYS, nargs="+", default=["in-process"])
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"))
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    results = []
    for way in arguments.ways:
        if way == "cluster":
            subprocess.run([ROOT / "launch" / "local-cluster.sh", "start"], check=True)
        try:
            for seed in arguments.seeds:
                folder = arguments.out.resolve() / f"{way}-{seed}"
                results.append(train(way, seed, folder, arguments.overrides))
                print(json.dumps(results[-1]), flush=True)
        finally:
            if way == "cluster":
                subprocess.run([ROOT / "launch" / "local-cluster.sh", "stop"], check=True)
    verdict = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "date": time.strftime("%Y-%m-%d"),
        "before_at_most_0.60": all(result["before"]["value"] <= 0.60 for result in results),  # type: ignore[index]
        "after_at_least_0.85": all(result["after"]["value"] >= 0.85 for result in results),  # type: ignore[index]
        "no_collapse": all(result["best"]["value"] - result["after"]["value"] <= 0.05 for result in results),  # type: ignore[index]
        "ways_overlap": overlap(results),
    }
    print(json.dumps(verdict))


if __name__ == "__main__":
    main()
