"""Two runs side by side: their curves, their final scores with intervals, and what their wrong answers are due to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from memrl.evaluation.statistics import SCORES, paired_difference, stream_interval
from memrl.look.columns import table
from memrl.look.episodes import Told
from memrl.look.runs import Run, interval_of
from memrl.look.texts import line
from memrl.look.words import found_in, score
from memrl.records import AnswerRecord, Episode
from memrl.report.causes import IN_WORDS, counted
from memrl.report.curve import KIND, kinds_of
from memrl.report.tables import shown

Answers = dict[tuple[str, str, str], dict[str, AnswerRecord]]
"""Answers by stream (source, id, text of its questions) and question id."""


def compare_runs(one: Run, other: Run) -> dict[str, Any]:
    """Return two runs side by side.

    `curve` has a row for each step that either has evaluated; `final` the last scores, of all questions and by kind,
    each with its interval; `better_by` and `better_by_kind` by how much the other's last evaluation is better, paired
    by stream, over the held-out streams that both have kept; None where they have none in common. `causes` counts the
    causes of the wrong answers of both last evaluations.
    """
    rows = [{row["step"]: row for row in run.evaluations()} for run in (one, other)]
    steps = sorted(set(rows[0]) | set(rows[1]))
    kinds = sorted({kind for run in (one, other) for kind in kinds_of(run.rows)})
    last = [of[max(of)] if of else {} for of in rows]
    told = [
        [each for group in found_in(run, "held-out", row["step"]) for each in group]
        if row and row["step"] in run.episode_files("held-out").steps()
        else []
        for run, row in zip((one, other), last, strict=True)
    ]
    mine, theirs = (_answers([each.episode for each in of]) for of in told)
    return {
        "runs": [str(run.folder) for run in (one, other)],
        "steps": [run.step for run in (one, other)],
        "curve": [{"step": step, "one": _at(rows[0], step), "other": _at(rows[1], step)} for step in steps],
        "final": {
            "all": [interval_of(row, "eval/qa") for row in last],
            **{kind: [_of_kind(*of, kind) for of in zip(last, told, strict=True)] for kind in kinds},
        },
        "better_by": _better_by(mine, theirs, None),
        "better_by_kind": {kind: _better_by(mine, theirs, kind) for kind in kinds},
        "causes": [counted(why.cause for each in of for why in each.why.values()) if of else None for of in told],
    }


def _at(rows: Mapping[int, dict[str, Any]], step: int) -> Any:
    return interval_of(rows[step], "eval/qa") if step in rows else None


def _of_kind(row: dict[str, Any], told: Sequence[Told], kind: str) -> Any:
    """The score of a kind: over the episodes that were kept, with its interval; else as the row has it."""
    scores = [[answer.score for answer in one.episode.answers if answer.kind == kind] for one in told]
    if not any(scores):
        return interval_of(row, KIND + kind)
    return asdict(stream_interval(scores, planned=len(scores), bounds=SCORES))


def _answers(episodes: Sequence[Episode]) -> Answers:
    return {
        (episode.source, episode.stream_id, "\n".join(answer.question for answer in episode.answers)): {
            answer.question_id: answer for answer in episode.answers
        }
        for episode in episodes
    }


def _better_by(one: Answers, other: Answers, kind: str | None) -> dict[str, Any] | None:
    """Return by how much the second is better, over the questions of a kind; None where they have none in common."""
    pairs = []
    for key in one.keys() & other.keys():
        asked = [
            question for question, answer in one[key].items() if question in other[key] and kind in (None, answer.kind)
        ]
        if asked:
            pairs.append(
                ([other[key][question].score for question in asked], [one[key][question].score for question in asked])
            )
    if not pairs:
        return None
    return asdict(paired_difference(*zip(*sorted(pairs), strict=True), planned=len(pairs)))


def compare_text(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield a comparison as text."""
    for which, name, step in zip(("one", "other"), found["runs"], found["steps"], strict=True):
        yield f"{which + ':':6} {line(name, 400)} (step {step})"
    yield ""
    yield from table(
        [["step", "one", "other"], *([str(r["step"]), score(r["one"]), score(r["other"])] for r in found["curve"])]
    )
    yield ""
    final = ((line(kind, 40), score(one), score(other)) for kind, (one, other) in found["final"].items())
    yield from table([["last evaluation", "one", "other"], *final])
    yield ""
    gaps = {"all": found["better_by"], **found["better_by_kind"]}
    rows = [[line(kind, 40), shown(gap, "+"), f"{gap['p']:.4f}"] for kind, gap in gaps.items() if gap is not None]
    yield from table([["last evaluation", "other better by", "p"], *rows]) if rows else ()
    if found["better_by"] is None:
        yield "no held-out stream was kept by both: their difference has no interval"
    causes = found["causes"]
    if any(causes):
        yield ""
        counts = [[str(of[cause.value]) if of else "-" for of in causes] for cause in IN_WORDS]
        yield from table(
            [
                ["wrong answers", "one", "other"],
                *([label, *of] for label, of in zip(IN_WORDS.values(), counts, strict=True)),
            ]
        )
