"""Rollouts ahead of the learner against taking turns, on the embedded default with an engine of a fixed latency.

    .venv/bin/python benchmarks/staleness.py --latency 0.5 --out runs/staleness

Both runs go on side by side, so that whatever else the machine does meets both, and with one thread each: threads that
wait for each other's cores slowed one of the runs down five times. Prints one JSON line for each value of
rollout.max_staleness: the share of the steps' time in which the learner waited for rollouts, and the held-out accuracy.
The engine's own work is done on the same cores as the learner's; the latency stands for an engine elsewhere.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

import memrl.engines.build
from memrl.config import Config, load_config
from memrl.engines.engine import ANYWHERE, Place, Sampling
from memrl.engines.transformers_engine import TransformersEngine
from memrl.records import AdapterRef, Completion
from memrl.training.trainer import Trainer


def slowed(latency: float) -> type[TransformersEngine]:
    """An engine whose every answer comes `latency` seconds later."""

    class FixedLatency(TransformersEngine):
        async def generate(
            self,
            prompt_ids: Sequence[int],
            sampling: Sampling,
            adapter: AdapterRef | None = None,
            *,
            place: Place = ANYWHERE,
        ) -> Completion:
            completion = await super().generate(prompt_ids, sampling, adapter, place=place)
            await asyncio.sleep(latency)
            return completion

    return FixedLatency


def train(config: Config, latency: float) -> None:
    """One run, in this process."""
    memrl.engines.build.TransformersEngine = slowed(latency)  # type: ignore[misc]
    assert config.run.dir is not None
    resume = (Path(config.run.dir) / "checkpoints").is_dir()
    Trainer(config, name="staleness", resume=resume, console=Console(stderr=True)).run()


def figures(folder: Path) -> dict[str, object]:
    """What a finished run says of itself."""
    steps = [row for row in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines()) if row["step"]]
    seconds = {name: sum(row[f"time/{name}"] for row in steps) for name in ("step", "rollout", "learn", "eval")}
    summary = json.loads((folder / "summary.json").read_text())
    return {
        "learner_waits_share": round(seconds["rollout"] / (seconds["step"] - seconds["eval"]), 3),
        "seconds": {name: round(spent, 1) for name, spent in seconds.items()},
        "staleness_mean": round(sum(row["learner/staleness"] for row in steps) / len(steps), 3),
        "importance_capped": round(sum(row["loss/importance_capped"] for row in steps) / len(steps), 5),
        "held_out": {when: summary["eval"][when]["qa"] for when in ("before", "after")},
        "episodes": summary["episodes"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", type=float, default=0.5, help="seconds added to every request (default 0.5)")
    parser.add_argument("--staleness", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--out", type=Path, default=Path("runs/staleness"))
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    if arguments.one is not None:
        folder = arguments.out / f"staleness-{arguments.one}"
        words = [f"rollout.max_staleness={arguments.one}", f"run.dir={folder}", *arguments.overrides]
        train(load_config("tiny", words), arguments.latency)
        return
    again = [sys.executable, __file__, "--latency", str(arguments.latency), "--out", str(arguments.out)]
    runs = [
        subprocess.Popen(
            [*again, "--one", str(staleness), *arguments.overrides], env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        for staleness in arguments.staleness
        if not (arguments.out / f"staleness-{staleness}" / "summary.json").is_file()
    ]
    if any(run.wait() for run in runs):
        sys.exit("a run failed; its message stands above. Start again to go on with it.")
    for staleness in arguments.staleness:
        found = figures(arguments.out / f"staleness-{staleness}")
        print(json.dumps({"max_staleness": staleness, "latency": arguments.latency, **found}))
    print(json.dumps({"machine": f"{platform.machine()}, {platform.system()}", "date": time.strftime("%Y-%m-%d")}))


if __name__ == "__main__":
    main()
