"""HaluMem (arXiv 2511.03506): users' sessions with an assistant, what a memory should hold of each, and questions.

Memory points are the gold of extraction; those that the assistant made up to mislead (`interference`) are left out. A
session's questions hold when it ends; here all are asked at the end of the stream, so a question is left out where a
later session replaces what it rests on.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from envs.building.dialogue import ABSTAIN, Turn, session
from envs.building.documents import Ask, Document, Packing
from envs.building.locating import by_fields
from envs.building.raw import records
from envs.building.source import Source

INTERFERENCE = "interference"
BOUNDARY = "Memory Boundary"
"""The type of questions about what was never said."""


class _Turn(BaseModel):
    role: str
    content: str


class _Point(BaseModel):
    memory_content: str
    memory_source: str = ""
    original_memories: list[str] | None = None


class _Evidence(BaseModel):
    memory_content: str


class _Question(BaseModel):
    question: str
    answer: str
    evidence: list[_Evidence] = []
    question_type: str


class _Session(BaseModel):
    start_time: str | None = None
    dialogue: list[_Turn]
    memory_points: list[_Point] = []
    questions: list[_Question] = []


class _User(BaseModel):
    uuid: str
    sessions: list[_Session]


def read(path: Path) -> Iterator[Document]:
    """One document a user.

    Raises:
        DataError: the file is missing or damaged.
    """
    for _, user in records(path, _User, kind="HaluMem JSON lines"):
        units = []
        holding: dict[str, str] = {}
        replaced: dict[str, int] = {}
        for number, part in enumerate(user.sessions):
            kept = [point for point in part.memory_points if point.memory_source != INTERFERENCE]
            points = tuple(point.memory_content for point in kept)
            turns = (Turn(turn.role.title(), turn.content) for turn in part.dialogue)
            units += session(f"s{number}", turns, part.start_time, points)
            for point in kept:
                holding[point.memory_content] = f"s{number}"
                for older in point.original_memories or ():
                    replaced[older] = number
        asks = tuple(
            _ask(f"{user.uuid}-{number}-{place}", asked, f"s{number}", holding)
            for number, part in enumerate(user.sessions)
            for place, asked in enumerate(part.questions)
            if not any(replaced.get(known.memory_content, -1) > number for known in asked.evidence)
        )
        yield Document(user.uuid, tuple(units), asks)


def _ask(name: str, asked: _Question, own: str, holding: dict[str, str]) -> Ask:
    """The evidence is where its memories were told; the question's own session where no point has those words."""
    evidence = tuple(dict.fromkeys(holding.get(known.memory_content, own) for known in asked.evidence)) or None
    kind = asked.question_type
    if kind == BOUNDARY:
        return Ask(name, asked.question, ABSTAIN, "abstention", evidence, kind)
    return Ask(name, asked.question, (asked.answer,), "token_f1", evidence, kind)


SOURCE = Source(
    name="halumem",
    read=read,
    about="users' sessions with an assistant, what a memory should hold of each, and questions",
    stage=Packing(eval_share=1.0, chunk_tokens=2048),
    home="https://huggingface.co/datasets/IAAR-Shanghai/HaluMem",
    licence="CC BY-NC-ND 4.0",
    kind="dialogue",
    tried="format",
    locate=by_fields("HaluMem-*.jsonl", "uuid", "persona_info", "sessions"),
)
