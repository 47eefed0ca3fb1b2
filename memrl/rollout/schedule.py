"""The schedule of rollouts: which is played when, with which streams, with which adapter, and how far ahead of the
learner.

With `rollout.max_staleness` k, the rollout of a step begins k steps before the learner needs it, with the adapter that
is the newest then, and goes on while the learner works:

    k = 0    rollout v0 | learn -> v1 | rollout v1 | learn -> v2 | ...
    k = 1    rollout v0 | learn -> v1 | learn -> v2 | ...
             rollout v0 .............. rollout v1 ............... rollout v2 ...

The schedule follows the steps and never the clock: streams, seeds and versions of a run with k > 0 are the same each
time, and a resumed run begins again exactly the rollouts that were under way.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from statistics import fmean
from typing import Any

from memrl.config import AdvantageConfig, RolloutConfig, TrainConfig
from memrl.config.stages import TrainingStage
from memrl.credit import AdvantageReport, group_advantages
from memrl.data.curriculum import Curriculum
from memrl.data.difficulty import pool_figures
from memrl.data.drawing import Drawing, Drawn
from memrl.records import AdapterRef, Episode, Group
from memrl.rewards.compose import RewardWeights
from memrl.rollout.pool import OnEpisode, Pool

Phase = Callable[[str, int], AbstractContextManager[OnEpisode]]
"""Opens a progress bar: what it is about, how many episodes."""


@dataclass
class _Rollout:
    """One rollout under way. Its streams are its own from the start: those that it does not need go back."""

    step: int
    adapter: AdapterRef
    stage: TrainingStage
    drawn: list[Drawn]
    """Enough streams for every refill."""
    passed_over: int = 0
    """Streams that were passed over for their pool when these were drawn."""
    task: asyncio.Task[tuple[list[Group], AdvantageReport]] = field(init=False)
    played: int = 0


class RolloutSchedule:
    """The rollouts of a run, one for each trainer step.

    Args:
        pool: what plays.
        drawing: where training streams come from.
        curriculum: says which stage a rollout is played in.
        weights: of the reward parts, for the advantages that decide which groups are refilled.
        phase: shows progress.
    """

    def __init__(
        self,
        pool: Pool,
        drawing: Drawing,
        curriculum: Curriculum,
        weights: RewardWeights,
        phase: Phase,
        *,
        rollout: RolloutConfig,
        train: TrainConfig,
        advantage: AdvantageConfig,
    ) -> None:
        self._pool = pool
        self._drawing = drawing
        self._curriculum = curriculum
        self._weights = weights
        self._phase = phase
        self._rollout = rollout
        self._train = train
        self._advantage = advantage
        self._under_way: deque[_Rollout] = deque()

    @property
    def under_way(self) -> bool:
        """Return whether a rollout was begun that nobody has taken yet."""
        return bool(self._under_way)

    @property
    def versions(self) -> set[int]:
        """The adapters that rollouts under way are played with."""
        return {rollout.adapter.version for rollout in self._under_way}

    def begin(self, step: int, adapter: AdapterRef) -> None:
        """Begin every rollout that is due when `step` (0-based) is to be learned next and `adapter` is the newest."""
        last = min(step + self._rollout.max_staleness, self._train.steps - 1)
        first = self._under_way[-1].step + 1 if self._under_way else step
        for due in range(first, last + 1):
            stage = self._curriculum.stage_of(due)
            count = self._train.streams_per_step * (1 + self._rollout.refill_rounds)
            self._start(_Rollout(due, adapter, stage, *self._drawing.draw(stage.number, count)))

    def take(self) -> tuple[list[Group], AdvantageReport, dict[str, float]]:
        """Wait for the oldest rollout: all groups it played, the samples of those that teach something, and figures of
        its stage and its streams' pools, where there are several.

        Raises:
            EngineError: too many of its episodes failed.
        """
        rollout = self._under_way[0]
        groups, report = self._pool.wait(rollout.task)
        self._under_way.popleft()
        played, unused = rollout.drawn[: rollout.played], rollout.drawn[rollout.played :]
        stage = rollout.stage.number
        self._drawing.give_back(stage, unused)
        for drawn, group in zip(played, groups, strict=True):
            self._drawing.note(stage, drawn.stream, [_score(episode) for episode in group.episodes])
        if scores := [_score(episode) for group in groups for episode in group.episodes]:
            self._curriculum.take_training(stage, fmean(scores))
        figures = {"curriculum/stage": float(stage + 1)} if len(self._curriculum.stages) > 1 else {}
        if self._drawing.pools.on:
            figures |= pool_figures([drawn.pool for drawn in played], rollout.passed_over)
        return groups, report, figures

    def _start(self, rollout: _Rollout) -> None:
        rollout.task = self._pool.start(self._play(rollout))
        self._under_way.append(rollout)

    async def _play(self, rollout: _Rollout) -> tuple[list[Group], AdvantageReport]:
        """Play groups until `streams_per_step` of them teach something, or the refill rounds are used up."""
        train = self._train
        streams = [drawn.stream for drawn in rollout.drawn]
        groups: list[Group] = []
        wanted = train.streams_per_step
        for _ in range(1 + self._rollout.refill_rounds):
            chosen = streams[rollout.played : rollout.played + wanted]
            rollout.played += len(chosen)
            what = f"step {rollout.step + 1}/{train.steps}: rollout"
            with self._phase(what, len(chosen) * train.group_size) as advance:
                groups += await self._pool.play_groups(
                    chosen,
                    rollout.adapter,
                    step=rollout.step,
                    first=len(groups),
                    on_episode=advance,
                    memory=rollout.stage.memory,
                )
            report = group_advantages(groups, self._advantage, self._weights)
            wanted = train.streams_per_step - len(report.used)
            if wanted <= 0:
                break
        return groups, report

    # Resuming ---------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: positions in the feed, what is under way, and the stages."""
        return {
            **self._drawing.state(),
            "under_way": [
                {
                    "step": rollout.step,
                    "version": rollout.adapter.version,
                    "stage": rollout.stage.number,
                    "streams": [drawn.place for drawn in rollout.drawn],
                    "pools": [drawn.pool for drawn in rollout.drawn],
                    "passed_over": rollout.passed_over,
                }
                for rollout in self._under_way
            ],
            "curriculum": self._curriculum.state(),
        }

    def restore(self, state: dict[str, Any], adapter: Callable[[int], AdapterRef]) -> None:
        """Stand where `state` was taken: what was under way begins again, each with its own `adapter(version)`."""
        self._drawing.restore(state)
        if "curriculum" in state:  # checkpoints from before there were stages have none
            self._curriculum.restore(state["curriculum"])
        for begun in state["under_way"]:
            ref = adapter(begun["version"])
            self._pool.load_adapter(ref)
            stage = self._curriculum.stages[begun.get("stage", 0)]
            drawn = self._drawing.drawn(stage.number, begun["streams"], begun.get("pools"))
            self._start(_Rollout(begun["step"], ref, stage, drawn, begun.get("passed_over", 0)))


def _score(episode: Episode) -> float:
    """Return an episode's question score: the mean of its answers'."""
    return fmean(answer.score for answer in episode.answers) if episode.answers else 0.0
