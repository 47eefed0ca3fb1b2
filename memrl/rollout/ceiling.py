"""The reader's ceiling: how well it answers when the evidence is in memory. No policy can be paid above it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from memrl.engines.engine import Place
from memrl.envs.building.prose import sentences
from memrl.envs.designs import MemoryDesign
from memrl.envs.designs.keeping import keep_notes
from memrl.envs.stream import Question, Stream
from memrl.records import AnswerRecord
from memrl.rollout.worker import RolloutWorker


async def reader_ceiling(worker: RolloutWorker, streams: Sequence[Stream]) -> list[AnswerRecord]:
    """The questions with known evidence, each asked over a memory of the policy's design that has all worth knowing.

    For sources that list noteworthy sentences, the memory holds exactly those, changes applied; for others, the
    sentences of the question's own evidence chunks.
    """
    asked = []
    for position, stream in enumerate(streams):
        shared = None
        if "notes" in stream.metadata:
            shared = worker.new_memory()
            keep_notes(shared, stream)
        for number, question in enumerate(stream.questions):
            if question.evidence is None:
                continue
            memory = shared or _evidence(worker.new_memory(), stream, question)
            asked.append(worker.ask(stream.source, question, memory, Place(Place.EVALUATION, position).under(number)))
    return await asyncio.gather(*asked)


def _evidence(memory: MemoryDesign, stream: Stream, question: Question) -> MemoryDesign:
    for index in question.evidence or ():
        for sentence in sentences(stream.chunks[index].text):
            for call in memory.keep(sentence):
                memory.execute(call)
    return memory
