"""No memory: what the reader scores without having read anything."""

from __future__ import annotations

from memrl.config import EvalConfig
from memrl.engines.engine import Place
from memrl.envs.stream import Stream
from memrl.evaluation.baselines.base import Kept, Passages
from memrl.rollout.worker import RolloutWorker


class Nothing:
    """Keeps nothing."""

    def __init__(self, worker: RolloutWorker, _: EvalConfig) -> None:
        self._count = worker.prompter.count_tokens

    async def read(self, stream: Stream, place: Place) -> Kept:
        return Kept(Passages([], self._count))
