"""BM25 retrieval over all of the text: passages up to `memory.retrieve_budget`, the best ones for the question.

It keeps the whole text, which no memory budget allows: its `memory_tokens` say what that costs.
"""

from __future__ import annotations

from envs.stream import Stream
from memrl.evaluation.baselines.base import Kept, Passages, lines
from memrl.rollout.worker import RolloutWorker

PASSAGES_SHOWN = 4
"""So many passages should fit in what is shown."""


class BM25:
    """Keeps all of the text in passages of a few sentences."""

    def __init__(self, worker: RolloutWorker) -> None:
        self._count = worker.prompter.count_tokens
        self._most = worker.config.memory.retrieve_budget // PASSAGES_SHOWN

    async def read(self, stream: Stream, order: tuple[int, ...]) -> Kept:
        passages: list[tuple[str, str | None]] = []
        for text, time in lines(stream):
            if passages and passages[-1][1] == time:
                joined = f"{passages[-1][0]} {text}"
                if self._count(joined) <= self._most:
                    passages[-1] = (joined, time)
                    continue
            passages.append((text, time))
        return Kept(Passages(passages, self._count))
