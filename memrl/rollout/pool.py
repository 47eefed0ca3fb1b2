"""The pool: plays the groups of a step on workers, and keeps infrastructure failures out of the rewards.

`Pool` is what all pools share: what is played, with which seeds, and what a failure leads to. `InProcessPool` has one
worker, all episodes as coroutines of one event loop; `memrl.rollout.ray_pool.RayPool` has as many as a cluster holds.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from memrl.config import MemoryConfig, RolloutConfig
from memrl.engines.engine import Place
from memrl.envs.stream import Stream
from memrl.errors import EngineError, InfrastructureError, JudgeError, WorkerDied
from memrl.records import AdapterRef, AnswerRecord, Episode, Group
from memrl.rollout.ceiling import reader_ceiling
from memrl.rollout.worker import RolloutWorker, episode_seed

log = logging.getLogger(__name__)
OnEpisode = Callable[[], None]
Progress = Callable[[int, int], None]
Result = TypeVar("Result")
Found = TypeVar("Found", covariant=True)


class Errand(Protocol[Found]):
    """A piece of work for one worker. A Ray pool sends it to another process, so it can be pickled."""

    async def __call__(self, worker: RolloutWorker, adapter: AdapterRef | None) -> Found:
        """Do it, with the adapter as this worker holds it."""
        ...


@dataclass(frozen=True)
class Play:
    """One episode to be played. Whoever plays it, and however often it is tried, the seed is the same."""

    stream: Stream
    place: Place
    """Its step, stream and episode."""
    seed: int
    temperature: float | None
    """None: `rollout.temperature`."""
    memory: MemoryConfig | None = None
    """Settings of the stage that it is played in; None: the worker's own."""

    async def on(self, worker: RolloutWorker, adapter: AdapterRef) -> Episode:
        """One attempt, on a worker that holds `adapter`."""
        return await worker.play(
            self.stream,
            seed=self.seed,
            adapter=adapter,
            place=self.place,
            temperature=self.temperature,
            memory=self.memory,
        )


