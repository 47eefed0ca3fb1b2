"""No kind may rot: which kinds of question an evaluation finds below their scores before training, and which evaluation
is the best with that in view.

The test is paired: for each held-out stream, a kind's mean score now less that before training, greedy both times; over
the streams, the one-sided sign-flip test (`memrl.evaluation.statistics.fall_p`). It is used at two levels:

- `BELOW`, uncorrected, for the choice of the best adapter, which may err on the safe side: of the falls that are
  significant by it the worst kind's is taken from the score;
- `ALARM`, over all kinds and all evaluations of a run together, for the alarm, which must not ring by chance: the j-th
  evaluation after the first has the share 1 / (j (j + 1)) of it (these sum to 1, however many there will be), in equal
  parts for the kinds (Bonferroni).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from memrl.evaluation.statistics import fall_p, mean
from memrl.records import Episode

BELOW = 0.05
ALARM = 0.05
BEST_RULE = (
    "the highest held-out QA accuracy, less the fall of the worst kind of question that lies significantly below its "
    f"score before training (paired over streams, one-sided sign-flip test, p at most {BELOW:g}); of equals the earlier"
)
KindScores = dict[str, dict[str, float]]
"""Of each kind of question, the mean score of each held-out stream that asks such, by the stream's number."""


@dataclass(frozen=True)
class Fall:
    """A kind of question that lies significantly below its score before training."""

    value: float
    """The mean difference over streams; below 0."""
    p: float
    streams: int
    alarm: bool
    """Whether it is significant by the level of the alarm."""


def kind_scores(outcomes: Sequence[Episode | str]) -> KindScores:
    """Return the scores by kind and stream of an evaluation; streams whose episode failed are left out."""
    found: dict[str, dict[str, list[float]]] = {}
    for number, outcome in enumerate(outcomes):
        for answer in outcome.answers if isinstance(outcome, Episode) else ():
            found.setdefault(answer.kind, {}).setdefault(str(number), []).append(answer.score)
    return {kind: {stream: mean(of) for stream, of in by.items()} for kind, by in sorted(found.items())}


def falls(
    before: Mapping[str, Mapping[str, float]], now: Mapping[str, Mapping[str, float]], look: int
) -> dict[str, Fall]:
    """Return the kinds that lie significantly below what they were, over the streams that both evaluations have.

    Args:
        before: of the evaluation before training.
        look: number of this evaluation among those after it, from 1.
    """
    gaps = {
        kind: [now[kind][stream] - score for stream, score in streams.items() if stream in now[kind]]
        for kind, streams in before.items()
        if kind in now
    }
    gaps = {kind: found for kind, found in gaps.items() if found}
    level = alarm_level(look, len(gaps)) if gaps else 0.0
    tested = {kind: (mean(found), fall_p(found), len(found)) for kind, found in gaps.items() if mean(found) < 0}
    return {
        kind: Fall(value, p, streams, alarm=p <= level) for kind, (value, p, streams) in tested.items() if p <= BELOW
    }


def alarm_level(look: int, kinds: int) -> float:
    """Return the p from which on down one kind rings the alarm in an evaluation."""
    return ALARM / (look * (look + 1) * kinds)
