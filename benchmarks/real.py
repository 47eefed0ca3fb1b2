"""Measure what `make train-real` has trained: on held-out text of what it was trained on, and on sets it never saw.

    .venv/bin/python -m benchmarks.real runs/real --data DIR
    .venv/bin/python -m benchmarks.real runs/real-0 runs/real-1 --data DIR --embedder MODEL

Each folder is one of `benchmarks.real_train`, of its own seed. DIR holds the raw files of LoCoMo and HotpotQA; SQuAD's
is the one that the run was trained on, of which other articles are asked. Methods: `untrained` (the base model), `sft`
(after the warm start), `grpo` (the run's best adapter), and the baselines under the same budget; all are asked by the
run's own reader. What was measured is not measured again: answers are kept in RUN/measured, so the command can be
stopped and repeated, and a run that is not finished is measured as far as it is. Writes benchmarks/results/real.json:

    {"machine", "date", "reader",
     "results": [{"set", "seed", "method", "score": {"value", "low", "high"}, "memory_tokens", "streams", ...}],
     "paired": [{"set", "seed", "a", "b", "difference", "low", "high", "p"}]}

Scores are over the answerable questions; `low` and `high` bound 95 % intervals over streams; `difference` is a - b,
paired by stream; p is of a two-sided sign-flip test.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.real_train import PIPELINE
from memrl.config import Config, load_config
from memrl.evaluation.measure import Measured, Plan, evaluate, reader_name
from memrl.evaluation.results import average, better_by, headline, score
from memrl.policies.policy import POLICY, open_policy
from memrl.report.progress import RunProgress
from memrl.storage.files import write_json_atomic

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "real.json"
UNTRAINED, SFT, GRPO = "untrained", "sft", "grpo"
BASELINES = ("verbatim", "bm25")
PAIRS = ((GRPO, SFT), (GRPO, UNTRAINED), (SFT, UNTRAINED), (GRPO, "verbatim"), (SFT, "verbatim"), (GRPO, "bm25"))
TRAINED_ON = {"squad": "squad", "dialogues": "dialogues"}
"""Sets of whose training part the policy has learned: as the run's own `data.eval` has them."""
NEVER = {
    "locomo": "locomo:path={data}/locomo6/locomo6.json.gz,metric=substring,chunks=6,chunk_tokens=128,longest=60,"
    "questions=16",
    "hotpotqa": "hotpotqa:path={data}/multihop_train100/hotpotqa_train.json.gz,metric=substring,chunks=null,mix=false,"
    "distractors=3,chunk_tokens=100,longest=60",
}
"""Sets that nothing was trained on: LoCoMo in windows of 6 chunks, HotpotQA with a stream for each question."""


def measure(
    run: Path, name: str, suites: Sequence[str], streams: int, words: Sequence[str], progress: RunProgress
) -> tuple[Config, list[Measured]]:
    """Measure one of the policies on suites, and beside the untrained one the baselines."""
    config_file = run / "grpo" / "config.yaml"
    grpo = load_config(config_file, check=False)
    if name == GRPO:
        policy = open_policy(str(run / "grpo"))
    else:
        policy = open_policy(str(config_file), base_model=grpo.model.path if name == SFT else _base(run))
    methods = [POLICY, *(_baselines(words) if name == UNTRAINED else ())]
    plan = Plan(suites, methods, run / "measured" / name, streams=streams, overrides=words)
    done = evaluate(policy, plan, progress.phase)
    return done.config, [
        one.model_copy(update={"method": name}) if one.method == POLICY else one for one in done.measured
    ]


def _base(run: Path) -> str:
    """Return the folder of the model that the warm start began with."""
    return str(json.loads((run / PIPELINE).read_text(encoding="utf-8"))["model"])


def _baselines(words: Sequence[str]) -> list[str]:
    return [*BASELINES, *(["dense"] if any(word.startswith("eval.embedder=") for word in words) else [])]


def figures(measured: Sequence[Measured], sets: dict[str, str], seed: int) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of `results` and `paired` of one run."""
    results, paired = [], []
    for name, suite in sets.items():
        mine = [one for one in measured if one.suite == suite]
        which = headline(mine)
        by_method: dict[str, list[Measured]] = {}
        for one in mine:
            by_method.setdefault(one.method, []).append(one)
        for method, found in by_method.items():
            done = [one for one in found if not one.failure]
            row = {"set": name, "seed": seed, "method": method, "score": score(found, which), "streams": len(done)}
            row["memory_tokens"] = average([one.memory_tokens for one in done])
            row["text_tokens"] = average([one.chunk_tokens for one in done])
            row["completion_tokens"] = average([one.completion_tokens for one in done])
            results.append(row)
        for a, b in PAIRS:
            if a in by_method and b in by_method:
                gap = better_by(by_method[a], by_method[b], which)
                if gap is not None:
                    told = {key: gap[key] for key in ("low", "high", "p")}
                    paired.append({"set": name, "seed": seed, "a": a, "b": b, "difference": gap["value"], **told})
    return {"results": results, "paired": paired}


def tool_success(run: Path) -> dict[str, float]:
    """Return the share of calls that succeeded on the run's held-out streams, by method, as far as it has evaluated."""
    file = run / "grpo" / "metrics.jsonl"
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] if file.is_file() else []
    found = [row["eval/tool_success"] for row in rows if "eval/tool_success" in row]
    return {SFT: found[0], GRPO: found[-1]} if found else {}


def main(words: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, help="folders of benchmarks.real_train")
    parser.add_argument("--data", type=Path, help="holds locomo6/ and multihop_train100/ (default: those are left out)")
    parser.add_argument("--streams", type=int, default=100, help="of a set at most (default: %(default)s)")
    parser.add_argument("--methods", nargs="+", choices=(UNTRAINED, SFT, GRPO), default=[UNTRAINED, SFT, GRPO])
    parser.add_argument("--embedder", help="model folder of the baseline dense (default: it is left out)")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--set", nargs="+", default=[], metavar="key=value", help="settings in place of the runs'")
    asked = parser.parse_args(words)
    sets = dict(TRAINED_ON)
    if asked.data is not None:
        sets |= {name: suite.format(data=asked.data.resolve()) for name, suite in NEVER.items()}
    settings = [*asked.set, *([f"eval.embedder={asked.embedder}"] if asked.embedder else [])]
    told: dict[str, Any] = {
        "machine": f"{os.cpu_count()} cores ({platform.machine()})",
        "date": date.today().isoformat(),
        "reader": "",
        "results": [],
        "paired": [],
    }
    progress = RunProgress(Console(stderr=True))
    with progress:
        for run in asked.runs:
            found: list[Measured] = []
            trained = (run / "grpo" / "adapters").is_dir()
            for name in (name for name in asked.methods if trained or name != GRPO):
                config, more = measure(run, name, list(sets.values()), asked.streams, settings, progress)
                found += more
                told["reader"] = reader_name(config)
            rows = figures(found, sets, load_config(run / "grpo" / "config.yaml", check=False).seed)
            shares = tool_success(run)
            for row in rows["results"]:
                row |= {"tool_success": shares[row["method"]]} if row["method"] in shares else {}
            told = {**told, **{key: told[key] + rows[key] for key in rows}}
    write_json_atomic(asked.results, told)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
