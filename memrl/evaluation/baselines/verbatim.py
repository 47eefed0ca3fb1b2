"""Verbatim notes: sentences as they stand, under the policy's own budget; the oldest make room for the newest.

The reader sees the best of them for the question, as it does for the policy's memory. So this is also retrieval at
equal memory.
"""

from __future__ import annotations

from collections import deque

from memrl.config import EvalConfig
from memrl.engines.engine import Place
from memrl.envs.designs.searching import with_retrieval
from memrl.envs.stream import Stream
from memrl.envs.tools import ResultCode, ToolCall
from memrl.evaluation.baselines.base import Kept, Notes, keep, lines
from memrl.rollout.worker import RolloutWorker


class Verbatim:
    """Keeps the newest sentences that fit in `memory.budget`."""

    def __init__(self, worker: RolloutWorker, _: EvalConfig) -> None:
        self._worker = worker

    async def read(self, stream: Stream, place: Place) -> Kept:
        sizes = self._worker.memory
        memory = Notes(sizes.budget, sizes.core_budget, self._worker.prompter.count_tokens)
        with_retrieval(memory, sizes.retrieval, sizes.retrieval_options)
        held: deque[str] = deque()
        for text, time in lines(stream):
            result = keep(memory, text, time)
            while result.code is ResultCode.OVER_BUDGET and held:
                memory.execute(ToolCall(name="memory_delete", arguments={"memory_id": held.popleft()}))
                result = keep(memory, text, time)
            if result.item_id is not None:
                held.append(result.item_id)
        return Kept(memory)
