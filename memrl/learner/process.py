"""The program of each process of a distributed learner: build a learner, then take orders until told to stop."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import ray
import torch
from ray.train import get_context
from ray.train.torch import get_device

from memrl.errors import LearnerError, MemrlError
from memrl.learner.learner import Learner
from memrl.learner.mailbox import Notice, Order
from memrl.learner.members import Members, OutOfStep, ShardMembers
from memrl.learner.peers import Peers
from memrl.learner.sharing import ShareResult
from memrl.records import Sample

Build = Callable[[Peers], Learner]
"""Makes a member's learner in the member's own process, so it must be importable there."""


@dataclass(frozen=True)
class Standing:
    """The state of a member's learner after an order that may have moved it."""

    version: int
    learning_rate: float
    checksum: int
    """Of the adapter's bits."""


@dataclass(frozen=True)
class Hello:
    """The place where a member lives."""

    pid: int
    node: str
    actor: Any


def run_member(given: dict[str, Any]) -> None:
    """The training function of Ray Train."""
    _Member(given["build"], given["parallel"], given["mailbox"]).run()


class _Member:
    def __init__(self, build: Build, parallel: str, mailbox: Any) -> None:
        self._build = build
        self._parallel = parallel
        self._mailbox = mailbox
        self._rank = get_context().get_world_rank()
        self._before = b""
        self._asked: Any = None

    def run(self) -> None:
        self._answer(self._hello, None)
        while (order := self._next()).name != "stop":
            self._answer(getattr(self, f"_{order.name}"), order.argument)

    def _next(self) -> Order:
        order: Order = ray.get(self._mailbox.next.remote(self._rank))
        self._asked = None
        return order

    def _answer(self, work: Callable[[Any], Any], argument: Any) -> None:
        """Report what `work` returns or raises."""
        try:
            report = Notice(self._rank, "done", work(argument))
        except OutOfStep:
            raise  # Ray Train ends the others as well, and tells the driver why
        except (MemrlError, OSError) as error:
            report = Notice(self._rank, "failed", error)
        except Exception as error:  # it may be of a class that the driver does not know
            what = f"learner process {self._rank} (pid {os.getpid()}): {type(error).__name__}: {error}"
            report = Notice(self._rank, "failed", LearnerError(f"{what}; nothing was updated"))
        ray.get(self._mailbox.report.remote(report))

    def _progress(self, done: int, total: int) -> None:
        """Say so, and look whether the driver wanted to give up the last time: an answer is not worth waiting for."""
        asked, self._asked = self._asked, self._mailbox.report.remote(Notice(self._rank, "progress"))
        if asked is not None and ray.get(asked):
            raise InterruptedError("the run was stopped")

    # Orders -----------------------------------------------------------------------------------------------------

    def _hello(self, _: Any) -> Hello:
        context = ray.get_runtime_context()
        return Hello(os.getpid(), context.get_node_id(), context.current_actor)

    def _start(self, _: Any) -> Standing:
        device = get_device()
        if device.type == "cuda":
            torch.cuda.set_device(device)
        self._learner = self._build(ShardMembers(device) if self._parallel == "fsdp" else Members(device))
        return self._standing()

    def _step(self, share: Any) -> tuple[ShareResult, Standing]:
        self._before = self._learner.state()
        result = self._learner.work(share, self._progress, self._before)
        return replace(result, stats=result.stats.on("cpu")), self._standing()

    def _undo(self, _: Any) -> Standing:
        """Go back to before the last step."""
        self._learner.restore(self._before, "the state before the step")
        return self._standing()

    def _restore(self, given: tuple[list[Any], str]) -> Standing:
        [data], source = given  # in a list: the object store's reference itself, of which one copy serves all
        self._learner.restore(ray.get(data), source)
        return self._standing()

    def _logprobs(self, asked: tuple[list[Sample], float | None]) -> list[list[float]]:
        return self._learner.logprobs(*asked)

    def _state(self, _: Any) -> Any:
        return ray.put(self._learner.state()) if self._rank == 0 else None

    def _adapter(self, _: Any) -> Any:
        """The adapter's files, by name: the driver may be on another machine."""
        if self._rank > 0:
            return None
        with TemporaryDirectory(prefix="memrl-adapter-") as folder:
            self._learner.write_adapter(Path(folder))
            return ray.put({path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())})

    def _standing(self) -> Standing:
        bits = [p.detach().contiguous().view(torch.int32).sum(dtype=torch.int64) for p in self._learner.trainable]
        checksum = int(torch.stack(bits).sum())
        return Standing(self._learner.version, self._learner.learning_rate, checksum)
