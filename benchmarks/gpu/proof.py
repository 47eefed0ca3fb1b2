"""What can be proved of memrl's GPU path in nine minutes on one GPU, without ray, trl, vllm, datasets or a network.

    python -m benchmarks.gpu.proof [--smoke] [--only imports,loop] [--seconds 520] [--out FOLDER]

Each stage is a process of its own with a time limit of its own, the most valuable ones first: a hang costs one share,
and what a stage had found until then is kept. Results stand in FOLDER/gpu.json after each stage, and one JSON line
closes the output. --smoke takes tiny sizes on any machine, to see that the script works before time on a GPU is spent.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
LIMITS = {
    "environment": 12,
    "imports": 30,
    "loop": 65,
    "tiny": 100,
    "parity": 50,
    "shard": 55,
    "repeat": 40,
    "learner": 55,
    "engine": 75,
    "limits": 38,
}
"""Seconds that each stage may take, its imports included, in the order of their worth: 520 together."""
SMOKE_LIMIT = 300
"""Seconds of any stage with --smoke, where a busy machine is no fault."""


def run_stage(name: str, limit: float, smoke: bool, out: Path) -> dict[str, Any]:
    """Run one stage and return its figures; those of a stage that was stopped are what it had found until then."""
    found = out / f"{name}.json"
    found.unlink(missing_ok=True)
    command = [sys.executable, "-m", "benchmarks.gpu.stages", name, "--out", str(found.resolve())]
    environment = {
        "HF_HUB_OFFLINE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "TRANSFORMERS_VERBOSITY": "error",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        **os.environ,
    }
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    began = time.monotonic()
    with (out / f"{name}.log").open("w") as log:
        process = subprocess.Popen(
            [*command, *(["--smoke"] if smoke else [])],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what a stage has started is stopped with it
        )
        try:
            code = process.wait(limit)
            problem = None if code == 0 else f"exit code {code}"
        except subprocess.TimeoutExpired:
            problem = f"stopped after its {limit:.3g} s"
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    figures: dict[str, Any] = json.loads(found.read_text()) if found.is_file() else {}
    if problem is not None and "error" not in figures:
        figures["error"] = f"{problem}: {(out / f'{name}.log').read_text()[-400:]}"
    figures["seconds"] = round(time.monotonic() - began, 1)
    return figures


def main() -> int:
    """Run the stages that were asked for; 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--smoke", action="store_true", help="tiny sizes, for any machine")
    parser.add_argument("--seconds", type=float, default=520.0, help="for everything (default: 520)")
    parser.add_argument("--only", default=",".join(LIMITS), metavar="STAGE,...", help=f"of {', '.join(LIMITS)}")
    parser.add_argument("--out", type=Path, default=Path(os.environ.get("OUT", "gpu-proof")), metavar="FOLDER")
    arguments = parser.parse_args()
    chosen = [name for name in arguments.only.split(",") if name]
    if unknown := [name for name in chosen if name not in LIMITS]:
        parser.error(f"no stage is called {', '.join(unknown)}; there are {', '.join(LIMITS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    results: dict[str, Any] = {}
    for name in LIMITS:  # in this order, whatever the order of --only
        if name not in chosen:
            continue
        left = arguments.seconds - (time.monotonic() - began)
        limit = min(SMOKE_LIMIT if arguments.smoke else LIMITS[name], left)
        if left < LIMITS[name] / 2:
            results[name] = {"skipped": f"{left:.0f} s left, {LIMITS[name]} wanted"}
        else:
            results[name] = run_stage(name, limit, arguments.smoke, arguments.out)
        (arguments.out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
        print(f"== {name} [{time.monotonic() - began:.0f} s] {json.dumps(results[name])[:3000]}", flush=True)
    states = {
        name: next((word for word in ("error", "skipped") if word in found), "ok") for name, found in results.items()
    }
    print(json.dumps({"seconds": round(time.monotonic() - began, 1), "stages": states}), flush=True)
    return int("error" in states.values())


if __name__ == "__main__":
    sys.exit(main())
