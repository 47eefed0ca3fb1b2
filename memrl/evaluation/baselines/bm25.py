"""BM25 retrieval over all of the text: passages up to `memory.retrieve_budget`, the best ones for the question.

It keeps the whole text, which no memory budget allows: its `memory_tokens` say what that costs.
"""

from __future__ import annotations

from memrl.config import EvalConfig
from memrl.engines.engine import Place
from memrl.envs.stream import Stream
from memrl.evaluation.baselines.base import PASSAGES_SHOWN, Kept, Passages, passages
from memrl.rollout.worker import RolloutWorker


class BM25:
    """Keeps all of the text in passages of a few sentences."""

    def __init__(self, worker: RolloutWorker, _: EvalConfig) -> None:
        self._count = worker.prompter.count_tokens
        self._most = worker.memory.retrieve_budget // PASSAGES_SHOWN

    async def read(self, stream: Stream, place: Place) -> Kept:
        return Kept(Passages(passages(stream, self._most, self._count), self._count))
