"""The pool on a Ray cluster: episodes handed out one by one to workers that come and go.

    driver:  Play -> a slot on the worker with the fewest episodes -> actor.play -> Episode
    actor:   RolloutWorker (its own engine, its own copy of the base model)

The episodes of a worker that is lost are played again elsewhere. An outcome is taken from the one attempt that is being
waited for, so that no episode counts twice. `memrl.rollout.ray_members` says who the workers are.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import ray

from memrl.config import RayConfig, RolloutConfig
from memrl.envs.stream import Stream
from memrl.errors import WorkerDied
from memrl.records import AdapterRef, AnswerRecord, Episode
from memrl.rollout.pool import Errand, Play, Pool
from memrl.rollout.ray_members import Build, RayMember, RayMembers, answer

Result = TypeVar("Result")


class RayPool(Pool):
    """The pool of `rollout.workers` workers on a cluster.

    Args:
        build: makes a worker inside its actor; must be importable there.
        group_size: `train.group_size`.
        seed: the run's.

    Raises:
        EngineError: no cluster can be reached, or no worker came up within `ray.start_timeout`.
        ConfigError: a worker cannot load its model.
    """

    def __init__(self, build: Build, *, rollout: RolloutConfig, cluster: RayConfig, group_size: int, seed: int) -> None:
        super().__init__(rollout, group_size=group_size, seed=seed)
        self._hang_grace = cluster.hang_grace
        self._members = RayMembers(build, rollout, cluster, self._loop, self.counts)
        try:
            self._members.reserve()
            self.run(self._members.start())
        except BaseException:
            self.close()
            raise

    def workers(self) -> list[str]:
        """Return where the workers that are up live, in words."""
        return self._members.where()

    def load_adapter(self, ref: AdapterRef) -> None:
        if self._members.hold(ref):
            self.run(self._members.ask_each("load_adapter", lambda member: self._members.give(member, ref.version)))

    def score(self, prompt_ids: Sequence[int], completion_ids: Sequence[int], ref: AdapterRef) -> list[list[float]]:
        def ask(member: RayMember) -> Coroutine[Any, Any, list[float]]:
            return answer(member.actor.score.remote(list(prompt_ids), list(completion_ids), ref.version))

        scores: list[list[float]] = self.run(self._members.ask_each("score", ask))
        return scores

    def take_computed(self) -> dict[str, int]:
        each: list[dict[str, int]] = self.run(
            self._members.ask_each("take_computed", lambda member: answer(member.actor.take_computed.remote()))
        )
        return dict(sum((Counter(found) for found in each), Counter()))

    def sleep(self) -> None:
        self.run(self._members.ask_each("sleep", lambda member: answer(member.actor.sleep.remote())))

    def wake(self) -> None:
        self.run(self._members.ask_each("wake", lambda member: answer(member.actor.wake.remote())))

    def ceiling(self, streams: Sequence[Stream]) -> list[AnswerRecord]:
        found: list[AnswerRecord] = self.run(
            self._members.ask_one("ceiling", lambda member: member.actor.ceiling.remote(list(streams)))
        )
        return found

    def check_judge(self) -> None:
        self.run(self._members.ask_one("check_judge", lambda member: member.actor.check_judge.remote()))

    async def work(self, errand: Errand[Result], adapter: AdapterRef | None) -> Result:
        """Return what an errand finds on a worker; where that is lost, on another one, up to `rollout.retries` times.

        An errand may take as long as it needs: after each `rollout.episode_timeout` its worker is asked whether it
        lives.
        """
        left = self.rollout.retries
        while True:
            try:
                return await self._work(errand, None if adapter is None else adapter.version)
            except WorkerDied:
                if not left:
                    raise
                left -= 1

    async def _work(self, errand: Errand[Result], version: int | None) -> Result:
        async with self._slot(version) as member:
            answered = asyncio.ensure_future(answer(member.actor.work.remote(errand, version)))
            try:
                while not (await asyncio.wait([answered], timeout=self.rollout.episode_timeout))[0]:
                    alive = answer(member.actor.hello.remote())
                    await self._members.ask(member, "hello", alive, self._hang_grace)
                result: Result = await answered
                self._members.finished()
                return result
            finally:
                answered.cancel()

    async def _attempt(self, play: Play, adapter: AdapterRef) -> Episode:
        async with self._slot(adapter.version) as member:
            call = member.actor.play.remote(play, adapter.version)
            try:
                async with asyncio.timeout(self.rollout.episode_timeout):
                    episode: Episode = await answer(call)
                self._members.finished()
                return episode
            except TimeoutError:
                ray.cancel(call)
                alive = answer(member.actor.hello.remote())
                with suppress(WorkerDied):  # it is lost if it does not answer
                    await self._members.ask(member, "hello", alive, self._hang_grace)
                raise

    @asynccontextmanager
    async def _slot(self, version: int | None) -> AsyncIterator[RayMember]:
        """Hold a place on the worker with the least to do that has an adapter; a worker that dies within is lost."""
        member = await self._members.take_slot(version)
        try:
            yield member
        except WorkerDied as error:
            await self._members.lose(member, str(error))
            raise
        finally:
            await self._members.give_back(member)

    def close(self) -> None:
        self._cancel_all()  # first: what plays must not see its workers go
        self._members.close()
        super().close()