class Pool(ABC):
    """Plays groups of episodes.

    An infrastructure failure never becomes a reward. What it leads to is `rollout.on_failure`: `retry` plays the
    episode again, up to `rollout.retries` times, and then removes it from its group; `min_viable` removes it at once,
    and the group goes on with those that are left; `fail_fast` stops the run.

    Args:
        group_size: `train.group_size`.
        seed: the run's.
    """

    def __init__(self, rollout: RolloutConfig, *, group_size: int, seed: int) -> None:
        self.rollout = rollout
        self.group_size = group_size
        self.seed = seed
        self.counts: Counter[str] = Counter()
        """`retries` (episodes played again), `workers` (workers lost) and `judge` (attempts it spoiled) since
        they were last taken out."""
        self._loop = asyncio.new_event_loop()

    # What a pool must do ----------------------------------------------------------------------------------------

    @abstractmethod
    def load_adapter(self, ref: AdapterRef) -> None:
        """Make `ref` the version that the next episodes are played with."""

    @abstractmethod
    def score(self, prompt_ids: Sequence[int], completion_ids: Sequence[int], ref: AdapterRef) -> list[list[float]]:
        """Each worker's log-probs of a completion under the unscaled distribution, for the canary."""

    @abstractmethod
    def take_computed(self) -> dict[str, int]:
        """Return what all engines have computed since this was last asked, those that count it: `prompt` tokens of
        requests, those of them that were `read` (the rest stood in rows already), `positions` that went through the
        model with decoding and padding, forward `passes`. Nothing where an engine does not count."""

    @abstractmethod
    def sleep(self) -> None:
        """Have every engine give up the memory of a GPU that it shares with the learner, until `wake`."""

    @abstractmethod
    def wake(self) -> None:
        """Have every engine ready again."""

    @abstractmethod
    def ceiling(self, streams: Sequence[Stream]) -> list[AnswerRecord]:
        """`memrl.rollout.ceiling.reader_ceiling` on a worker."""

    @abstractmethod
    def check_judge(self) -> None:
        """Grade the judge's canaries on a worker.

        Raises:
            JudgeError: it failed one.
        """

    @abstractmethod
    async def work(self, errand: Errand[Result], adapter: AdapterRef | None) -> Result:
        """Return what an errand finds on a worker that holds `adapter`.

        Raises:
            InfrastructureError: it failed there.
        """

    @abstractmethod
    async def _attempt(self, play: Play, adapter: AdapterRef) -> Episode:
        """Play once.

        Raises:
            InfrastructureError, TimeoutError: the episode is to be removed or played again.
        """

    def close(self) -> None:
        self._cancel_all()
        self._loop.close()

    # What is played ---------------------------------------------------------------------------------------------

    async def play_groups(
        self,
        streams: Sequence[Stream],
        adapter: AdapterRef,
        *,
        step: int,
        first: int,
        on_episode: OnEpisode | None = None,
        memory: MemoryConfig | None = None,
    ) -> list[Group]:
        """`train.group_size` sampled episodes of each stream.

        Args:
            step: the trainer's step, part of every request's seed.
            first: number of the first stream within the step (refills go on counting).
            memory: settings of the memory in place of the workers' own.

        Raises:
            EngineError: more than `rollout.max_failure_rate` of the episodes failed; or one, if that is one too many.
        """
        size = self.group_size
        plays = [
            self._new(stream, Place(step, first + number, index), None, memory)
            for number, stream in enumerate(streams)
            for index in range(size)
        ]
        outcomes = await self._play_all(plays, adapter, on_episode)
        groups = []
        for number, stream in enumerate(streams):
            mine = outcomes[number * size : (number + 1) * size]
            episodes = [outcome for outcome in mine if isinstance(outcome, Episode)]
            groups.append(Group(stream.id, episodes, [outcome for outcome in mine if isinstance(outcome, str)]))
        return groups

    def play_greedy(
        self, streams: Sequence[Stream], adapter: AdapterRef, on_episode: OnEpisode | None = None
    ) -> list[Episode | str]:
        """One greedy episode of each stream, or what prevented it (evaluation)."""
        plays = [self._new(stream, Place(Place.EVALUATION, number), 0.0) for number, stream in enumerate(streams)]
        outcomes: list[Episode | str] = self.run(self._play_all(plays, adapter, on_episode))
        return outcomes

    def _new(self, stream: Stream, place: Place, temperature: float | None, memory: MemoryConfig | None = None) -> Play:
        return Play(stream, place, episode_seed(self.seed, place), temperature, memory)

    async def _play_all(
        self, plays: Sequence[Play], adapter: AdapterRef, on_episode: OnEpisode | None
    ) -> list[Episode | str]:
        """Each play's episode, or in words what removed it, in order."""
        outcomes = await asyncio.gather(*(self._play(play, adapter, on_episode) for play in plays))
        failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
        if len(failures) > self.rollout.max_failure_rate * len(outcomes):
            raise EngineError(
                f"{len(failures)} of {len(outcomes)} episodes failed, rollout.max_failure_rate allows "
                f"{self.rollout.max_failure_rate:.0%}. The first one: {failures[0]}"
            )
        return outcomes

    async def _play(self, play: Play, adapter: AdapterRef, on_episode: OnEpisode | None) -> Episode | str:
        rollout = self.rollout
        tries = 1 + (rollout.retries if rollout.on_failure == "retry" else 0)
        outcome: Episode | str = ""
        level = logging.WARNING
        for left in reversed(range(tries)):
            try:
                outcome = await self._attempt(play, adapter)
                break
            except InfrastructureError as error:
                outcome = f"{type(error).__name__}: {error}"
                self.counts["judge"] += isinstance(error, JudgeError)
                level = (
                    logging.DEBUG if left and isinstance(error, WorkerDied) else logging.WARNING
                )  # told once for all
            except TimeoutError:
                level = logging.WARNING
                outcome = f"timeout: longer than rollout.episode_timeout ({rollout.episode_timeout:g} s)"
            where = f"stream {play.stream.id}, episode {play.place.episode}"
            if rollout.on_failure == "fail_fast":
                raise EngineError(f"{where} failed, and rollout.on_failure is fail_fast: {outcome}")
            log.log(level, "%s %s: %s", where, "is played again" if left else "removed", outcome)
            self.counts["retries"] += bool(left)
        if on_episode:
            on_episode()
        return outcome

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine to its end on the pool's event loop; if it fails, nothing of it lives on."""
        task = self._loop.create_task(work)
        try:
            return self._loop.run_until_complete(task)
        except BaseException:
            # Ctrl-C and errors alike: no coroutine of this step may live on into the next.
            self._cancel_all()
            raise

    def start(self, work: Coroutine[Any, Any, Result]) -> asyncio.Task[Result]:
        """Begin a coroutine that goes on whenever the pool's event loop runs: in `run`, `wait` and `beside`."""
        task = self._loop.create_task(work)
        # Ctrl-C may land in it; the loop raises it as well, and nobody may come to ask the task for it.
        task.add_done_callback(lambda task: task.cancelled() or task.exception())
        return task

    def wait(self, task: asyncio.Task[Result]) -> Result:
        """Return what `task` returns or raises."""

        async def done() -> Result:
            return await task

        result: Result = self.run(done())
        return result

    def beside(self, work: Callable[[Progress], Result], progress: Progress) -> Result:
        """Run blocking `work` in a thread while the event loop goes on playing what was started.

        `work` gets a progress function to call between its pieces. When the run is stopped (Ctrl-C), that function
        raises there, and `beside` returns only when `work` has ended.
        """
        stopped = threading.Event()

        def advance(done: int, total: int) -> None:
            if stopped.is_set():
                raise InterruptedError("the run was stopped")
            progress(done, total)

        async def watched() -> Result:
            thread = self._loop.run_in_executor(None, work, advance)
            try:
                return await asyncio.shield(thread)
            except asyncio.CancelledError:
                stopped.set()
                await asyncio.wait([thread])
                thread.exception()  # asked for, so that asyncio does not complain that nobody did
                raise

        result: Result = self.run(watched())
        return result

    def _cancel_all(self) -> None:
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        if tasks:  # wait, not gather: without tasks gather makes a loop of its own
            self._loop.run_until_complete(asyncio.wait(tasks))


