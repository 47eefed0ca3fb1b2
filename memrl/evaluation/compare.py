"""`memrl eval compare A B`: two evaluations side by side, stream by stream, from their records alone."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from memrl.errors import ConfigError
from memrl.evaluation.budgets import share_in_words
from memrl.evaluation.measure import Measured, read_records
from memrl.evaluation.results import better_by, headline, of_kind, score, scores_by_kind, unanswerable
from memrl.report.tables import shown
from memrl.storage.formats import check_format
from memrl.storage.rundir import EVALUATION, EVALUATION_FILE, JsonLines


def compare(one: Path, other: Path) -> dict[str, Any]:
    """Return how much better `other` is than `one`, for each suite, method and budget that both have measured.

    Only streams that both have count; `left_out` says how many others there are. Scores are over the answerable
    questions where there are any, with the others beside them, and by kind; each is paired by stream.

    Args:
        one, other: folders that `memrl eval` wrote (its --out), or run folders that hold one.

    Raises:
        ConfigError: one of them is no evaluation, their readers or judges differ, or they have nothing in common.
        DataError: a record is damaged.
    """
    one, other = _evaluation_in(one), _evaluation_in(other)
    told = [_identity(folder) for folder in (one, other)]
    for name in ("reader", "judge"):
        if told[0][name] != told[1][name]:
            raise ConfigError(
                f"the {name} of {one} is {told[0][name]} and that of {other} is {told[1][name]}: their scores do not "
                "mean the same. Repeat one of them with the other's."
            )
    theirs = dict(_records(other))
    rows = []
    for place, mine in _records(one):
        both = sorted(mine.keys() & theirs.get(place, {}).keys())
        if both:
            first, second = [mine[name] for name in both], [theirs[place][name] for name in both]
            which, planned = headline(first), len(mine.keys() | theirs[place].keys())
            kinds = scores_by_kind(first, planned)
            rows.append(
                {
                    "suite": place[0],
                    "method": place[1],
                    "budget": place[2],
                    "streams": len(both),
                    "left_out": len(mine.keys() ^ theirs[place].keys()),
                    "one": score(first, which, planned),
                    "other": score(second, which, planned),
                    "better_by": better_by(second, first, which, planned),
                    "unanswerable": {
                        "one": score(first, unanswerable, planned),
                        "other": score(second, unanswerable, planned),
                        "better_by": better_by(second, first, unanswerable, planned),
                    },
                    "one_by_kind": kinds,
                    "other_by_kind": scores_by_kind(second, planned),
                    "better_by_kind": {kind: better_by(second, first, of_kind(kind), planned) for kind in kinds},
                }
            )
    if not rows:
        raise ConfigError(f"{one} and {other} have no suite, method and stream in common.")
    return {"one": told[0]["policy"], "other": told[1]["policy"], "reader": told[0]["reader"], "results": rows}


def compared(found: dict[str, Any]) -> str:
    """The tables in Markdown: of each suite and method, and of each kind of question."""
    lines = [f"Reader: {found['reader']}. One: {found['one']}. Other: {found['other']}. Paired by stream.", ""]
    lines += ["| suite | method | streams | left out | one | other | other better by | p |", "|---" * 8 + "|"]
    for row in found["results"]:
        cells = " | ".join(_cells(row["one"], row["other"], row["better_by"]))
        lines.append(f"| {row['suite']} | {at_budget(row)} | {row['streams']} | {row['left_out']} | {cells} |")
    lines += ["", "| suite | method | questions | one | other | other better by | p |", "|---" * 7 + "|"]
    lines += [f"| {' | '.join(row)} |" for row in by_kind(found)]
    return "\n".join(lines) + "\n"


def by_kind(found: dict[str, Any]) -> Iterator[list[str]]:
    """Yield the cells of the table by kind of question: suite, method, kind, one, other, other better by, p."""
    for row in found["results"]:
        for kind, gap in row["better_by_kind"].items():
            scores = row["one_by_kind"][kind], row["other_by_kind"].get(kind)
            yield [row["suite"], at_budget(row), kind, *_cells(*scores, gap)]
        apart = row["unanswerable"]
        if apart["one"]:
            yield [row["suite"], at_budget(row), "(all unanswerable)", *_cells(**apart)]


def at_budget(row: dict[str, Any]) -> str:
    """Return `policy at 1/8`; the method alone where its budget is as the settings say."""
    share = row["budget"]
    return str(row["method"]) if share is None else f"{row['method']} at {share_in_words(share)}"


def _cells(one: dict[str, Any] | None, other: dict[str, Any] | None, better_by: dict[str, Any] | None) -> list[str]:
    p = "" if better_by is None else f"{better_by['p']:.4f}"
    return [shown(one), shown(other), shown(better_by, "+"), p]


def _evaluation_in(folder: Path) -> Path:
    """Return the folder itself, or the evaluation that a run holds where `memrl eval` puts it."""
    inside = folder / EVALUATION
    return inside if not (folder / EVALUATION_FILE).is_file() and (inside / EVALUATION_FILE).is_file() else folder


def _identity(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / EVALUATION_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = f"{EVALUATION_FILE} cannot be read ({error})"
        raise ConfigError(f"{folder} is no evaluation of memrl eval: {why}.") from error
    check_format("evaluation", found, folder)
    return found


def _records(folder: Path) -> Iterator[tuple[tuple[str, str, float | None], dict[str, Measured]]]:
    """Yield what was measured of each suite, method and budget, by stream."""
    for path in sorted((folder / "answers").glob("*/*.jsonl")):
        done = {record.stream: record for record in read_records(JsonLines(path)) if not record.failure}
        if done:
            first = next(iter(done.values()))
            yield (first.suite, first.method, first.budget), done
