"""Full context: the reader is shown the text itself, its newest part where not all fits in `memory.retrieve_budget`."""

from __future__ import annotations

from memrl.config import EvalConfig
from memrl.engines.engine import Place
from memrl.envs.stream import Stream
from memrl.evaluation.baselines.base import Kept, Newest, lines
from memrl.rollout.worker import RolloutWorker


class FullContext:
    """Keeps all of the text; what is shown does not depend on the question."""

    def __init__(self, worker: RolloutWorker, _: EvalConfig) -> None:
        self._count = worker.prompter.count_tokens

    async def read(self, stream: Stream, place: Place) -> Kept:
        return Kept(Newest(lines(stream), self._count))
