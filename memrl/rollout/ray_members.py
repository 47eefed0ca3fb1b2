"""The members of a Ray pool: workers as actors, brought up, given adapters, asked, lost and replaced.

A worker that dies, or that does not answer when it is asked whether it still lives, is ended and another is started in
its place. Adapters travel as bytes through Ray's object store: workers need no shared disk.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from memrl.cluster import connect, in_words
from memrl.config import RayConfig, RolloutConfig
from memrl.engines.adapters import versions_held
from memrl.envs.stream import Stream
from memrl.errors import EngineDied, EngineError, MemrlError, WorkerDied
from memrl.records import AdapterRef, AnswerRecord, Episode
from memrl.rollout.ceiling import reader_ceiling
from memrl.rollout.pool import Errand, Play
from memrl.rollout.worker import RolloutWorker
from memrl.storage.files import MANIFEST, find_damage
from memrl.storage.scratch import Scratch

log = logging.getLogger(__name__)
Build = Callable[[], RolloutWorker]
ADAPTERS = "memrl-adapters-"
"""How the folders begin in which workers keep the files of adapters, in the temporary directory of their machines."""
_IDS = re.compile(r"\b\w+ ID: [0-9a-f]{16,} ?", re.IGNORECASE)
_SAID = 240
"""Characters of what Ray says of a death."""
_CRASHES = 3
"""Deaths per worker with no episode finished between them, after which new workers are thought to die as well."""
_ROOM = "Where it lacks room: lower ray.worker_cpus, ray.worker_gpus or rollout.workers, or give the cluster more."


class RolloutActor:
    """A `RolloutWorker` behind Ray: unpacks adapters, and builds the worker when it is first asked for.

    Args:
        build: makes the worker.
        keep: versions of adapters that it holds, in the engine and on the disk.
    """

    def __init__(self, build: Build, keep: int) -> None:
        self._build = build
        self._keep = keep
        self._worker: RolloutWorker | None = None
        self._adapters: dict[int, AdapterRef] = {}
        self._folder = Scratch(ADAPTERS)  # a pool ends its workers by force

    @property
    def worker(self) -> RolloutWorker:
        if self._worker is None:
            self._worker = self._build()
        return self._worker

    async def hello(self) -> dict[str, Any]:
        """Return where this worker lives. The first call builds it, so that a model that cannot be loaded says so
        here."""
        assert self.worker is not None
        return {"pid": os.getpid(), "node": ray.get_runtime_context().get_node_id()}

    async def load_adapter(self, ref: AdapterRef, files: dict[str, bytes]) -> None:
        """Write the adapter's files to this machine's disk and load them."""
        folder = self._folder.path / ref.name
        for name, data in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        local = replace(ref, path=str(folder))
        await self.worker.engine.load_adapter(local)
        self._adapters[ref.version] = local
        for version in sorted(self._adapters)[: -self._keep]:  # as the engine: the oldest makes room
            shutil.rmtree(self._adapters.pop(version).path, ignore_errors=True)

    async def play(self, play: Play, version: int) -> Episode:
        """One attempt, with an adapter that was loaded before."""
        return await play.on(self.worker, self._local(version))

    async def work(self, errand: Errand[Any], version: int | None) -> Any:
        """One errand, with an adapter that was loaded before."""
        return await errand(self.worker, None if version is None else self._local(version))

    async def score(self, prompt_ids: Sequence[int], completion_ids: Sequence[int], version: int) -> list[float]:
        """The canary's question."""
        return await self.worker.engine.score(prompt_ids, completion_ids, self._local(version))

    async def take_computed(self) -> dict[str, int]:
        """Return what this worker's engine has computed since it was last asked."""
        return self.worker.take_computed()

    async def sleep(self) -> None:
        await self.worker.engine.sleep()

    async def wake(self) -> None:
        await self.worker.engine.wake()

    async def ceiling(self, streams: Sequence[Stream]) -> list[AnswerRecord]:
        """The reader's ceiling."""
        return await reader_ceiling(self.worker, streams)

    async def check_judge(self) -> None:
        """The judge's canaries."""
        await self.worker.check_judge()

    def _local(self, version: int) -> AdapterRef:
        if version not in self._adapters:
            raise EngineError(f"adapter version {version} was never loaded on this worker (pid {os.getpid()})")
        return self._adapters[version]


@dataclass
class RayMember:
    """A worker as the driver sees it."""

    number: int
    actor: Any
    ready: bool = False
    in_flight: int = 0
    versions: set[int] = field(default_factory=set)
    where: str = "not up yet"
    coming_up: asyncio.Task[None] | None = None


