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
from typing import Any

from memrl.config import AdvantageConfig, RolloutConfig, TrainConfig
from memrl.credit import AdvantageReport, group_advantages
from memrl.data.feed import StreamFeed
from memrl.envs.stream import Stream
from memrl.records import AdapterRef, Group
from memrl.rewards.compose import RewardWeights
from memrl.rollout.pool import OnEpisode, Pool

Phase = Callable[[str, int], AbstractContextManager[OnEpisode]]
"""Opens a progress bar: what it is about, how many episodes."""


@dataclass
class _Rollout:
    """One rollout under way. Its streams are its own from the start: those that it does not need go back."""

    step: int
    adapter: AdapterRef
    streams: dict[int, Stream]
    """By position in the feed: enough for every refill."""
    task: asyncio.Task[tuple[list[Group], AdvantageReport]] = field(init=False)
    played: int = 0


class RolloutSchedule:
    """The rollouts of a run, one for each trainer step.

    Args:
        pool: what plays.
        feed: where training streams come from.
        weights: of the reward parts, for the advantages that decide which groups are refilled.
        phase: shows progress.
    """

    def __init__(
        self,
        pool: Pool,
        feed: StreamFeed,
        weights: RewardWeights,
        phase: Phase,
        *,
        rollout: RolloutConfig,
        train: TrainConfig,
        advantage: AdvantageConfig,
    ) -> None:
        self._pool = pool
        self._feed = feed
        self._weights = weights
        self._phase = phase
        self._rollout = rollout
        self._train = train
        self._advantage = advantage
        self._under_way: deque[_Rollout] = deque()
        self._returned: dict[int, Stream] = {}

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
            self._start(_Rollout(due, adapter, self._reserve()))

    def take(self) -> tuple[list[Group], AdvantageReport]:
        """Wait for the oldest rollout: all groups it played, and the samples of those that teach something.

        Raises:
            EngineError: too many of its episodes failed.
        """
        rollout = self._under_way[0]
        result = self._pool.wait(rollout.task)
        self._under_way.popleft()
        unused = list(rollout.streams.items())[rollout.played :]
        self._returned = dict(sorted([*self._returned.items(), *unused]))
        return result

    def _start(self, rollout: _Rollout) -> None:
        rollout.task = self._pool.start(self._play(rollout))
        self._under_way.append(rollout)

    def _reserve(self) -> dict[int, Stream]:
        """Streams for a rollout and all its refills: first what others gave back, then fresh ones."""
        count = self._train.streams_per_step * (1 + self._rollout.refill_rounds)
        taken = dict(list(self._returned.items())[:count])
        self._returned = {place: stream for place, stream in self._returned.items() if place not in taken}
        position = self._feed.position
        return taken | dict(enumerate(self._feed.take(count - len(taken)), position))

    async def _play(self, rollout: _Rollout) -> tuple[list[Group], AdvantageReport]:
        """Play groups until `streams_per_step` of them teach something, or the refill rounds are used up."""
        train = self._train
        streams = list(rollout.streams.values())
        groups: list[Group] = []
        wanted = train.streams_per_step
        for _ in range(1 + self._rollout.refill_rounds):
            chosen = streams[rollout.played : rollout.played + wanted]
            rollout.played += len(chosen)
            what = f"step {rollout.step + 1}/{train.steps}: rollout"
            with self._phase(what, len(chosen) * train.group_size) as advance:
                groups += await self._pool.play_groups(
                    chosen, rollout.adapter, step=rollout.step, first=len(groups), on_episode=advance
                )
            report = group_advantages(groups, self._advantage, self._weights)
            wanted = train.streams_per_step - len(report.used)
            if wanted <= 0:
                break
        return groups, report

    # Resuming ---------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint: positions in the feed, and what is under way."""
        return {
            "position": self._feed.position,
            "returned": list(self._returned),
            "under_way": [
                {"step": rollout.step, "version": rollout.adapter.version, "streams": list(rollout.streams)}
                for rollout in self._under_way
            ],
        }

    def restore(self, state: dict[str, Any], adapter: Callable[[int], AdapterRef]) -> None:
        """Stand where `state` was taken: what was under way begins again, each with its own `adapter(version)`."""
        begun: list[dict[str, Any]] = state["under_way"]
        wanted = {*state["returned"], *(place for rollout in begun for place in rollout["streams"])}
        first = min(wanted, default=state["position"])
        self._feed.seek(first)
        streams = dict(enumerate(self._feed.take(state["position"] - first), first))
        self._returned = {place: streams[place] for place in state["returned"]}
        for rollout in begun:
            ref = adapter(rollout["version"])
            self._pool.load_adapter(ref)
            self._start(_Rollout(rollout["step"], ref, {place: streams[place] for place in rollout["streams"]}))
