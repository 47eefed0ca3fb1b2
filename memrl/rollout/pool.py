"""The pool: plays the groups of a step on workers, and keeps infrastructure failures out of the rewards.

This is the in-process pool: one worker, all episodes as coroutines of one event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from envs.stream import Stream
from memrl.config import Config
from memrl.errors import EngineError, InfrastructureError
from memrl.records import AdapterRef, Episode, Group
from memrl.rollout.worker import RolloutWorker, request_seed

log = logging.getLogger(__name__)
OnEpisode = Callable[[], None]


class InProcessPool:
    """Plays groups of episodes on one worker in this process.

    Args:
        config: for group size, timeouts and the failure bound.
        worker: what plays.
    """

    def __init__(self, config: Config, worker: RolloutWorker) -> None:
        self.config = config
        self.worker = worker
        self._loop = asyncio.new_event_loop()

    def close(self) -> None:
        self._loop.close()

    def load_adapter(self, ref: AdapterRef) -> None:
        """Make `ref` the version that the next episodes are played with."""
        self.run(self.worker.engine.load_adapter(ref))

    def score(self, prompt_ids: Sequence[int], completion_ids: Sequence[int], ref: AdapterRef) -> list[float]:
        """The engine's log-probs of a completion at the temperature of the rollouts, for the canary."""
        heat = self.config.rollout.temperature
        return self.run(self.worker.engine.score(prompt_ids, completion_ids, ref, temperature=heat))

    def play_groups(
        self,
        streams: Sequence[Stream],
        adapter: AdapterRef,
        *,
        step: int,
        first: int,
        on_episode: OnEpisode | None = None,
    ) -> list[Group]:
        """`train.group_size` sampled episodes of each stream.

        Args:
            step: the trainer's step, part of every request's seed.
            first: number of the first stream within the step (refills go on counting).

        Raises:
            EngineError: more than `rollout.max_failure_rate` of the episodes failed.
        """
        size = self.config.train.group_size
        plays = [
            self._play(stream, (first + number, index), step, adapter, None, on_episode)
            for number, stream in enumerate(streams)
            for index in range(size)
        ]
        outcomes = self._gather(plays)
        groups = []
        for number, stream in enumerate(streams):
            mine = outcomes[number * size : (number + 1) * size]
            episodes = [outcome for outcome in mine if isinstance(outcome, Episode)]
            groups.append(Group(stream, episodes, [outcome for outcome in mine if isinstance(outcome, str)]))
        return groups

    def play_greedy(
        self, streams: Sequence[Stream], adapter: AdapterRef, on_episode: OnEpisode | None = None
    ) -> list[Episode | str]:
        """One greedy episode of each stream, or what prevented it (evaluation)."""
        return self._gather(
            [self._play(stream, (number, 0), -1, adapter, 0.0, on_episode) for number, stream in enumerate(streams)]
        )

    async def _play(
        self,
        stream: Stream,
        place: tuple[int, int],
        step: int,
        adapter: AdapterRef,
        temperature: float | None,
        on_episode: OnEpisode | None,
    ) -> Episode | str:
        seed = request_seed(self.config.seed, step, *place)
        try:
            async with asyncio.timeout(self.config.rollout.episode_timeout):
                episode: Episode | str = await self.worker.play(
                    stream, seed=seed, adapter=adapter, place=place, temperature=temperature
                )
        except InfrastructureError as error:
            episode = f"{type(error).__name__}: {error}"
        except TimeoutError:
            episode = f"timeout: longer than rollout.episode_timeout ({self.config.rollout.episode_timeout:g} s)"
        if isinstance(episode, str):
            log.warning("stream %s, episode %d removed: %s", stream.id, place[1], episode)
        if on_episode:
            on_episode()
        return episode

    def _gather(self, plays: Sequence[Coroutine[Any, Any, Episode | str]]) -> list[Episode | str]:
        outcomes: list[Episode | str] = self.run(_together(plays))
        failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
        if len(failures) > self.config.rollout.max_failure_rate * len(outcomes):
            raise EngineError(
                f"{len(failures)} of {len(outcomes)} episodes failed, rollout.max_failure_rate allows "
                f"{self.config.rollout.max_failure_rate:.0%}. The first one: {failures[0]}"
            )
        return outcomes

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end on the pool's event loop; if it fails, nothing of it lives on."""
        task = self._loop.create_task(work)
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            # Ctrl-C and errors alike: no coroutine of this step may live on into the next.
            others = asyncio.all_tasks(self._loop)
            for other in others:
                other.cancel()
            if others:  # wait, not gather: without tasks gather makes a loop of its own
                self._loop.run_until_complete(asyncio.wait(others))
            raise


async def _together(plays: Sequence[Coroutine[Any, Any, Episode | str]]) -> list[Episode | str]:
    return list(await asyncio.gather(*plays))
