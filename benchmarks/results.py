"""The figures of docs/results.md: a trained policy against every baseline, on synthetic streams and on real ones.

    .venv/bin/python benchmarks/results.py runs/tiny --data DIR --model SMOLLM2

DIR holds the raw files of SQuAD, LoCoMo and BANKING77 as `memrl data build --from` takes them; SMOLLM2 is the folder of
SmolLM2-135M-Instruct. Without both, only the synthetic part is measured. What was measured already is not measured
again: everything is kept below --out. Writes docs/results.md, docs/results.png and benchmarks/results/eval.json, and
prints the JSON.
"""

from __future__ import annotations

import argparse
import json
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from envs.sources import SOURCES
from memrl.evaluation.baselines import BASELINES
from memrl.evaluation.measure import Measured, Plan, evaluate, judge_name, reader_name
from memrl.evaluation.policy import POLICY, UNTRAINED, Policy, open_policy
from memrl.evaluation.results import draw, markdown, results
from memrl.files import write_json_atomic, write_text_atomic
from memrl.report.progress import RunProgress

ROOT = Path(__file__).resolve().parents[1]
SEEDS = (101, 102)
"""Of the streams; no decision of this project has looked at them."""
BUDGET, CHUNKS = 55, 6
"""Of the embedded default's memory and streams, in training."""
LENGTHS = (1, 4, 8, 16)
"""Times the training length; the memory may grow with the text."""
REAL = {
    "squad": "split=eval,chunks=2,questions=4,chunk_tokens=200",
    "locomo": "chunks=2,questions=4,chunk_tokens=200",
    "banking77": "chunks=2,questions=4,chunk_tokens=200",
}
"""As long as two cores can have a model of 135 million parameters read."""


def longer(times: int) -> str:
    """The suite of streams so many times as long as in training, with as many more people."""
    people = min(16 * times, 60)
    return f"synthetic:chunks={CHUNKS * times},sentences=3,people={people},memory.budget={BUDGET * times}"


def raw(name: str, folder: Path) -> Path:
    """Where a source's raw files are below `folder`."""
    locate = SOURCES[name].locate
    assert locate is not None
    found = [hit for place in sorted(folder.iterdir()) if place.is_dir() for hit in locate(sorted(place.iterdir()))]
    if not found:
        raise SystemExit(f"{folder} holds no raw files of {name}")
    return found[0]


def measured(policy: Policy, plan: Plan) -> dict[str, Any]:
    """The figures of one evaluation, with its plot."""
    progress = RunProgress(Console(stderr=True))
    with progress:
        config, records = evaluate(policy, plan, progress.phase)
    return figures(records, reader=reader_name(config), judge=judge_name(config))


def figures(records: Sequence[Measured], *, reader: str, judge: str | None) -> dict[str, Any]:
    return results(records, reader=reader, judge=judge)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a trained run of the embedded default")
    parser.add_argument("--data", type=Path, help="folder with the raw files of the real sets")
    parser.add_argument("--model", type=Path, help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--embedder", help="model folder of the baseline dense (default: eval.embedder)")
    parser.add_argument("--streams", type=int, default=64, help="of each seed at the training length (default: 64)")
    parser.add_argument("--long-streams", type=int, default=8, help="of each seed at other lengths (default: 8)")
    parser.add_argument("--real-streams", type=int, default=8, help="of each real set (default: 8)")
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    asked = parser.parse_args()
    embedder = [f"eval.embedder={asked.embedder}"] if asked.embedder else []
    policy = open_policy(asked.run)
    everything = [POLICY, UNTRAINED, *BASELINES]
    found = {
        "synthetic": measured(
            policy, Plan([longer(1)], everything, asked.out / "synthetic", asked.streams, SEEDS, embedder)
        ),
        "lengths": measured(
            policy,
            Plan([longer(n) for n in LENGTHS], everything, asked.out / "lengths", asked.long_streams, SEEDS, embedder),
        ),
    }
    draw(found["lengths"], ROOT / "docs" / "results.png")
    if asked.data and asked.model:
        real = open_policy("squad-smollm2-cpu", base_model=str(asked.model))
        suites = [f"{name}:path={raw(name, asked.data)},{options}" for name, options in REAL.items()]
        settings = [*embedder, f"data.path={raw('squad', asked.data)}"]
        methods = [POLICY, *BASELINES]
        found["real"] = measured(
            real, Plan(suites, methods, asked.out / "real", asked.real_streams, SEEDS[:1], settings)
        )
    told = {"machine": platform.processor() or platform.machine(), "date": date.today().isoformat(), **found}
    write_json_atomic(ROOT / "benchmarks" / "results" / "eval.json", told)
    write_text_atomic(ROOT / "docs" / "results.md", page(told))
    print(json.dumps(told))


def page(found: dict[str, Any]) -> str:
    """docs/results.md."""
    return markdown(found["synthetic"])


if __name__ == "__main__":
    main()
