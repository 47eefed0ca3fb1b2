"""An evaluation as trackers get it: scores by kind, the curve, and some episodes as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from memrl.evaluation.evaluate import Evaluation
from memrl.look.episodes import GroupPlace, Told
from memrl.look.runs import open_run
from memrl.look.texts import cut
from memrl.look.words import one_episode_text
from memrl.records import Episode
from memrl.report.causes import RIGHT
from memrl.report.trackers import HeldOut, Score

EPISODES = 3
"""How many are given as text: the first that have a wrong answer, then the first of the others."""


def held_out(folder: Path, evaluation: Evaluation, played: Sequence[Episode], curve: Path) -> HeldOut:
    """Return an evaluation of the run in `folder`.

    Args:
        played: its episodes, in order.
        curve: the picture of the curve.
    """
    run, step = open_run(folder), evaluation.step
    wrong = [any(answer.score < RIGHT for answer in episode.answers) for episode in played]
    chosen = sorted(sorted(range(len(played)), key=lambda number: not wrong[number])[:EPISODES])
    episodes = []
    for number in chosen:
        told = Told(played[number])
        text = one_episode_text(run, GroupPlace("run", "held-out", step, number), number, [told], told)
        episodes.append((f"step {step}, episode {number}", cut("\n".join(text))))
    scores = [("all", evaluation.qa), *sorted(evaluation.by_kind.items())]
    return HeldOut(
        step, tuple(Score(kind, one.value, one.low, one.high) for kind, one in scores), curve, tuple(episodes)
    )
