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
import os
import platform
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from memrl.data.build import find_jobs
from memrl.evaluation.baselines import BASELINES
from memrl.evaluation.measure import Plan, evaluate, judge_name, reader_name
from memrl.evaluation.results import draw, markdown, results
from memrl.policies.policy import POLICY, UNTRAINED, Policy, open_policy
from memrl.report.progress import RunProgress
from memrl.report.tables import shown
from memrl.storage.files import write_json_atomic, write_text_atomic

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
    # The embedded tokenizer has tokens for ids up to 48; a longer memory's items cost 6 to 8 tokens more to show.
    shown = ",memory.retrieve_budget=20,memory.render_budget=60" if times >= 8 else ""
    return f"synthetic:chunks={CHUNKS * times},sentences=3,people={people},memory.budget={BUDGET * times}{shown}"


def raw(name: str, folder: Path) -> Path:
    """Where a source's raw files are below `folder`."""
    path = find_jobs(folder, only=name)[0].path
    assert path is not None
    return path


def measured(policy: Policy, plan: Plan) -> dict[str, Any]:
    """The figures of one evaluation, with its plot."""
    progress = RunProgress(Console(stderr=True))
    with progress:
        done = evaluate(policy, plan, progress.phase)
    return results(done.measured, done.suites, reader=reader_name(done.config), judge=judge_name(done.config))


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
    # The embedded model cannot write the texts of these two (they score 0), and takes longest over them.
    without_texts = [name for name in everything if name not in ("rolling_summary", "extract_update")]
    found = {
        "synthetic": measured(
            policy, Plan([longer(1)], everything, asked.out / "synthetic", asked.streams, SEEDS, embedder)
        ),
        "lengths": measured(
            policy,
            Plan(
                [longer(n) for n in LENGTHS], without_texts, asked.out / "lengths", asked.long_streams, SEEDS, embedder
            ),
        ),
    }
    draw(found["lengths"], ROOT / "docs" / "results.png")
    if asked.data and asked.model:
        real = open_policy("squad-smollm2-cpu", base_model=str(asked.model))
        suites = [f"{name}:path={raw(name, asked.data)},{options}" for name, options in REAL.items()]
        settings = [*embedder, f"data.path={raw('squad', asked.data)}"]
        methods = [POLICY, *BASELINES]
        plan = Plan(suites, methods, asked.out / "real", asked.real_streams, SEEDS[:1], settings)
        found["real"] = measured(real, plan)
        for row, name in zip(found["real"]["results"], (name for name in REAL for _ in methods), strict=True):
            row["suite"] = f"{name}:{REAL[name]}"  # without the path
        found["real"]["reader"] = "policy-base (SmolLM2-135M-Instruct)"
    told = {"machine": f"{os.cpu_count()} cores ({platform.machine()})", "date": date.today().isoformat(), **found}
    write_json_atomic(ROOT / "benchmarks" / "results" / "eval.json", told)
    write_text_atomic(ROOT / "docs" / "results.md", page(told))
    print(json.dumps(told))


HEAD = """\
# Results

Made by `benchmarks/results.py` (its docstring has the command) on {machine}, {date}. All figures, with scores by
kind of question and costs: `benchmarks/results/eval.json`. The methods: [evaluation.md](evaluation.md).

## Synthetic streams, the trained embedded model

The run of `make train` (seed 0), on streams that no decision of this project has looked at. At **equal budget**
stand `policy`, `untrained`, `verbatim`, `rolling_summary` and `extract_update`: they may hold {budget} tokens.
`bm25`, `dense` and `full_context` hold all of the text. All are asked by the same reader, the embedded model
without adapter, which is shown 12 tokens for a question. The embedded model has never learned to write free text,
so `rolling_summary` and `extract_update` get nothing from it; from a model that can write, they would.
"""
LONGER = """\
## Streams longer than in training

{chunks} chunks in training, up to {most} here. The memory may grow with the text ({budget} tokens for each {chunks}
chunks, at equal budget), and so do the people in it, up to 60. From {shown} chunks on 20 tokens are shown for a
question instead of 12: the embedded tokenizer has tokens for item ids up to 48 only. Longer ids the model has never
seen, and the scores of all methods that show such ids drop there.

![score by the length of streams](results.png)
"""
REAL_HEAD = """\
## Real sets, an untrained model of 135 million parameters

SmolLM2-135M-Instruct as policy, as reader, and as the model behind `rolling_summary` and `extract_update`, by
`configs/squad-smollm2-cpu.yaml`: streams of two chunks of 200 tokens with four questions, 256 tokens of memory, 192
of them shown. It is not trained: three steps of GRPO are what two cores can do (README), and they teach it nothing.
What the table shows is that the harness runs on these sets, and what so small a model can do: as policy it stores
little or nothing, as extractor nothing; as reader it answers in sentences, guesses where the memory does not say,
and never writes the `\\boxed{}` that BANKING77 is scored by, so that all stand at 0 there. Scores are token F1
(SQuAD, LoCoMo; "not mentioned" for LoCoMo's unanswerable ones) and the right number in `\\boxed{}` (BANKING77).
Nothing was tuned on these streams; over so few of them intervals are wide.
"""


def page(found: dict[str, Any]) -> str:
    """docs/results.md."""
    rows = [row for row in found["lengths"]["results"] if row["method"] not in ("nothing", "full_context")]
    suites = list(dict.fromkeys(row["suite"] for row in rows))
    cells = {(row["suite"], row["method"]): row for row in rows}
    heading = " | ".join(f"{CHUNKS * times} chunks" for times in LENGTHS)
    under = "|---" * (len(LENGTHS) + 1) + "|"
    scores = [f"| method | {heading} |", under]
    for method in dict.fromkeys(row["method"] for row in rows):
        scores.append(f"| {method} | {' | '.join(shown(cells[suite, method]['score']) for suite in suites)} |")
    gaps = [f"| policy better, paired by stream | {heading} |", under]
    for method in (UNTRAINED, "verbatim"):
        found_gaps = [cells[suite, method]["policy_better_by"] for suite in suites]
        gaps.append(f"| than {method} | {' | '.join(_gap(gap) for gap in found_gaps)} |")
    parts = [
        HEAD.format(machine=found["machine"], date=found["date"], budget=BUDGET),
        markdown(found["synthetic"]),
        LONGER.format(chunks=CHUNKS, most=CHUNKS * LENGTHS[-1], budget=BUDGET, shown=CHUNKS * 8),
        "\n".join(scores),
        "\n".join(gaps),
    ]
    if "real" in found:
        parts += [REAL_HEAD, markdown(found["real"])]
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _gap(gap: dict[str, float]) -> str:
    return f"{shown(gap, '+')}, p {gap['p']:.4f}"


if __name__ == "__main__":
    main()
