"""A rolling summary: one text that the untrained model writes anew at each chunk (MemAgent, arXiv 2507.02259)."""

from __future__ import annotations

from memrl.config import EvalConfig
from memrl.engines.engine import Place
from memrl.envs.building.prose import sentences
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.stream import Stream
from memrl.evaluation.baselines.base import Kept, Speaker, keep, page
from memrl.rollout.worker import RolloutWorker

INSTRUCTION = (
    "You keep notes on a long text that you read piece by piece. Later, questions are answered from your notes alone. "
    "Write the notes anew: keep what is still worth knowing of the old ones, and add what is worth knowing of the "
    "text. Reply with the notes alone, in short sentences, at most {words} words."
)


class RollingSummary:
    """Keeps what the model writes, as far as it fits in `memory.budget`."""

    def __init__(self, worker: RolloutWorker, _: EvalConfig) -> None:
        self._worker = worker

    async def read(self, stream: Stream, place: Place) -> Kept:
        worker, speaker = self._worker, Speaker(self._worker)
        instruction = INSTRUCTION.format(words=max(worker.memory.budget * 3 // 4, 1))
        memory = worker.new_stores()
        for number, chunk in enumerate(stream.chunks):
            notes = " ".join(item.content for item in memory.items)
            asked = f"# Notes\n{notes or '(none yet)'}\n{page(chunk)}"
            memory = self._held(await speaker.say(instruction, asked, place.at(number)))
        return speaker.kept(memory)

    def _held(self, text: str) -> StoreMemory:
        memory = self._worker.new_stores()
        for sentence in sentences(text):
            keep(memory, sentence, None)
        return memory
