"""The curriculum: which stage a rollout is played in.

The stage of a rollout is decided when it begins, from what is known by then: the number of its step, the newest
evaluation, what the steps of the stage were paid that have been taken. All of that follows the steps and never the
clock, so that it is the same in every run of a seed, however far rollouts are ahead of the learner.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean
from typing import Any

from memrl.config.stages import SCORE_STEPS, TrainingStage
from memrl.envs.errors import DataError
from memrl.envs.stream import Stream
from memrl.envs.suggest import did_you_mean

log = logging.getLogger(__name__)


class Curriculum:
    """The stages of a run, and where in them it stands.

    Args:
        stages: at least one; the last is never left.
    """

    def __init__(self, stages: Sequence[TrainingStage]) -> None:
        self.stages = list(stages)
        self._entered = [0]
        self._training: list[float] = []  # question scores of the newest steps of the present stage
        self._held_out: dict[str, float] = {}  # of the newest evaluation, by kind; "": of all questions

    @property
    def stage(self) -> TrainingStage:
        """Return the stage that was entered last."""
        return self.stages[len(self._entered) - 1]

    def stage_of(self, step: int) -> TrainingStage:
        """Return the stage of the rollout of a step, and enter it. Steps are asked for in order.

        Args:
            step: 0-based: the number of steps before it.
        """
        while self.stage.number < len(self.stages) - 1 and (why := self._over(step)):
            self._entered.append(step)
            self._training = []
            what = self.stage.words or "the configuration as it is"
            log.info("step %d: stage %d of %d: %s (%s)", step + 1, len(self._entered), len(self.stages), what, why)
        return self.stage

    def _over(self, step: int) -> str:
        """Return in words why the present stage is over; empty where it is not."""
        until = self.stage.until
        if until is None:
            return ""
        if until.step is not None and step >= until.step:
            return f"{until.step} steps are taken" if step == until.step else f"more than {until.step} steps are taken"
        if until.score is None:
            return ""
        if until.of == "training":
            score = fmean(self._training) if len(self._training) == SCORE_STEPS else None
            what = f"training score over {SCORE_STEPS} steps"
        else:
            score = self._held_out.get(until.kind or "")
            what = f"held-out score of {until.kind!r}" if until.kind else "held-out score"
        return f"{what} {score:.3f}" if score is not None and score >= until.score else ""

    def take_training(self, stage: int, score: float) -> None:
        """Take in what a step's questions scored in training; it counts while its stage is the present one."""
        if stage == self.stage.number:
            self._training = [*self._training, score][-SCORE_STEPS:]

    def take_held_out(self, score: float, by_kind: Mapping[str, float]) -> None:
        """Take in an evaluation."""
        self._held_out = {**by_kind, "": score}

    def entered(self) -> list[dict[str, Any]]:
        """Return the stages that were entered: number and first step (both from 1), and what they change."""
        return [
            {"stage": number + 1, "first_step": step + 1, "changes": self.stages[number].words}
            for number, step in enumerate(self._entered)
        ]

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        return {"entered": self._entered, "training": self._training, "held_out": self._held_out}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Stand where `state` was taken."""
        self._entered = list(state["entered"])
        self._training = list(state["training"])
        self._held_out = dict(state["held_out"])


def check_kinds(stages: Iterable[TrainingStage], held_out: Iterable[Stream]) -> None:
    """Refuse stages that wait for a kind of question which the evaluation does not ask.

    Raises:
        DataError: there is such a stage; names the nearest kind.
    """
    kinds = sorted({question.kind for stream in held_out for question in stream.questions})
    for stage in stages:
        if stage.until is not None and stage.until.kind is not None and stage.until.kind not in kinds:
            raise DataError(
                f"data.curriculum[{stage.number}].until.kind is {stage.until.kind!r}, and the evaluation has no "
                f"question of it, so the next stage can never be entered{did_you_mean(stage.until.kind, kinds)}"
            )
