"""HaluMem: a user's life in sessions with an assistant; each adds to memory or changes it (arXiv 2511.03506).

The format is that of the README of github.com/MemTensor/HaluMem and of the scripts there that write the files. The
benchmark asks a session's questions right after it, here they are asked once the stream ends. So each says as of when,
and one whose evidence a later session updates is left out: a memory that has followed the update need not answer it.

The benchmark has a model judge each answer correct, a hallucination or an omission, and reports the three shares (and
judges what a memory has extracted and updated). F1 stands in for it, so scores here are none of HaluMem's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from memrl.envs.building.dialogue import ABSTAIN, Turn, session
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.left_out import leave_out
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source

QUESTION = "As of {time}: {question}"
BOUNDARY = "memory-boundary"
_UNKNOWN = re.compile(
    r"\b(unknown|unspecified|undisclosed|unavailable|no (information|mention|record|details?))\b"
    r"|(\b(not|never)|n['’]t)( \w+){0,3} (know|known|mention\w*|specif\w+|provid\w+|stat(ed|e)|disclos\w+|shar\w+"
    r"|discuss\w*|record\w*|available|given|reveal\w*|indicat\w+)\b",
    re.IGNORECASE,
)


class _Turn(BaseModel):
    role: str
    content: str


class _Point(BaseModel):
    memory_content: str
    memory_source: str = "primary"
    is_update: bool = False
    original_memories: list[str] = []


class _Evidence(BaseModel):
    memory_content: str


class _Entry(BaseModel):
    question: str
    answer: str | int | float
    evidence: list[_Evidence] = []
    question_type: str


class _Session(BaseModel):
    start_time: str | None = None
    end_time: str | None = None
    dialogue: list[_Turn]
    memory_points: list[_Point] = []
    questions: list[_Entry] = []


class _User(BaseModel):
    uuid: str
    sessions: list[_Session]


def read(path: Path) -> Iterator[Document]:
    """One document a user.

    Args:
        path: HaluMem-Medium.jsonl or HaluMem-Long.jsonl.

    Raises:
        DataError: the file is missing or damaged, or a field is missing.
    """
    for _, user in records(path, _User, kind="HaluMem JSON lines"):
        units = [
            unit
            for number, talk in enumerate(user.sessions)
            for unit in session(
                str(number),
                (Turn(turn.role.capitalize(), turn.content) for turn in talk.dialogue),
                talk.start_time,
                tuple(dict.fromkeys(point.memory_content for point in _true(talk))),
            )
        ]
        replaced = {
            point.memory_content: list(point.original_memories)
            for talk in user.sessions
            for point in _true(talk)
            if point.is_update and point.original_memories
        }
        yield Document(user.uuid, tuple(units), tuple(_asks(user)), {"memory_replaces": replaced} if replaced else {})


def _true(talk: _Session) -> Iterator[_Point]:
    """Yield what is to be remembered: not the false facts that the assistant brings in to mislead."""
    return (point for point in talk.memory_points if point.memory_source != "interference")


def _asks(user: _User) -> Iterator[DocumentQuestion]:
    given: dict[str, list[int]] = {}
    updated: dict[str, int] = {}
    for number, talk in enumerate(user.sessions):
        for point in _true(talk):
            given.setdefault(_same(point.memory_content), []).append(number)
            if point.is_update:
                updated |= {_same(before): number for before in point.original_memories}
    for number, talk in enumerate(user.sessions):
        for place, entry in enumerate(talk.questions):
            named = [_same(evidence.memory_content) for evidence in entry.evidence]
            if all(updated.get(text, number) <= number for text in named):
                told = sorted({where for text in named for where in given.get(text, ()) if where <= number})
                yield _ask(f"{user.uuid}-{number}-{place}", entry, talk, [str(where) for where in told or [number]])
            else:
                leave_out("whose evidence a later session replaces", f"{user.uuid}-{number}-{place}")


def _same(text: str) -> str:
    return " ".join(text.casefold().split())


def _ask(name: str, entry: _Entry, talk: _Session, told: list[str]) -> DocumentQuestion:
    time = talk.end_time or talk.start_time
    text = QUESTION.format(time=time, question=entry.question) if time and entry.question.strip() else entry.question
    kind = re.sub(r"[^a-z]+", "-", entry.question_type.lower())
    if kind == BOUNDARY and _UNKNOWN.search(str(entry.answer)):
        return DocumentQuestion(name, text, ABSTAIN, "abstention", tuple(told) if entry.evidence else None, kind)
    return DocumentQuestion(name, text, (str(entry.answer),), "token_f1", tuple(told), kind)


SOURCE = Source(
    name="halumem",
    read=read,
    about="questions on a user's changing life, and on what was never said",
    stage=Packing(eval_share=1.0),
    home="https://huggingface.co/datasets/IAAR-Shanghai/HaluMem",
    licence="CC BY-NC-ND 4.0",
    kind="dialogue",
    tried="format",
    locate=by_fields("HaluMem-*.jsonl", "uuid", "persona_info", "sessions"),
)
