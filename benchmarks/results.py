"""The figures of docs/results.md: a trained policy against every baseline, on synthetic streams and on real ones.

    .venv/bin/python benchmarks/results.py runs/tiny --data DIR --model SMOLLM2
    .venv/bin/python benchmarks/results.py --only real --data DIR --model SMOLLM2

DIR holds the raw files of SQuAD, LoCoMo and BANKING77 as `memrl data build --from` takes them; SMOLLM2 is the folder of
SmolLM2-135M-Instruct. Without both, only the parts on synthetic streams are measured; parts that are not measured keep
their figures. What was measured already is not measured again: everything is kept below --out. Writes
docs/results.md (its own sections; others stay as they are), docs/results.png and benchmarks/results/eval.json, and
prints the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from memrl.data.build import find_jobs
from memrl.evaluation.baselines import AS_THE_MEMORY, BASELINES
from memrl.evaluation.measure import Plan, evaluate, judge_name, reader_name
from memrl.evaluation.results import draw, markdown, results
from memrl.policies.policy import POLICY, UNTRAINED, Policy, open_policy
from memrl.report.progress import RunProgress
from memrl.report.tables import shown
from memrl.storage.files import write_json_atomic, write_text_atomic

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "results.md"
FIGURES = ROOT / "benchmarks" / "results" / "eval.json"
PARTS = ("synthetic", "lengths", "real")
BEFORE = "real_before"
"""Figures of version 0.1.0 on real sets: kept, never measured again."""
HEADINGS = {
    "synthetic": "Synthetic streams, the trained embedded model",
    "lengths": "Streams longer than in training",
    "real": "Real sets, an untrained model of 135 million parameters",
    BEFORE: "Real sets, as version 0.1.0 scored them",
}
"""The sections of docs/results.md, by the part that they are of."""
SEEDS = (101, 102)
"""Of the streams; no decision of this project has looked at them."""
BUDGET, SHOWN, CHUNKS = 52, 48, 6
"""Of the embedded default: tokens of its memory, tokens shown to its reader, chunks of a stream in training."""
WORLD = "sentences=3,changes=0.2,corrections=0.15,retractions=0.1"
"""What happens in the streams of the embedded default."""
LENGTHS = (1, 4, 8, 16)
"""Times the training length; the memory may grow with the text."""
REAL = {
    "squad": "split=eval,chunks=2,questions=4,chunk_tokens=200",
    "locomo": "chunks=2,questions=4,chunk_tokens=200",
    "banking77": "count=4,chunks=2,questions=4,chunk_tokens=200",  # the longest to read, and all have scored 0 on it
}
"""As long as two cores can have a model of 135 million parameters read."""
EVERYTHING = [POLICY, UNTRAINED, *(name for name in BASELINES if name != AS_THE_MEMORY)]


def longer(times: int, chunks: int = CHUNKS) -> str:
    """The suite of streams so many times as long as in training, with as many more people; its memory's budget is not
    said."""
    people = min(16 * times, 60)
    return f"synthetic:chunks={chunks * times},{WORLD},people={people}"


def grown(times: int) -> str:
    """The suite of `longer`, with a budget that grows with the text."""
    return f"{longer(times)},memory.budget={BUDGET * times}"


def raw(name: str, folder: Path) -> Path:
    """Where a source's raw files are below `folder`."""
    path = find_jobs(folder, only=name)[0].path
    assert path is not None
    return path


