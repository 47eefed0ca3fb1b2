"""A learner in several processes, as its driver sees it: the same interface, and the same numbers but for rounding.

    driver:   samples -> share_out -> an order for each member -> results -> figures
    member:   Learner.work(its share), with peers that sum gradients

Members start from the same seed and take the same summed gradient, so their adapters stay the same to the bit. That is
looked at after every step: a member that computes something else must not go unnoticed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import ray

from memrl.config import RayConfig, TrainConfig
from memrl.errors import LearnerError
from memrl.learner.interface import AnyLearner, Progress
from memrl.learner.mailbox import Order, OrderName
from memrl.learner.process import Build, Standing
from memrl.learner.sharing import step_metrics
from memrl.learner.team import Team
from memrl.records import Sample


class DistributedLearner(AnyLearner):
    """`train.processes` learners behind one.

    Args:
        build: makes each member's learner.
        max_completion_tokens: `rollout.max_completion_tokens`.
        seed: the run's.

    Raises:
        EngineError: there is no Ray cluster to join.
        LearnerError: there is no room for the processes.
        ConfigError: the model cannot be used.
    """

    def __init__(
        self, build: Build, *, train: TrainConfig, cluster: RayConfig, max_completion_tokens: int, seed: int
    ) -> None:
        super().__init__(train, max_completion_tokens=max_completion_tokens, seed=seed)
        self.team = Team(build, train, cluster)
        self._size = train.processes
        try:
            self._stand(self._order("start"))
        except BaseException:
            self.team.close()
            raise

    def step(self, samples: Sequence[Sample], progress: Progress | None = None) -> dict[str, float]:
        if not samples:
            return step_metrics([], [], self._learning_rate, self.version)
        shares = self.share_out(samples, self._size)
        total, done = sum(part.batches for share in shares for part in share), 0

        def advance() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, total)

        answers = self.team.ask([Order("step", share) for share in shares], advance)
        self._stand([standing for _, standing in answers])
        return step_metrics([result for result, _ in answers], shares[0], self._learning_rate, self.version)

    def logprobs(self, samples: Sequence[Sample], temperature: float | None = None) -> list[list[float]]:
        # All do all of it: it is one completion a step, and members that share a model must pass through it together.
        return cast(list[list[float]], self._order("logprobs", (list(samples), temperature))[0])

    def state(self) -> bytes:
        return cast(bytes, ray.get(self._order("state")[0]))

    def write_adapter(self, folder: Path) -> None:
        for name, data in ray.get(self._order("adapter")[0]).items():
            (folder / name).write_bytes(data)

    def restore(self, data: bytes, source: str) -> None:
        self._stand(self._order("restore", ([ray.put(data)], source)))

    def close(self) -> None:
        self.team.close()

    def _order(self, name: OrderName, argument: Any = None) -> list[Any]:
        return self.team.ask([Order(name, argument)] * self._size)

    def _stand(self, standings: Sequence[Standing]) -> None:
        """Take over where the members stand."""
        first = standings[0]
        for rank, standing in enumerate(standings):
            if standing != first:
                why = (
                    f"learner processes 0 ({self.team.where()[0]}) and {rank} ({self.team.where()[rank]}) have come "
                    f"to different adapters after version {self.version}: one of them computes something else. Nothing "
                    "of it was kept; check the machines, then go on after the last checkpoint with --resume"
                )
                self.team.condemn(why)
                raise LearnerError(why)
        self.version, self._learning_rate = first.version, first.learning_rate
