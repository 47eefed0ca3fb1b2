"""Held-out evaluation: one greedy episode a stream, and the two gates that a warm start must pass."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from memrl.envs.stream import Stream
from memrl.errors import EngineError
from memrl.evaluation.statistics import Interval, bootstrap_interval
from memrl.records import Episode, part_values

_PARTS_BEFORE = ("qa", "tool_success", "compression")


@dataclass(frozen=True)
class Evaluation:
    """Scores of one adapter version on the held-out streams, each with a 95 % interval clustered by stream."""

    step: int
    version: int
    parts: dict[str, Interval]
    """Of each reward part."""
    by_kind: dict[str, float]
    streams: int
    failures: int

    @property
    def qa(self) -> Interval:
        """Accuracy of the answers."""
        return self.parts["qa"]

    @classmethod
    def restore(cls, saved: dict[str, Any]) -> Evaluation:
        """Return the evaluation of which `saved` is `asdict`. In checkpoints of runs before parts were open, each part
        is a field of its own."""
        rest = {field.name: saved[field.name] for field in fields(cls) if field.name != "parts"}
        parts = saved["parts"] if "parts" in saved else {name: saved[name] for name in _PARTS_BEFORE}
        return cls(parts={name: Interval(**interval) for name, interval in parts.items()}, **rest)

    def metrics(self) -> dict[str, float]:
        """Flat keys for metrics.jsonl."""
        row: dict[str, float] = {"eval/streams": self.streams, "eval/failures": self.failures}
        for name, interval in self.parts.items():
            row |= {
                f"eval/{name}": interval.value,
                f"eval/{name}_low": interval.low,
                f"eval/{name}_high": interval.high,
            }
        return row | {f"eval/qa_{kind}": value for kind, value in sorted(self.by_kind.items())}

    def summary(self) -> dict[str, Any]:
        """Return it for summary.json: `{qa: {value, low, high}, ...}`."""
        return {
            "step": self.step,
            "version": self.version,
            **{name: vars(interval) for name, interval in self.parts.items()},
            "qa_by_kind": self.by_kind,
            "streams": self.streams,
        }


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
    kinds: dict[str, list[float]] = defaultdict(list)
    for episode in episodes:
        for answer in episode.answers:
            kinds[answer.kind].append(answer.score)
    # qa by its answers: where one stream is all there is, its interval is over questions.
    parts = part_values(episodes) | {"qa": [[answer.score for answer in episode.answers] for episode in episodes]}
    return Evaluation(
        step=step,
        version=version,
        parts={name: bootstrap_interval(values) for name, values in parts.items()},
        by_kind={kind: sum(scores) / len(scores) for kind, scores in sorted(kinds.items())},
        streams=len(episodes),
        failures=len(outcomes) - len(episodes),
    )


def faithful_share(episodes: Sequence[Episode], streams: Sequence[Stream]) -> float | None:
    """Share of the written texts that stand in their chunk word for word (white space folded); None without any."""
    by_id = {(stream.source, stream.id): stream for stream in streams}
    verdicts = [
        " ".join(result.content.split())
        in " ".join(by_id[episode.source, episode.stream_id].chunks[step.chunk].text.split())
        for episode in episodes
        for step in episode.steps
        for result in step.results
        if result.ok and result.content
    ]
    return sum(verdicts) / len(verdicts) if verdicts else None
