"""A rolling summary: one text that the untrained model writes anew at each chunk (MemAgent, arXiv 2507.02259)."""

from __future__ import annotations

from envs.building.chunking import sentences
from envs.memory import StoreMemory
from envs.stream import Stream
from memrl.evaluation.baselines.base import Kept, keep
from memrl.rollout.engine import Sampling
from memrl.rollout.worker import RolloutWorker

INSTRUCTION = (
    "You keep notes on a long text that you read piece by piece. Later, questions are answered from your notes alone. "
    "Write the notes anew: keep what is still worth knowing of the old ones, and add what is worth knowing of the "
    "text. Reply with the notes alone, in short sentences, at most {words} words."
)


class RollingSummary:
    """Keeps what the model writes, as far as it fits in `memory.budget`."""

    def __init__(self, worker: RolloutWorker) -> None:
        self._worker = worker

    async def read(self, stream: Stream, order: tuple[int, ...]) -> Kept:
        worker, rollout = self._worker, self._worker.config.rollout
        instruction = INSTRUCTION.format(words=max(worker.config.memory.budget * 3 // 4, 1))
        memory = worker.new_memory()
        prompted = written = 0
        for place, chunk in enumerate(stream.chunks):
            notes = " ".join(item.content for item in memory.items)
            heading = f"# Text ({chunk.time})" if chunk.time else "# Text"
            asked = f"# Notes\n{notes or '(none yet)'}\n{heading}\n{chunk.text}"
            messages = [{"role": "system", "content": instruction}, {"role": "user", "content": asked}]
            ids = worker.prompter.encode(messages)[-rollout.max_prompt_tokens :]
            sampling = Sampling(rollout.max_completion_tokens, 0.0)
            completion = await worker.engine.generate(ids, sampling, None, order=(*order, place))
            prompted, written = prompted + len(ids), written + len(completion.ids)
            memory = self._held(worker.prompter.decode(completion.ids))
        return Kept(memory, prompted, written)

    def _held(self, text: str) -> StoreMemory:
        memory = self._worker.new_memory()
        for sentence in sentences(text):
            keep(memory, sentence, None)
        return memory
