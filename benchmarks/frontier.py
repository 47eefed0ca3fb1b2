"""The frontier: what the policy and every baseline score with how much memory, at several lengths of text.

    .venv/bin/python -m benchmarks.frontier runs/tiny --lengths 1,2,4,8,16,32 --budgets 1/8,1/4,1/2,1

A budget is a share of the tokens of each stream's text (docs/evaluation.md). Streams are as many times as long as the
longest ones that the run was trained on. What was measured already is not measured again: everything is kept below
--out. Writes benchmarks/results/frontier.json, docs/frontier.png and a section of docs/results.md, and prints the JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from rich.console import Console

from benchmarks.results import ROOT, SEEDS, longer, with_section
from memrl.envs.sources import SOURCES
from memrl.evaluation.baselines import AS_THE_MEMORY, BASELINES
from memrl.evaluation.budgets import read_budgets
from memrl.evaluation.frontier import draw_frontier, frontier, frontier_markdown
from memrl.evaluation.measure import Plan, evaluate, judge_name, reader_name
from memrl.policies.policy import POLICY, UNTRAINED, Policy, open_policy
from memrl.report.progress import RunProgress
from memrl.storage.files import write_json_atomic, write_text_atomic

HEADING = "Score against memory"
TEXT = """\
What each method scores with how much memory: {budgets} of the text, on streams of {lengths} times the length of
training, {streams} streams each. At one share stand `policy`, `untrained`, `verbatim`, `rolling_summary` and
`extract_update`, as far as they were measured; `bm25`, `dense`, `hybrid` and `full_context` hold all of the text, which
with the ids of its items is more than a share of 1 allows, and `nothing` holds nothing. Differences are paired by
stream; each p is of one of them alone. What is shown for a question is the same for all
([evaluation.md](evaluation.md#score-against-memory)). By kind of question: `benchmarks/results/frontier.json`, and the
plot's columns.

![score against memory tokens, by length and by kind](frontier.png)

Measured on {machine}, {date}: `{command}`.
"""


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a trained run of the embedded default")
    parser.add_argument("--lengths", default="1,2,4,8,16,32", help="times the training length (default: %(default)s)")
    parser.add_argument("--budgets", default="1/8,1/4,1/2,1", help="shares of the text (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", help="default: the policy, untrained, and every baseline")
    parser.add_argument("--streams", type=int, default=8, help="of each seed and length (default: %(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS), help="default: %(default)s")
    parser.add_argument("--embedder", help="model folder of the baselines dense and hybrid (default: eval.embedder)")
    parser.add_argument("--out", type=Path, default=Path("runs/frontier"))
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results" / "frontier.json")
    parser.add_argument("--docs", type=Path, default=ROOT / "docs", help="where the plot and the page are written")
    asked = parser.parse_args(words)
    lengths, budgets = _lengths(parser, asked.lengths), read_budgets(asked.budgets)
    policy = open_policy(asked.run)
    plan = Plan(
        suites=[longer(times, _trained_on(policy)) for times in lengths],
        methods=asked.methods or [POLICY, UNTRAINED, *(name for name in BASELINES if name != AS_THE_MEMORY)],
        out=asked.out,
        streams=asked.streams,
        seeds=asked.seeds,
        overrides=[f"eval.embedder={asked.embedder}"] if asked.embedder else [],
        budgets=budgets,
    )
    progress = RunProgress(Console(stderr=True))
    with progress:
        done = evaluate(policy, plan, progress.phase)
    told = {
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
        "date": date.today().isoformat(),
        "reader": reader_name(done.config),
        "judge": judge_name(done.config),
        "budgets": [float(budget) for budget in budgets],
        "lengths": lengths,
        "seeds": asked.seeds,
        **frontier(done.measured),
    }
    write_json_atomic(asked.results, told)
    draw_frontier(told, asked.docs / "frontier.png")
    text = TEXT.format(
        budgets=", ".join(map(str, budgets)),
        lengths=", ".join(map(str, lengths)),
        streams=asked.streams * len(asked.seeds),
        machine=told["machine"],
        date=told["date"],
        command=f"python -m benchmarks.frontier RUN --lengths {asked.lengths} --budgets {asked.budgets} "
        f"--streams {asked.streams}",
    )
    page = asked.docs / "results.md"
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    made = f"{text}\n{frontier_markdown(told, kinds=False)}"
    write_text_atomic(page, with_section(old, HEADING, made))
    print(json.dumps(told))


def _lengths(parser: argparse.ArgumentParser, words: str) -> list[int]:
    """The lengths that are written with commas between them."""
    found = [int(word) if word.isdecimal() and len(word) < 6 else 0 for word in words.split(",")]
    if not all(found) or len(set(found)) < len(found):
        parser.error(f"--lengths {words}: write whole numbers from 1 on, each once, as in 1,2,4")
    return sorted(found)


def _trained_on(policy: Policy) -> int:
    """The chunks of the longest synthetic streams that a policy was trained on."""
    default = SOURCES.get("synthetic").options()["chunks"]
    specs = [spec for spec in policy.configured([]).data.train if spec["source"] == "synthetic"]
    return max((int(str(spec.get("chunks", default))) for spec in specs), default=int(default))


if __name__ == "__main__":
    main()
