"""Calls of the design `stores`, and a small world of two facts to ask about."""

from __future__ import annotations

from memrl.envs.designs import MemoryDesign
from memrl.envs.designs.stores import DELETE, INSERT, UPDATE
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall
from memrl.frozen.reader import LexicalReader
from memrl.records import AnswerRecord
from memrl.rewards.metrics import score

QUESTIONS = {"home": ("Where does Ada live?", "Oslo"), "job": ("What does Ben work as?", "baker")}


def insert(content: str, store: str = "semantic") -> ToolCall:
    return ToolCall(name=INSERT.name, arguments={"memory_type": store, "content": content})


def update(item: str, content: str) -> ToolCall:
    return ToolCall(name=UPDATE.name, arguments={"memory_id": item, "content": content})


def delete(item: str) -> ToolCall:
    return ToolCall(name=DELETE.name, arguments={"memory_id": item})


def stream_of(steps: int) -> Stream:
    """So many chunks, and both questions."""
    return Stream(
        id="s",
        source="test",
        chunks=tuple(Chunk(text=f"chunk {n} of some length") for n in range(steps)),
        questions=tuple(
            Question(id=name, text=text, answers=(gold,), metric="substring")
            for name, (text, gold) in QUESTIONS.items()
        ),
    )


async def answer(question: Question, memory: MemoryDesign, budget: int = 1000) -> AnswerRecord:
    """What the lexical reader says, scored."""
    said = await LexicalReader(budget).answer(question, memory)
    return AnswerRecord(
        question_id=question.id, kind="fact", question=question.text, gold=list(question.answers), answer=said.text,
        metric=question.metric, score=score(question.metric, said.text, question.answers), evidence=None,
        retrieved=list(said.retrieved),
    )  # fmt: skip
