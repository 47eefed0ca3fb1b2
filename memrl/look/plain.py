"""Runs, episodes and wrong answers as data, for programs: what `memrl show --json` prints."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from memrl.look.episodes import GroupPlace, Told, episode_record, group_record
from memrl.look.records import Part
from memrl.look.runs import Run
from memrl.look.words import run_row
from memrl.report.causes import Cause


def run_plain(run: Run) -> dict[str, Any]:
    """Return a run at a glance, with the rows of its evaluations."""
    return {**run_row(run), "evaluations": [dict(row) for row in run.evaluations()]}


def episodes_plain(groups: Sequence[Sequence[Told]]) -> list[dict[str, Any]]:
    """Return a step's episodes, numbered as `--episode` takes them."""
    return [
        {
            "episode": number,
            "stream": told.episode.stream_id,
            "source": told.episode.source,
            "paid": told.episode.total,
            "parts": told.episode.parts,
            "questions": len(told.episode.answers),
            "wrong": len(told.why),
            "memory_tokens": told.episode.memory_tokens,
        }
        for number, told in enumerate(one for group in groups for one in group)
    ]


def wrong_plain(groups: Sequence[Sequence[Told]], cause: Cause | None) -> list[dict[str, Any]]:
    """Return the wrong answers of a step with their causes.

    Args:
        cause: only these; None: all.
    """
    return [
        {
            "episode": number,
            "stream": told.episode.stream_id,
            "question": answer.question,
            "kind": answer.kind,
            "answer": answer.answer,
            "gold": list(answer.gold),
            "cause": why.cause.value,
        }
        for number, told in enumerate(one for group in groups for one in group)
        for answer in told.episode.answers
        if (why := told.why.get(answer.question_id)) is not None and cause in (None, why.cause)
    ]


def episode_plain(run: Run, part: Part, step: int, number: int, groups: Sequence[Sequence[Told]]) -> dict[str, Any]:
    """Return one episode with its stream.

    Args:
        number: among all of the step, in order.
        groups: of the step.
    """
    at, told = [(place, told) for place, group in enumerate(groups) for told in group][number]
    place = GroupPlace("run", part, step, at)
    record = episode_record(place, told, instruction=run.instruction, reader=run.reader)
    return {"stream": dict(group_record(place, groups[at])), "episode": dict(record)}