class InProcessPool(Pool):
    """One worker in this process.

    Args:
        worker: what plays.
        group_size: `train.group_size`.
        seed: the run's.
    """

    def __init__(self, worker: RolloutWorker, *, group_size: int, seed: int) -> None:
        super().__init__(worker.rollout, group_size=group_size, seed=seed)
        self.worker = worker

    def load_adapter(self, ref: AdapterRef) -> None:
        self.run(self.worker.engine.load_adapter(ref))

    def score(self, prompt_ids: Sequence[int], completion_ids: Sequence[int], ref: AdapterRef) -> list[list[float]]:
        return [self.run(self.worker.engine.score(prompt_ids, completion_ids, ref))]

    def take_computed(self) -> dict[str, int]:
        return self.worker.take_computed()

    def sleep(self) -> None:
        self.run(self.worker.engine.sleep())

    def wake(self) -> None:
        self.run(self.worker.engine.wake())

    def ceiling(self, streams: Sequence[Stream]) -> list[AnswerRecord]:
        answers: list[AnswerRecord] = self.run(reader_ceiling(self.worker, streams))
        return answers

    def check_judge(self) -> None:
        self.run(self.worker.check_judge())

    async def work(self, errand: Errand[Result], adapter: AdapterRef | None) -> Result:
        return await errand(self.worker, adapter)

    def close(self) -> None:
        self._cancel_all()  # first: what plays must not see its reader go
        if not self._loop.is_closed():
            self.run(self.worker.close())
        super().close()

    async def _attempt(self, play: Play, adapter: AdapterRef) -> Episode:
        async with asyncio.timeout(self.rollout.episode_timeout):
            return await play.on(self.worker, adapter)
