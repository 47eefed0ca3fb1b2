"""Our metrics beside the scripts whose names they carry, pair by pair.

    .venv/bin/python benchmarks/parity_metrics.py --data ../shared/data --official FOLDER

Prints one JSON line a metric: pairs, how many scores are equal, the largest difference, the first pairs that differ.
Pairs are made of the published golds in the JSON files of `--data`: a gold with itself, spelt otherwise, cut short,
inside a sentence, beside another, with another question's; yes and no with either.

FOLDER holds the published scripts under their own names; what is not there is left out:

- evaluate-v1.1.py (SQuAD), hotpot_evaluate_v1.py (github.com/hotpotqa/hotpot)
- evaluation.py (github.com/snap-research/locomo, task_eval/; it needs `nltk` and `regex`)
- eval_other_utils.py (MemoryAgentBench, utils/)

`rouge_l` is held against the package `rouge-score`. None of them is a requirement of this project.
"""

from __future__ import annotations

import argparse
import gzip
import importlib.util
import json
import random
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from memrl.rewards.metrics import score

Scorer = Callable[[str, str], float]

UNUSED = {"bert_score": {"score": None}, "ujson": {"load": json.load, "loads": json.loads}}
"""Modules that the scripts import and that no function of interest calls."""


def golds(folder: Path) -> list[str]:
    """Return the golds of a folder's JSON files, each once: what stands under `answer`, or `text` in `answers`."""
    found: dict[str, None] = {}
    for path in sorted(folder.glob("*/*.json*")):
        opener: Any = gzip.open if path.suffix == ".gz" else open
        if path.name.removesuffix(".gz").endswith(".json"):
            with opener(path, "rt", encoding="utf-8") as opened:
                text = opened.read()
            try:
                data = json.loads(text)
            except ValueError:  # one record a line
                data = [json.loads(line) for line in text.splitlines() if line.strip()]
            found |= dict.fromkeys(_answers(data))
    return list(found)


def _answers(data: Any) -> Iterator[str]:
    if isinstance(data, list):
        for part in data:
            yield from _answers(part)
    elif isinstance(data, dict):
        for key, value in data.items():
            if key == "answer" and isinstance(value, str | int) and str(value).strip():
                yield str(value)
            elif key == "answers" and isinstance(value, list):
                yield from (part["text"] for part in value if isinstance(part, dict) and part.get("text"))
            else:
                yield from _answers(value)


def pairs(known: list[str], count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Return `count` pairs of an answer and a gold."""
    rng = random.Random(seed)
    made = []
    while len(made) < count:
        gold, other = rng.choice(known), rng.choice(known)
        words = gold.split()
        answers = (
            gold,
            gold.upper(),
            f"The {gold}.",
            f"{gold}, {other}",
            f"{other} and {gold}",
            f"I think that it was {gold}, but I am not sure.",
            " ".join(words[: len(words) // 2 + 1]),
            " ".join(rng.sample(words, len(words))),
            gold.replace(",", "").replace("-", " "),
            other,
            rng.choice(["yes", "No.", "yes and no", "noanswer", "", "the", "Not mentioned"]),
        )
        made.append((rng.choice(answers), gold if rng.random() < 0.9 else rng.choice(["yes", "no"])))
    return made


def scorers(official: Path | None) -> dict[str, tuple[str, Scorer]]:
    """Return the reference of each metric that can be had here: its name, and its function of an answer and a gold."""
    found: dict[str, tuple[str, Scorer]] = {}
    if squad := _script(official, "evaluate-v1.1.py"):
        found["squad_em"] = ("evaluate-v1.1.py", squad.exact_match_score)
        found["squad_f1"] = ("evaluate-v1.1.py", squad.f1_score)
        found["exact_match"] = ("evaluate-v1.1.py", squad.exact_match_score)
        found["token_f1"] = ("evaluate-v1.1.py", squad.f1_score)
    if hotpot := _script(official, "hotpot_evaluate_v1.py"):
        found["hotpotqa_em"] = ("hotpot_evaluate_v1.py", hotpot.exact_match_score)
        found["hotpotqa_f1"] = ("hotpot_evaluate_v1.py", lambda answer, gold: hotpot.f1_score(answer, gold)[0])
    if locomo := _script(official, "evaluation.py"):
        found["locomo_f1"] = ("LoCoMo evaluation.py", locomo.f1_score)
        found["locomo_f1_multi"] = ("LoCoMo evaluation.py", locomo.f1)
    if bench := _script(official, "eval_other_utils.py"):
        found["substring"] = ("MemoryAgentBench eval_other_utils.py", bench.substring_exact_match_score)
    if importlib.util.find_spec("rouge_score"):
        from rouge_score.rouge_scorer import RougeScorer  # type: ignore[import-not-found, unused-ignore]

        rouge = RougeScorer(["rougeL"])
        found["rouge_l"] = ("rouge-score", lambda answer, gold: rouge.score(gold, answer)["rougeL"].fmeasure)
    return found


def _script(folder: Path | None, name: str) -> Any:
    """Return a published script as a module; None where it is not there."""
    if folder is None or not (folder / name).is_file():
        return None
    for module, names in UNUSED.items():
        if module not in sys.modules and not importlib.util.find_spec(module):
            sys.modules.setdefault(module, types.ModuleType(module)).__dict__.update(names)
    spec = importlib.util.spec_from_file_location(name.partition(".")[0].replace("-", "_"), folder / name)
    assert spec is not None and spec.loader is not None
    module_made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module_made)
    return module_made


def compare(metric: str, reference: tuple[str, Scorer], asked: list[tuple[str, str]]) -> dict[str, Any]:
    """Return how far a metric is from its reference."""
    name, official = reference
    apart = []
    largest = 0.0
    for answer, gold in asked:
        ours, theirs = score(metric, answer, [gold]), float(official(answer, gold))
        if abs(ours - theirs) > 1e-9:
            largest = max(largest, abs(ours - theirs))
            apart.append({"answer": answer, "gold": gold, "ours": round(ours, 4), "theirs": round(theirs, 4)})
    return {
        "metric": metric,
        "reference": name,
        "pairs": len(asked),
        "equal": len(asked) - len(apart),
        "largest_difference": round(largest, 4),
        "differences": apart[:8],
    }


def main() -> None:
    """Compare each metric whose reference is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="a folder of folders of JSON files")
    parser.add_argument("--official", type=Path, help="a folder of the published scripts")
    parser.add_argument("--pairs", type=int, default=4000)
    given = parser.parse_args()
    known = golds(given.data)
    if not known:
        parser.error(f"{given.data} has no JSON file with golds; name another folder with --data.")
    references = scorers(given.official)
    if not references:
        parser.error("no script and no package to compare with; see --official.")
    asked = pairs(known, given.pairs)
    for metric, reference in references.items():
        print(json.dumps(compare(metric, reference, asked), ensure_ascii=False))


if __name__ == "__main__":
    main()
