"""Each memory design before and after its training: the embedded model in the design's words, a short warm start by the
design's own teacher, GRPO, and both measured on the same unseen streams under one budget.

    .venv/bin/python -m benchmarks.designs_trained --out runs/designs

What `--out` holds already is not done again, so the command can be stopped and started. The rows go into
`benchmarks/results/designs.json` (stages `sft` and `grpo`); rows of other stages, designs and retrievals stay. One
process, one thread: `--designs` splits the work between machines.
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
from typing import Any

from benchmarks.design_rows import FIGURES, merge_rows

ROOT = Path(__file__).resolve().parents[1]
STREAMS = 128
REPORTED = 404
"""Seed of the streams. The settings below were chosen on others."""
GRPO = (
    "train.lr=2e-4", "train.warmup_steps=1", "train.streams_per_step=6", "eval.streams=8", "eval.every=0",
    "run.save_every=3", "run.save_episodes=false",
)  # fmt: skip
GENTLY = ("sft.lr=5e-5", "sft.streams=64")
"""Of the warm start: a rate at which the heads that are written by hand stay."""


BUDGET = (
    "memory.budget=96", "memory.render_budget=160", "memory.retrieve_budget=72", "rollout.max_prompt_tokens=384",
    "rollout.max_completion_tokens=64",
)  # fmt: skip
"""Of training and measurement, the same for every design: room for what is worth keeping of a stream where each item
has its day. Warm starts have the settings of configs/tiny.yaml."""
RECIPES = {
    "stores": ("sft.steps=60", *GENTLY),
    "typed": ("sft.steps=60", *GENTLY),
    "ledger": ("sft.steps=60", *GENTLY),
    "compact_verbatim": ("sft.steps=30", *GENTLY),
    "linked": ("sft.steps=30", *GENTLY),
}
"""The warm start of each design."""
DEFAULT = ("typed", "ledger", "compact_verbatim", "linked")


def memrl(*words: str) -> None:
    """Run one command of memrl on one thread."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-m", "memrl.cli", *words], check=True, stdout=subprocess.DEVNULL, env=environment)


def timed(folder: Path, name: str, *words: str) -> None:
    """Run one command, and note how long it took in all its tries."""
    began = time.monotonic()
    try:
        memrl(*words)
    finally:
        file = folder / "seconds.json"
        told = json.loads(file.read_text()) if file.is_file() else {}
        told[name] = round(told.get(name, 0.0) + time.monotonic() - began, 1)
        file.write_text(json.dumps(told))


def trained(design: str, retrieval: str, out: Path, arguments: argparse.Namespace) -> Path:
    """Take a design through all stages; return the folder that holds what each of them left."""
    folder = out / (design if retrieval == "bm25" else f"{design}-{retrieval}")
    folder.mkdir(parents=True, exist_ok=True)
    words, warm, run, measured = (str(folder / name) for name in ("words", "warm", "run", "eval"))
    settings = [f"memory.design={design}", *arguments.overrides]
    if retrieval != "bm25":
        settings.append(f"memory.retrieval={retrieval}")
    if not Path(words).exists():
        timed(folder, "words", "tiny", "reword", design, "--out", words)
    if not Path(warm).exists():
        timed(folder, "sft", "sft", "tiny", f"model.path={words}", f"sft.dir={warm}", *RECIPES[design], *settings)
    if not (Path(run) / "summary.json").is_file():
        resume = ["--resume"] if (Path(run) / "checkpoints").is_dir() else []
        grpo = [f"train.steps={arguments.steps}", *GRPO, *BUDGET]
        timed(folder, "grpo", "train", "tiny", f"model.path={warm}", f"run.dir={run}", *grpo, *settings, *resume)
    streams, seed = str(arguments.streams), str(arguments.seed)
    of = ["--suite", "run", "--streams", streams, "--seeds", seed, "--adapter", "last"]
    if not has_measured(folder, arguments.streams):
        timed(folder, "eval", "eval", run, *of, "--baselines", "untrained", "--out", measured)
    return folder


def has_measured(folder: Path, streams: int) -> bool:
    """Return whether so many streams were measured."""
    file = folder / "eval" / "results.json"
    return file.is_file() and all(row["streams"] == streams for row in json.loads(file.read_text())["results"])


def rows(design: str, retrieval: str, folder: Path) -> list[dict[str, Any]]:
    """Return the rows of both stages."""
    measured = json.loads((folder / "eval" / "results.json").read_text())
    found = {row["method"]: row for row in measured["results"]}
    gap = found["untrained"]["policy_better_by"]
    seconds = json.loads((folder / "seconds.json").read_text())
    metrics = [json.loads(line) for line in (folder / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = max(row["step"] for row in metrics)
    shared = {
        "set": "synthetic", "streams": found["policy"]["streams"], "seed": measured["seeds"][0], "grpo_steps": steps,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, one thread", "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip
    told = []
    for stage, method in (("sft", "untrained"), ("grpo", "policy")):
        row = found[method]
        told.append(
            {
                "design": design,
                "retrieval": retrieval,
                "stage": stage,
                "score": {name: round(row["score"][name], 4) for name in ("value", "low", "high")},
                "memory_tokens": row["memory_tokens"],
                "p": None if stage == "sft" else gap["p"],
                "better_by": None if stage == "sft" else {k: round(gap[k], 4) for k in ("value", "low", "high")},
                "by_kind": {kind: round(score["value"], 3) for kind, score in sorted(row["by_kind"].items())},
                "generated_tokens": row["completion_tokens"],
                "reader_calls": row["reader_calls"],
                "causes": row["causes"],
                "seconds": {"train": seconds.get(stage), "measure_both": seconds.get("eval")},
                **shared,
            }
        )
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--designs", nargs="+", choices=list(RECIPES), default=list(DEFAULT))
    parser.add_argument("--retrievals", nargs="+", default=["bm25"], metavar="NAME")
    parser.add_argument("--steps", type=int, default=16, help="of GRPO (default: 16)")
    parser.add_argument("--streams", type=int, default=STREAMS, help=f"unseen ones, measured (default: {STREAMS})")
    parser.add_argument("--seed", type=int, default=REPORTED, help=f"of these streams (default: {REPORTED})")
    parser.add_argument("--out", type=Path, default=Path("runs/designs"))
    parser.add_argument("--results", type=Path, default=FIGURES)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    out = arguments.out.resolve()
    for retrieval in arguments.retrievals:
        for design in arguments.designs:
            folder = trained(design, retrieval, out, arguments)
            found = rows(design, retrieval, folder)
            merge_rows(found, arguments.results)
            for row in found:
                print(json.dumps({key: row[key] for key in ("design", "retrieval", "stage", "score", "p")}), flush=True)


if __name__ == "__main__":
    main()
