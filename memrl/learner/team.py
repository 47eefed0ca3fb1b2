"""The processes of a distributed learner: started, asked and ended from the driver.

Ray Train's TorchTrainer places them, gives them devices, makes their process group, and ends all of them when one is
lost; its `fit` runs in a thread here for as long as they live. A member that is lost is not replaced: its peers have
stopped within a step, and the way back to a state that all of them share is the last checkpoint.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError
from ray.train import ControllerError, FailureConfig, RunConfig, ScalingConfig, WorkerGroupError
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from memrl.cluster import connect, in_words
from memrl.config import RayConfig, TrainConfig
from memrl.errors import LearnerError
from memrl.learner.mailbox import Mailbox, Notice, Order
from memrl.learner.members import PeerFailed
from memrl.learner.process import Build, Hello, run_member

_WAIT = 0.5  # seconds between two looks at whether all members are alive
_GRACE = 15.0  # seconds in which members that were told to stop must have done so
_START_TIMEOUT = "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"


class Team:
    """The members, by rank.

    Args:
        build: makes each member's learner.

    Raises:
        EngineError: there is no Ray cluster to join.
        LearnerError: there is no room for the members.
        ConfigError: a member cannot load its model.
    """

    def __init__(self, build: Build, train: TrainConfig, cluster: RayConfig) -> None:
        self._given = {"build": build, "parallel": train.parallel}
        self._cluster = cluster
        self._size = train.processes
        self.members: list[Hello] = []
        self._seen = 0
        self._broken: str | None = None
        self._outcome: BaseException | None = None
        self._thread = threading.Thread(target=self._fit, name="memrl-learner", daemon=True)
        self._owns_ray = connect(cluster.address)
        try:
            here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
            self._mailbox = ray.remote(Mailbox).options(num_cpus=0, scheduling_strategy=here).remote(self._size)
            # Ray Train has no other way to say so, and its minute is short where a cluster must grow first.
            os.environ[_START_TIMEOUT] = str(cluster.start_timeout)
            self._thread.start()
            self.members = self._wait({}, None)
        except BaseException:
            self.close()
            raise

    def _fit(self) -> None:
        cluster = self._cluster
        share = {"CPU": cluster.learner_cpus, "GPU": cluster.learner_gpus}
        # A member that is started anew knows nothing of what the others have learned.
        never = FailureConfig(max_failures=0, controller_failure_limit=0, max_preemption_failures=0)
        try:
            TorchTrainer(
                run_member,
                train_loop_config={**self._given, "mailbox": self._mailbox},
                torch_config=TorchConfig(backend="nccl" if cluster.learner_gpus else "gloo"),
                scaling_config=ScalingConfig(
                    num_workers=self._size,
                    use_gpu=cluster.learner_gpus > 0,
                    resources_per_worker={name: amount for name, amount in share.items() if amount},
                ),
                # Nothing is stored but a marker; beside Ray's own files it is no clutter, on whichever node.
                run_config=RunConfig(name="memrl-learner", storage_path=_session_folder(), failure_config=never),
            ).fit()
        except BaseException as error:
            self._outcome = error

    # Asking -----------------------------------------------------------------------------------------------------

    def ask(self, orders: Sequence[Order], advance: Callable[[], None] | None = None) -> list[Any]:
        """Give each member its order and return their answers; `advance` is called for every micro-batch that one has
        done.

        When `advance` raises, or Ctrl-C comes, the members stop first, and undo a step that they had done.

        Raises:
            LearnerError: a member has died or failed.
            MemrlError, OSError: what a member raised.
        """
        if self._broken is not None:
            raise LearnerError(self._broken)
        self._seen = 0
        ray.get(self._mailbox.send.remote(list(orders)))
        answers: dict[int, Notice] = {}
        try:
            return self._wait(answers, advance)
        except BaseException:
            if len(answers) < self._size and self._broken is None:
                self._give_up(answers, orders[0])
            raise

    def condemn(self, why: str) -> None:
        """Never ask the members again: they do not agree."""
        self._broken = why

    def _wait(
        self, answers: dict[int, Notice], advance: Callable[[], None] | None, seconds: float | None = None
    ) -> list[Any]:
        """Fill `answers` with one report of each member; returns what they hold, or raises what the first one raised.

        Raises:
            TimeoutError: `seconds` have passed.
        """
        began = time.monotonic()
        while len(answers) < self._size:
            try:
                reports: list[Notice] = ray.get(self._mailbox.reports.remote(self._seen, _WAIT))
            except RayError as error:
                raise self._lost(str(error)) from None
            for report in reports:
                self._seen += 1
                if report.kind != "progress":
                    answers[report.rank] = report
                elif advance is not None:
                    advance()
            if not reports and not self._thread.is_alive():
                raise self._lost()
            if seconds is not None and time.monotonic() - began > seconds:
                raise TimeoutError
        failures = [answers[rank].content for rank in sorted(answers) if answers[rank].kind == "failed"]
        if failures:  # PeerFailed says only that another one did
            raise min(failures, key=lambda failure: isinstance(failure, PeerFailed))
        return [answers[rank].content for rank in range(self._size)]

    def _give_up(self, answers: dict[int, Notice], order: Order) -> None:
        """Stop what the members are doing, and leave them as they were before it."""
        broken, self._broken = "the learner's processes were interrupted and have not stopped", None
        try:
            ray.get(self._mailbox.give_up.remote())
            self._wait(answers, None, self._cluster.hang_grace)
            if order.name == "step":
                self.ask([Order("undo")] * self._size)
        except InterruptedError:
            pass  # each has undone it
        except (LearnerError, TimeoutError):
            self._broken = self._broken or broken
        except BaseException:  # Ctrl-C once more
            self._broken = broken
            raise

    def _lost(self, why: str = "") -> LearnerError:
        """Return what became of the members, in words; they cannot be asked any more."""
        outcome = self._outcome
        if isinstance(outcome, WorkerGroupError) and outcome.worker_failures:
            deaths = {rank: died for rank, failure in outcome.worker_failures.items() if (died := _death(failure))}
            rank, failure = min((deaths or outcome.worker_failures).items())
            verb = "died" if deaths else "failed"
            why = f"learner process {rank} ({self._where(rank)}) {verb}: {_brief(failure)}"
        elif isinstance(outcome, ControllerError) and not self.members:
            each = {"CPU": self._cluster.learner_cpus, "GPU": self._cluster.learner_gpus}
            why = (
                f"the {self._size} learner processes did not come up within ray.start_timeout "
                f"({self._cluster.start_timeout:g} s); each wants {in_words(each)}, the cluster has "
                f"{in_words(ray.cluster_resources())}. Where it lacks room: lower ray.learner_cpus, ray.learner_gpus "
                f"or train.processes, or give the cluster more. ({_brief(outcome)})"
            )
            self._broken = why
            return LearnerError(why)
        else:
            why = f"the learner's processes are gone: {why or _brief(outcome)}"
        self._broken = f"{why}. Nothing of a step they were in was kept: go on after the last checkpoint with --resume"
        return LearnerError(self._broken)

    def _where(self, rank: int) -> str:
        if rank >= len(self.members):
            return "not up yet"
        return f"pid {self.members[rank].pid} on node {self.members[rank].node[:8]}"

    def where(self) -> list[str]:
        """Return where the members live, in words."""
        return [self._where(rank) for rank in range(len(self.members))]

    # The end ----------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """End the members, by force where they do not end themselves, and Ray if it was started for them."""
        if ray.is_initialized():
            if self._thread.is_alive():
                self._mailbox.send.remote([Order("stop")] * self._size)
                self._thread.join(_GRACE if self.members else 0.0)
            if self._thread.is_alive():
                for member in self.members:
                    ray.kill(member.actor)
                self._thread.join(_GRACE if self.members else 0.0)
            if self._owns_ray:
                ray.shutdown()
        self._broken = self._broken or "the learner is closed"


def _session_folder() -> str:
    context = ray.get_runtime_context()
    return f"{context.get_temp_dir()}/{context.get_session_name()}/artifacts"


def _death(failure: BaseException) -> BaseException | None:
    """The death of a process behind what Ray Train reports of it, if it was that."""
    cause = getattr(failure, "health_check_failure", failure)
    return cause if isinstance(cause, RayActorError) else None


def _brief(error: BaseException | None) -> str:
    return " ".join(str(error).split())[:600]
