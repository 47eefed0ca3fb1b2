"""Held-out evaluation: one greedy episode a stream, and the gates that a warm start must pass."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from memrl.envs.stream import Stream
from memrl.errors import EngineError
from memrl.evaluation.kinds import Fall
from memrl.evaluation.statistics import SCORES, Interval, Unit, interval_over, mean, stream_interval
from memrl.records import AnswerRecord, Episode, part_values

_PARTS_BEFORE = ("qa", "tool_success", "compression")
_BOUNDED = ("qa", "tool_success")
"""Parts that are shares: no interval of theirs leaves 0 to 1."""


@dataclass(frozen=True)
class Evaluation:
    """Scores of one adapter version on the held-out streams, each with a 95 % interval clustered by stream."""

    step: int
    version: int
    parts: dict[str, Interval]
    """Of each reward part; `qa` is over all questions, as it is paid."""
    by_kind: dict[str, Interval]
    streams: int
    failures: int
    answerable: Interval | None = None
    """Of the answerable questions alone; None where there are no others, or no such ones."""
    unanswerable: Interval | None = None
    over: Unit = "streams"
    """Of what the intervals are: of streams, or, where one stream is all there is, of its questions."""
    falls: dict[str, Fall] | None = None
    """The kinds of question that lie significantly below their scores before training; None where that is not known."""

    @property
    def qa(self) -> Interval:
        """Accuracy of the answers."""
        return self.parts["qa"]

    @property
    def worst_fall(self) -> float:
        """The mean difference of the kind that lies furthest below its score before training, of those that do so
        significantly; 0 where none does."""
        return min((fall.value for fall in (self.falls or {}).values()), default=0.0)

    @classmethod
    def restore(cls, saved: dict[str, Any]) -> Evaluation:
        """Return the evaluation of which `saved` is `asdict`. In checkpoints of runs before parts were open, each part
        is a field of its own."""
        rest = {field.name: saved[field.name] for field in fields(cls) if field.name != "parts" and field.name in saved}
        parts = saved["parts"] if "parts" in saved else {name: saved[name] for name in _PARTS_BEFORE}
        rest["by_kind"] = {kind: _restored(found) for kind, found in saved["by_kind"].items()}
        for name in ("answerable", "unanswerable"):
            rest[name] = None if saved.get(name) is None else _restored(saved[name])
        if rest.get("falls") is not None:
            rest["falls"] = {kind: Fall(**found) for kind, found in rest["falls"].items()}
        return cls(parts={name: _restored(interval) for name, interval in parts.items()}, **rest)

    def metrics(self) -> dict[str, float]:
        """Flat keys for metrics.jsonl."""
        row: dict[str, float] = {"eval/streams": self.streams, "eval/failures": self.failures}
        apart = {"answerable": self.answerable, "unanswerable": self.unanswerable}
        for name, interval in (self.parts | {name: found for name, found in apart.items() if found}).items():
            row[f"eval/{name}"] = interval.value
            if interval.low is not None and interval.high is not None:
                row |= {f"eval/{name}_low": interval.low, f"eval/{name}_high": interval.high}
        row |= {f"eval/qa_{kind}": found.value for kind, found in sorted(self.by_kind.items())}
        if self.falls is not None:
            row["eval/worst_fall"] = self.worst_fall
            row["alarm/kind_fell"] = float(any(fall.alarm for fall in self.falls.values()))
        return row

    def summary(self) -> dict[str, Any]:
        """Return it for summary.json: `{qa: {value, low, high}, ...}`."""
        apart = {"answerable": self.answerable, "unanswerable": self.unanswerable}
        return {
            "step": self.step,
            "version": self.version,
            **{name: vars(interval) for name, interval in self.parts.items()},
            **{name: vars(found) for name, found in apart.items() if found},
            "qa_by_kind": {kind: vars(found) for kind, found in self.by_kind.items()},
            **(
                {} if self.falls is None else {"kinds_below": {kind: vars(found) for kind, found in self.falls.items()}}
            ),
            "streams": self.streams,
            "failures": self.failures,
            "over": self.over,
        }


def _restored(saved: float | dict[str, Any]) -> Interval:
    """Return an interval as a checkpoint holds it; older ones hold of each kind of question the score alone."""
    return Interval(**saved) if isinstance(saved, dict) else Interval(saved, None, None)


def summarise(outcomes: Sequence[Episode | str], step: int, version: int) -> Evaluation:
    """Score the episodes of an evaluation; those that failed are counted and left out.

    Raises:
        EngineError: no episode is left.
    """
    episodes = [outcome for outcome in outcomes if isinstance(outcome, Episode)]
    if not episodes:
        raise EngineError(
            f"every episode of the evaluation failed; the first one: {next(iter(outcomes), 'none given')}"
        )
    planned = len(outcomes)

    def scored(which: Callable[[AnswerRecord], bool]) -> Interval | None:
        found = [[answer.score for answer in episode.answers if which(answer)] for episode in episodes]
        return stream_interval(found, planned=planned, bounds=SCORES) if any(found) else None

    # qa by its answers: where one stream is all there is, its interval is over questions.
    parts = part_values(episodes) | {"qa": [[answer.score for answer in episode.answers] for episode in episodes]}
    kinds = sorted({answer.kind for episode in episodes for answer in episode.answers})
    by_kind = {kind: scored(lambda answer, kind=kind: answer.kind == kind) for kind in kinds}  # type: ignore[misc]
    apart = scored(lambda answer: answer.answerable), scored(lambda answer: not answer.answerable)
    both = None not in apart
    return Evaluation(
        step=step,
        version=version,
        parts={
            name: stream_interval(values, planned=planned, bounds=SCORES if name in _BOUNDED else None)
            for name, values in parts.items()
        },
        by_kind={kind: found for kind, found in by_kind.items() if found is not None},
        streams=len(episodes),
        failures=len(outcomes) - len(episodes),
        answerable=apart[0] if both else None,
        unanswerable=apart[1] if both else None,
        over=interval_over(parts["qa"], planned),
    )


def faithful_share(episodes: Sequence[Episode], streams: Sequence[Stream]) -> float | None:
    """Share of the written texts that stand in their chunk word for word (white space folded); None without any."""
    by_id = {(stream.source, stream.id): stream for stream in streams}
    verdicts = [
        " ".join(result.content.split())
        in " ".join(by_id[episode.source, episode.stream_id].chunks[step.chunk].text.split())
        for episode in episodes
        for step in episode.steps
        if not step.tidies
        for result in step.results
        if result.ok and result.content
    ]
    return sum(verdicts) / len(verdicts) if verdicts else None


def update_id_share(episodes: Sequence[Episode], streams: Sequence[Stream]) -> float | None:
    """Share of the updates by a sentence that replaces an earlier one in sight, which name the item of that one.

    For sources that say what a sentence replaces (`metadata["notes"]`); None without any such update.
    """
    by_id = {(stream.source, stream.id): stream for stream in streams}
    right: list[bool] = []
    for episode in episodes:
        notes = by_id[episode.source, episode.stream_id].metadata.get("notes") or []
        for step in (step for step in episode.steps if not step.tidies):
            replaced = {note["text"]: note["replaces"] for note in (notes[step.chunk] if notes else ())}
            named = {change["id"]: change["before"] for change in step.diff}
            for call in step.calls:
                item = call.arguments.get("memory_id")
                old = replaced.get(" ".join(str(call.arguments.get("content", "")).split()))
                if isinstance(item, str) and old and f": {old}" in step.seen:
                    right.append(named.get(item.strip()) == old)
    return sum(right) / len(right) if right else None


def best_scores(answers: Sequence[AnswerRecord]) -> dict[str, float | None]:
    """Return the reader's ceiling as gates: over all answers, None without any, and by kind of question."""
    by_kind: dict[str, list[float]] = {}
    for answer in answers:
        by_kind.setdefault(answer.kind, []).append(answer.score)
    best = {f"reader_ceiling_{kind}": mean(scores) for kind, scores in sorted(by_kind.items())}
    return {"reader_ceiling": mean([answer.score for answer in answers]) if answers else None, **best}
