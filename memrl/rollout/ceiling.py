"""The reader's ceiling: how well it answers when the evidence is in memory. No policy can be paid above it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from memrl.engines.engine import Place
from memrl.envs.building.prose import sentences
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.stream import Question, Stream
from memrl.envs.tools import ToolCall
from memrl.records import AnswerRecord
from memrl.rollout.worker import RolloutWorker


async def reader_ceiling(worker: RolloutWorker, streams: Sequence[Stream]) -> list[AnswerRecord]:
    """The questions with known evidence, each asked over a memory of all that is worth knowing.

    For sources that list noteworthy sentences, the memory holds exactly those, changes applied; for others, the
    sentences of the question's own evidence chunks.
    """
    asked = []
    for position, stream in enumerate(streams):
        shared = _ideal(worker.new_stores(), stream) if "notes" in stream.metadata else None
        for number, question in enumerate(stream.questions):
            if question.evidence is None:
                continue
            memory = shared or _evidence(worker.new_stores(), stream, question)
            asked.append(worker.ask(stream.source, question, memory, Place(Place.EVALUATION, position).under(number)))
    return await asyncio.gather(*asked)


def _ideal(memory: StoreMemory, stream: Stream) -> StoreMemory:
    for chunk, notes in zip(stream.chunks, stream.metadata["notes"], strict=True):
        ids = {item.content: item.id for item in memory.items}
        for note in notes:
            old = ids.get(note["replaces"] or "")
            if note.get("ends"):
                if old:
                    memory.execute(ToolCall(name="memory_delete", arguments={"memory_id": old}))
            elif old:
                arguments = {"memory_id": old, "content": note["text"]}
                memory.execute(ToolCall(name="memory_update", arguments=arguments))
            else:
                arguments = {"memory_type": note["store"], "content": note["text"]}
                memory.execute(ToolCall(name="memory_insert", arguments=arguments), time=chunk.time)
    return memory


def _evidence(memory: StoreMemory, stream: Stream, question: Question) -> StoreMemory:
    for index in question.evidence or ():
        for sentence in sentences(stream.chunks[index].text):
            arguments = {"memory_type": "semantic", "content": sentence}
            memory.execute(ToolCall(name="memory_insert", arguments=arguments))
    return memory
