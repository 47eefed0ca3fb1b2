"""LongMemEval (arXiv 2410.10813): a question on a long history of chats; oracle, S and M share a format.

The published labels name the sessions with the answer (`answer_session_ids`), and in them the turns (`has_answer`).
Sessions are told in the order of their dates: those of the oracle file are not sorted, and what is said later holds.
Until a judge grades them, answers are scored by F1. That tells little for `single-session-preference`, whose published
answers say what a reply must be like.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from memrl.envs.building.chunking import Unit
from memrl.envs.building.dialogue import ABSTAIN, Turn, session
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

BARE = ("longmemeval_s", "longmemeval_m", "longmemeval_oracle")
"""Names of the hub's files. They lack .json, so it is the name that tells, not the fields."""
ABSTENTION = "_abs"
"""Ends the id of a question that the history does not answer."""


class _Turn(BaseModel):
    role: str
    content: str
    has_answer: bool = False


class _Record(BaseModel):
    question_id: str
    question_type: str
    question: str
    answer: str | int | float
    question_date: str | None = None
    haystack_dates: list[str]
    haystack_session_ids: list[str]
    haystack_sessions: list[list[_Turn]]
    answer_session_ids: list[str] = []


def read(path: Path) -> Iterator[Document]:
    """One document a question, with its history.

    Args:
        path: longmemeval_s, longmemeval_m or longmemeval_oracle (.json), plain or .gz.

    Raises:
        DataError: the file is missing or damaged, or sessions, their ids and their dates are not as many.
    """
    for where, record in records(path, _Record, kind="LongMemEval JSON"):
        lengths = {
            name: len(getattr(record, name)) for name in ("haystack_sessions", "haystack_session_ids", "haystack_dates")
        }
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise DataError(
                f"{where} ({record.question_id}): {counts}; there must be as many of each. Download it again."
            )
        units, telling = _units(record)
        yield Document(record.question_id, tuple(units), (_ask(record, telling),))


def _units(record: _Record) -> tuple[list[Unit], list[str]]:
    """The history, and the keys of what holds the answer: turns where they are labelled, else sessions."""
    units: list[Unit] = []
    turns: list[str] = []
    sessions: list[str] = []
    told = zip(record.haystack_session_ids, record.haystack_dates, record.haystack_sessions, strict=True)
    # As text: "2023/05/20 (Sat) 02:21" sorts by date, then by time.
    for number, (name, day, said) in enumerate(sorted(told, key=lambda part: part[1])):
        key = f"s{number}"  # a session may come twice
        if name in record.answer_session_ids:
            sessions.append(key)
        turns += [f"{key}:{place}" for place, turn in enumerate(said) if turn.has_answer and turn.content.strip()]
        units += session(
            key, (Turn(turn.role.title(), turn.content, f"{key}:{place}") for place, turn in enumerate(said)), day
        )
    return units, turns or sessions


def _ask(record: _Record, telling: list[str]) -> DocumentQuestion:
    text = record.question if record.question_date is None else f"{record.question} (asked on {record.question_date})"
    if ABSTENTION in record.question_id:
        return DocumentQuestion(record.question_id, text, ABSTAIN, "abstention", tuple(telling) or None, "unanswerable")
    return DocumentQuestion(
        record.question_id, text, (str(record.answer),), "token_f1", tuple(telling) or None, record.question_type
    )


_by_fields = by_fields("longmemeval_*.json", "question_id", "question_type", "haystack_sessions")


def _locate(files: list[Path]) -> list[Path]:
    return [*_by_fields(files), *(file for file in files if file.name.removesuffix(".gz") in BARE)]


SOURCE = Source(
    name="longmemeval",
    read=read,
    about="a question on a long history of chats with an assistant; oracle, S and M",
    stage=Packing(eval_share=1.0, chunk_tokens=2048),
    home="https://github.com/xiaowu0162/LongMemEval",
    licence="MIT",
    kind="dialogue",
    tried="format",
    locate=_locate,
)