class RayMembers:
    """`rollout.workers` workers on the cluster that `ray.address` names, or on one that is started here.

    Args:
        build: makes a worker inside its actor; must be importable there.
        loop: the pool's event loop, which all of this happens on.
        counts: where each lost worker is counted, as `workers`.

    Raises:
        EngineError: no cluster can be reached.
    """

    def __init__(
        self,
        build: Build,
        rollout: RolloutConfig,
        cluster: RayConfig,
        loop: asyncio.AbstractEventLoop,
        counts: Counter[str],
    ) -> None:
        self._build = build
        self._rollout = rollout
        self._cluster = cluster
        self._loop = loop
        self._counts = counts
        self._members: list[RayMember] = []
        self._numbers = 0
        self._adapters: dict[int, tuple[AdapterRef, Any]] = {}  # version -> where it is in the object store
        self._crashes = 0
        self._broken: Exception | None = None
        self._changed = asyncio.Condition()
        self._group: Any = None
        self._keep = versions_held(rollout)
        self._owns_ray = connect(cluster.address)

    def where(self) -> list[str]:
        """Return where the workers that are up live, in words."""
        return [member.where for member in self._members if member.ready]

    def close(self) -> None:
        """End every worker, and Ray where it was started for them."""
        if ray.is_initialized():
            for member in self._members:
                ray.kill(member.actor)
            if self._group is not None:
                remove_placement_group(self._group)
            if self._owns_ray:
                ray.shutdown()
        self._members = []

    # Bringing them up -------------------------------------------------------------------------------------------

    def reserve(self) -> None:
        """Ask the cluster for the places that `ray.placement` wants."""
        cluster = self._cluster
        if cluster.placement != "any":
            bundle = {"CPU": cluster.worker_cpus, "GPU": cluster.worker_gpus}
            bundles = [{name: amount for name, amount in bundle.items() if amount}] * self._rollout.workers
            self._group = placement_group(bundles, strategy=cluster.placement.upper())

    async def start(self) -> None:
        """Wait for the first worker, and for the others as long again: whoever takes longer joins during the run."""
        self.fill()
        seconds, began = self._cluster.start_timeout, time.monotonic()
        try:
            async with asyncio.timeout(seconds):
                await self._ready()
        except TimeoutError:
            raise EngineError(f"{self._state(f'within ray.start_timeout ({seconds:g} s)')}. {_ROOM}") from None
        try:
            async with asyncio.timeout(max(5.0, time.monotonic() - began)):
                await self._wait_for(lambda: all(member.ready for member in self._members))
        except TimeoutError:
            log.warning("%s; the others join when they are up. %s", self._state("so far"), _ROOM)

    def _state(self, when: str) -> str:
        up = sum(member.ready for member in self._members)
        return (
            f"{up} of {self._rollout.workers} rollout workers came up {when}; each wants {self._wishes()}, "
            f"the cluster has {in_words(ray.cluster_resources())}"
        )

    def _wishes(self) -> str:
        return in_words({"CPU": self._cluster.worker_cpus, "GPU": self._cluster.worker_gpus})

    def fill(self) -> None:
        """Bring the number of workers, those that are on their way included, back to what is wanted."""
        while len(self._members) < self._rollout.workers:
            self._members.append(RayMember(self._numbers, self._new_actor()))
            self._numbers += 1
        for member in self._members:
            if not member.ready and (member.coming_up is None or member.coming_up.done()):
                member.coming_up = self._loop.create_task(self._bring_up(member))

    def _new_actor(self) -> Any:
        cluster = self._cluster
        strategy = "SPREAD" if self._group is None else PlacementGroupSchedulingStrategy(self._group)
        options: dict[str, Any] = {
            "num_cpus": cluster.worker_cpus,
            "num_gpus": cluster.worker_gpus,
            "max_restarts": 0,  # the pool replaces its workers itself: a new one has no adapters
            "max_concurrency": self._rollout.max_batch + 8,
            "scheduling_strategy": strategy,
        }
        return ray.remote(RolloutActor).options(**options).remote(self._build, self._keep)

    async def _bring_up(self, member: RayMember) -> None:
        """Wait for a place on the cluster, build the worker, give it the adapters, let it work."""
        try:
            found = await answer(member.actor.hello.remote())
            member.where = f"pid {found['pid']} on node {found['node'][:8]}"
            while missing := self._adapters.keys() - member.versions:
                await self.give(member, min(missing))
            member.ready = True
        except EngineError as error:
            await self.lose(member, str(error))
        except Exception as error:  # a model that cannot be loaded here, or a bug: it would be the same on every worker
            self._broken = error
        await self._notify()

    async def give(self, member: RayMember, version: int) -> None:
        """Load an adapter that is held here on a worker."""
        ref, files = self._adapters[version]
        await answer(member.actor.load_adapter.remote(ref, files))
        member.versions.add(version)

    # Losing them ------------------------------------------------------------------------------------------------

    async def lose(self, member: RayMember, why: str) -> None:
        """End a worker for good and start another in its place."""
        if member not in self._members:
            return
        self._members.remove(member)
        member.ready = False
        self._counts["workers"] += 1
        self._crashes += 1
        again = f"; its {member.in_flight} episodes are played again elsewhere" if member.in_flight else ""
        log.warning("rollout worker %d (%s) is lost: %s%s", member.number, member.where, why, again)
        with suppress(RayError, RuntimeError):  # Ray itself may be gone
            ray.kill(member.actor)
        if self._crashes > _CRASHES * self._rollout.workers:
            self._broken = EngineError(
                f"{self._crashes} rollout workers died without finishing an episode between them; the last one: {why}. "
                "See the worker logs under /tmp/ray/session_latest/logs; memory is the usual reason (fewer workers, or "
                "a lower rollout.max_batch)."
            )
        else:
            self.fill()
        await self._notify()

    async def _notify(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # Waiting for them -------------------------------------------------------------------------------------------

    async def _wait_for(self, condition: Callable[[], bool]) -> None:
        """Return when `condition` holds; raise what makes further waiting pointless."""
        async with self._changed:
            while True:
                if self._broken is not None:
                    raise self._broken
                if condition():
                    return
                await self._changed.wait()

    async def _ready(self) -> list[RayMember]:
        """Return those that are up, at least one."""
        await self._wait_for(lambda: any(member.ready for member in self._members))
        return [member for member in self._members if member.ready]

    async def take_slot(self, version: int | None) -> RayMember:
        """Take a place on the worker with the fewest episodes: whoever is done first gets the next one. `version` is of
        the adapter that it must hold; None: of none."""
        limit = self._rollout.max_batch

        def free() -> list[RayMember]:
            ready = [member for member in self._members if member.ready and member.in_flight < limit]
            return [member for member in ready if version is None or version in member.versions]

        await self._wait_for(lambda: bool(free()))
        member = min(free(), key=lambda member: (member.in_flight, member.number))
        member.in_flight += 1
        return member

    async def give_back(self, member: RayMember) -> None:
        """Free a place that was taken."""
        member.in_flight -= 1
        await self._notify()

    def finished(self) -> None:
        """Note that an episode was played to its end: workers do work here."""
        self._crashes = 0

    # Asking them ------------------------------------------------------------------------------------------------

    def hold(self, ref: AdapterRef) -> bool:
        """Keep an adapter's files ready for every worker, and return whether they are new here.

        Raises:
            EngineError: the adapter is damaged.
        """
        if ref.version in self._adapters and self._adapters[ref.version][0] == ref:
            return False
        folder = Path(ref.path)
        damage = find_damage(folder)
        if damage is not None:
            raise EngineError(f"adapter {ref.name!r} at {ref.path} is damaged: {damage}")
        names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
        assert MANIFEST in names  # the worker checks what it wrote against it
        self._adapters[ref.version] = (ref, ray.put({name: (folder / name).read_bytes() for name in names}))
        while len(self._adapters) > self._keep:
            del self._adapters[min(self._adapters)]
        return True

    async def ask(self, member: RayMember, what: str, work: Coroutine[Any, Any, Any], seconds: float | None) -> Any:
        """Return what `work` on a worker returns; one that has died, or does not answer in time, is lost.

        Raises:
            WorkerDied: it is lost.
        """
        try:
            async with asyncio.timeout(seconds):
                return await work
        except TimeoutError:
            why = f"no answer to {what} within {seconds:g} s"
        except WorkerDied as error:
            why = str(error)
        await self.lose(member, why)
        raise WorkerDied(why)

    async def ask_each(self, what: str, work: Callable[[RayMember], Coroutine[Any, Any, Any]]) -> list[Any]:
        """Return what `work` returns on every worker that is up, at least one; one that does not answer is lost.

        Raises:
            EngineError: a worker refuses (a damaged adapter); that is no reason to try another.
        """
        self.fill()
        while True:
            asked = [self.ask(m, what, work(m), self._cluster.hang_grace) for m in await self._ready()]
            results = await asyncio.gather(*asked, return_exceptions=True)
            for result in results:
                if isinstance(result, BaseException) and not isinstance(result, WorkerDied):
                    raise result
            answers = [result for result in results if not isinstance(result, BaseException)]
            if answers:
                return answers

    async def ask_one(self, what: str, begin: Callable[[RayMember], Any]) -> Any:
        """Return what any one worker answers."""
        while True:
            member, *_ = await self._ready()
            with suppress(WorkerDied):  # then another is asked
                return await self.ask(member, what, answer(begin(member)), None)


async def answer(call: Any) -> Any:
    """Return what a remote call returns; raise what it raised there, as it was raised there.

    Raises:
        WorkerDied: nobody is left to answer.
    """
    try:
        return await call
    except RayTaskError as error:
        cause = error.cause
        if isinstance(cause, EngineDied):  # a worker without an engine is none
            raise WorkerDied(str(cause)) from None
        if isinstance(cause, MemrlError):
            raise cause from None
        raise
    except RayActorError as error:
        raise WorkerDied(f"the worker died: {_why(error)}") from None
    except RayError as error:
        raise WorkerDied(f"Ray lost the worker: {_why(error)}") from None


def _why(error: RayError) -> str:
    """Return what Ray says of a death, without the ids and addresses before it, in a line."""
    said = " ".join(str(error).split())
    cause = _IDS.sub("", said.partition(" because ")[2] or said)
    return cause if len(cause) <= _SAID else cause[:_SAID].rpartition(" ")[0] + " ..."