def measured(policy: Policy, plan: Plan) -> dict[str, Any]:
    """The figures of one evaluation."""
    progress = RunProgress(Console(stderr=True))
    with progress:
        done = evaluate(policy, plan, progress.phase)
    return results(done.measured, done.suites, reader=reader_name(done.config), judge=judge_name(done.config))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", nargs="?", help="a trained run of the embedded default; for all parts but real")
    parser.add_argument("--only", nargs="+", choices=PARTS, help="parts to measure (default: all that can be)")
    parser.add_argument("--data", type=Path, help="folder with the raw files of the real sets")
    parser.add_argument("--model", type=Path, help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--embedder", help="model folder of the baselines dense and hybrid (default: eval.embedder)")
    parser.add_argument(
        "--without",
        nargs="+",
        choices=BASELINES,
        default=[],
        help="baselines to leave out (dense and hybrid: no embedder)",
    )
    parser.add_argument("--streams", type=int, default=64, help="of each seed at the training length (default: 64)")
    parser.add_argument("--long-streams", type=int, default=8, help="of each seed at other lengths (default: 8)")
    parser.add_argument("--real-streams", type=int, default=8, help="of each real set (default: 8)")
    parser.add_argument("--real-sets", nargs="+", choices=REAL, default=list(REAL), help="default: all")
    parser.add_argument("--real-dtype", help="of SmolLM2's weights: float32 where a processor is slow at bfloat16")
    parser.add_argument("--out", type=Path, default=Path("runs/results"))
    asked = parser.parse_args()
    parts = asked.only or [name for name in PARTS if name != "real" or (asked.data and asked.model)]
    if "real" in parts and not (asked.data and asked.model):
        parser.error("the part real needs --data and --model")
    if any(name != "real" for name in parts) and not asked.run:
        parser.error("name a run of the embedded default, or measure --only real")
    told = json.loads(FIGURES.read_text(encoding="utf-8")) if FIGURES.is_file() else {}
    for name in parts:
        told[name] = MEASURES[name](asked)
        told[name] |= {"machine": f"{os.cpu_count()} cores ({platform.machine()})", "date": date.today().isoformat()}
        write_json_atomic(FIGURES, told)
    if "lengths" in parts:
        draw(told["lengths"], ROOT / "docs" / "results.png")
    page = PAGE.read_text(encoding="utf-8") if PAGE.is_file() else ""
    before = {name: told[name] for name in (BEFORE,) if name in told and "real" in parts}
    for heading, text in sections({name: told[name] for name in parts} | before).items():
        page = with_section(page, heading, text)
    write_text_atomic(PAGE, page)
    print(json.dumps(told))


def measure_synthetic(asked: argparse.Namespace) -> dict[str, Any]:
    """The figures at the training length."""
    methods = [name for name in EVERYTHING if name not in asked.without]
    plan = Plan([grown(1)], methods, asked.out / "synthetic", asked.streams, SEEDS, _embedder(asked))
    return measured(open_policy(asked.run), plan)


def measure_lengths(asked: argparse.Namespace) -> dict[str, Any]:
    """The figures at the training length and at others."""
    # The embedded model cannot write the texts of these two (they score 0), and takes longest over them.
    left_out = {"rolling_summary", "extract_update", *asked.without}
    without_texts = [name for name in EVERYTHING if name not in left_out]
    suites = [grown(times) for times in LENGTHS]
    plan = Plan(suites, without_texts, asked.out / "lengths", asked.long_streams, SEEDS, _embedder(asked))
    return measured(open_policy(asked.run), plan)


def measure_real(asked: argparse.Namespace) -> dict[str, Any]:
    """The figures on real sets."""
    suites = [f"{name}:path={raw(name, asked.data)},{REAL[name]}" for name in asked.real_sets]
    settings = [*_embedder(asked), f"data.path={raw('squad', asked.data)}"]
    settings += [f"model.dtype={asked.real_dtype}"] if asked.real_dtype else []
    methods = [POLICY, *(name for name in BASELINES if name != AS_THE_MEMORY)]
    plan = Plan(suites, methods, asked.out / "real", asked.real_streams, SEEDS[:1], settings)
    found = measured(open_policy("squad-smollm2-cpu", base_model=str(asked.model)), plan)
    for row, name in zip(found["results"], (name for name in asked.real_sets for _ in methods), strict=True):
        row["suite"] = f"{name}:{REAL[name]}"  # without the path
    return {**found, "reader": "policy-base (SmolLM2-135M-Instruct)", "dtype": asked.real_dtype or "bfloat16"}


def _embedder(asked: argparse.Namespace) -> list[str]:
    return [f"eval.embedder={asked.embedder}"] if asked.embedder else []


MEASURES: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {
    "synthetic": measure_synthetic,
    "lengths": measure_lengths,
    "real": measure_real,
}
HEAD = """\
# Results

Made by `benchmarks/results.py` (its docstring has the command). All figures, with scores by kind of question and costs:
`benchmarks/results/eval.json`. The methods: [evaluation.md](evaluation.md).
"""
SYNTHETIC_TEXT = """\
The run of `make train` (seed 0, one thread), on streams that no decision of this project has looked at. At **equal
budget** stand `policy`, `untrained`, `verbatim`, `rolling_summary` and `extract_update`: they may hold {budget} tokens.
`bm25`, `dense`, `hybrid` and `full_context` hold all of the text. All are asked by the same reader, the embedded model
without adapter, which is shown {shown} tokens for a question. The embedded model has never learned to write free text,
so `rolling_summary` and `extract_update` get nothing from it; from a model that can write, they would.
"""
LENGTHS_TEXT = """\
{chunks} chunks in training, up to {most} here. The memory may grow with the text ({budget} tokens for each {chunks}
chunks, at equal budget), and so do the people in it, up to 60.

![score by the length of streams](results.png)
"""
REAL_TEXT = """\
SmolLM2-135M-Instruct as policy, as reader, and as the model behind `rolling_summary` and `extract_update`, by
`configs/squad-smollm2-cpu.yaml`: streams of two chunks of 200 tokens with four questions, 256 tokens of memory, 192
of them shown. It is not trained: three steps of GRPO are what two cores can do (README), and they teach it nothing.
What the table shows is that the harness runs on these sets, and what so small a model can do: as policy it stores
little or nothing, as extractor nothing; as reader it answers in sentences, guesses where the memory does not say,
and never writes the `\\boxed{}` that BANKING77 is scored by, so that all stand at 0 there. Scores are
token F1 (SQuAD), LoCoMo's own F1, and the right number in `\\boxed{}` (BANKING77). Nothing was tuned on these streams;
over so few of them intervals are wide.
"""
BEFORE_TEXT = """\
The figures of version 0.1.0 beside those above, on streams of the same recipe and seed. Between them lie:
metrics that compared numbers as text, knew fewer ways to say that something is not known, and scored LoCoMo by
`token_f1` in place of its own F1; unanswerable questions, which were averaged with the others and now stand apart;
views that left room empty where no word of the question matched; intervals, which were bootstraps; and bfloat16, where
the new figures are in float32. BANKING77 had eight streams then and has four now. The new figures were made beside
other work, by one thread, so their seconds say little.
"""


def sections(found: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return the sections of docs/results.md of these parts, by their headings."""
    made: dict[str, str] = {}
    if "synthetic" in found:
        text = SYNTHETIC_TEXT.format(budget=BUDGET, shown=SHOWN)
        tables = markdown(found["synthetic"]), _by_kind(found["synthetic"])
        made[HEADINGS["synthetic"]] = _section(found["synthetic"], text, *tables)
    if "lengths" in found:
        text = LENGTHS_TEXT.format(chunks=CHUNKS, most=CHUNKS * LENGTHS[-1], budget=BUDGET)
        made[HEADINGS["lengths"]] = _section(found["lengths"], text, *_by_length(found["lengths"]))
    if "real" in found:
        made[HEADINGS["real"]] = _section(found["real"], REAL_TEXT, markdown(found["real"]))
    if BEFORE in found:
        made[HEADINGS[BEFORE]] = f"{BEFORE_TEXT}\n{_before(found[BEFORE], found['real'])}"
    return made


def _before(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the table of old figures of real sets beside the new ones."""
    rows = {(row["suite"].partition(":")[0], row["method"]): row for row in now["results"]}
    lines = [
        "| set | method | version 0.1.0 | now | now, unanswerable | memory tokens, then and now |",
        "|---" * 6 + "|",
    ]
    for old in before["results"]:
        place = old["suite"].partition(":")[0], old["method"]
        new = rows.get(place)
        scores = [shown(old["score"]), *(shown(new[name]) if new else "" for name in ("score", "unanswerable"))]
        tokens = f"{old['memory_tokens']:,.0f}, {new['memory_tokens']:,.0f}" if new else f"{old['memory_tokens']:,.0f},"
        lines.append(f"| {' | '.join((*place, *scores, tokens))} |")
    return "\n".join(lines)


def _section(part: dict[str, Any], text: str, *tables: str) -> str:
    numbers = f", in {part['dtype']}" if "dtype" in part else ""
    measured_on = f"Measured on {part['machine']}, {part['date']}{numbers}."
    return "\n\n".join(one.strip() for one in (text, measured_on, *tables))


def _by_kind(found: dict[str, Any]) -> str:
    """Return the table of scores by kind of question."""
    kinds = sorted({kind for row in found["results"] for kind in row["by_kind"]})
    lines = [f"| method | {' | '.join(kinds)} |", "|---" * (len(kinds) + 1) + "|"]
    for row in found["results"]:
        if row["score"]["value"] > 0:
            lines.append(f"| {row['method']} | {' | '.join(shown(row['by_kind'][kind]) for kind in kinds)} |")
    return "\n".join(lines)


def _by_length(found: dict[str, Any]) -> tuple[str, str]:
    """Return the tables of scores and of differences by the length of streams."""
    rows = [row for row in found["results"] if row["method"] not in ("nothing", "full_context")]
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
    return "\n".join(scores), "\n".join(gaps)


def with_section(page: str, heading: str, text: str) -> str:
    """Return a Markdown page with a section of that heading (`## ...`): in the place of the one that bears it, else at
    the end. All else stays as it is."""
    parts = re.split(r"^(?=## )", page or HEAD, flags=re.MULTILINE)
    made = f"## {heading}\n\n{text.strip()}\n"
    for number, part in enumerate(parts):
        if part.split("\n", 1)[0] == f"## {heading}":
            parts[number] = made if number == len(parts) - 1 else f"{made}\n"
            return "".join(parts)
    return (page or HEAD).rstrip("\n") + f"\n\n{made}"


def _gap(gap: dict[str, float]) -> str:
    return f"{shown(gap, '+')}, p {gap['p']:.4f}"


if __name__ == "__main__":
    main()
