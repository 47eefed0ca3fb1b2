"""Train the embedded default with several seeds and print one JSON line a seed, then what the figures must fulfil.

    .venv/bin/python benchmarks/tiny_seeds.py --seeds 0 1 2 --out runs/seeds

A seed whose run folder holds a summary is not run again, so the script can be stopped and started.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import time
from pathlib import Path


def run_seed(seed: int, folder: Path, overrides: list[str]) -> dict[str, object]:
    """One run in a process of its own; returns the figures of its summary."""
    summary = folder / "summary.json"
    if not summary.is_file():
        command = [sys.executable, "-m", "memrl.cli", "train", "tiny", f"seed={seed}", f"run.dir={folder}", *overrides]
        subprocess.run([*command, *(["--resume"] if (folder / "checkpoints").is_dir() else [])], check=True)
    data = json.loads(summary.read_text())
    evaluations = data["eval"]
    return {
        "seed": seed,
        "before": evaluations["before"]["qa"],
        "best": evaluations["best"]["qa"],
        "after": evaluations["after"]["qa"],
        "gates": data["gates"],
        "episodes": data["episodes"],
        "wall_seconds": data["wall_seconds"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--out", type=Path, default=Path("runs/seeds"))
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    results = []
    for seed in arguments.seeds:
        results.append(run_seed(seed, arguments.out / f"seed-{seed}", arguments.overrides))
        print(json.dumps(results[-1]), flush=True)
    verdict = {
        "machine": f"{platform.machine()}, {platform.system()}",
        "date": time.strftime("%Y-%m-%d"),
        "before_at_most_0.60": all(result["before"]["value"] <= 0.60 for result in results),  # type: ignore[index]
        "after_at_least_0.85": all(result["after"]["value"] >= 0.85 for result in results),  # type: ignore[index]
        "no_collapse": all(result["best"]["value"] - result["after"]["value"] <= 0.05 for result in results),  # type: ignore[index]
    }
    print(json.dumps(verdict))


if __name__ == "__main__":
    main()
