"""Documents and chats of one's own, with or without questions: JSON lines, described in docs/own-data.md."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from memrl.envs.building.chunking import Unit
from memrl.envs.building.dialogue import Turn, session
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import by_record
from memrl.envs.building.order import order_asks
from memrl.envs.building.prose import paragraphs
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.faults import one_record

FORMS = ("text", "messages", "sessions")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", populate_by_name=True)


class _Message(_Strict):
    speaker: str = Field(alias="role")
    content: str = Field(alias="text")
    time: str | None = None


class _Session(_Strict):
    messages: list[_Message]
    time: str | None = None


class _Question(_Strict):
    question: str
    answer: str | None = None
    answers: list[str] = []
    metric: str = "token_f1"
    kind: str = "fact"
    evidence: list[str] | None = None


class _Record(_Strict):
    id: str = Field(min_length=1)
    text: str | None = None
    messages: list[_Message] | None = None
    sessions: list[_Session] | None = None
    questions: list[_Question] = []


def read(path: Path, seed: int = 0, chunk_tokens: int = 1024, order_questions: int = 0) -> Iterator[Document]:
    """One document a line.

    Args:
        path: a .jsonl file, plain or .gz.
        seed: draws what is asked of documents without questions.
        chunk_tokens: longest chunk; passages whose order is asked for stand in different ones.
        order_questions: ask a document without questions so often which of two of its passages came first.

    Raises:
        DataError: a line is no such document: the line, the field and what to do.
    """
    seen: set[str] = set()
    for where, record in records(path, _Record, kind="JSON lines of documents (docs/own-data.md)"):
        document = None
        with one_record():
            if record.id in seen:
                raise DataError(
                    f"{where}: the id {record.id!r} stands in an earlier line too. Give each document its own."
                )
            seen.add(record.id)
            units = list(_units(record, where))
            plain = [(unit.keys[-1], _plain(unit.text)) for unit in units if record.questions]
            asks = [_ask(record.id, n, asked, plain, where) for n, asked in enumerate(record.questions)]
            asks = asks or order_asks(record.id, units, order_questions, seed, chunk_tokens=chunk_tokens)
            if not asks:
                raise DataError(
                    f"{where}: document {record.id!r} has no questions, so nothing could be learned from it. Add "
                    '"questions", or have its order asked for: order_questions=10 (it must be long enough for that).'
                )
            document = Document(record.id, tuple(units), tuple(asks))
        if document is not None:
            yield document


def _units(record: _Record, where: str) -> Iterator[Unit]:
    given = [form for form in FORMS if getattr(record, form) is not None]
    if len(given) != 1:
        raise DataError(f"{where}: give one of {', '.join(FORMS)}, not {' and '.join(given) or 'none'}.")
    if record.text is not None:
        units = [Unit(text, (str(n),)) for n, text in enumerate(paragraphs(record.text))]
    else:
        sessions = record.sessions if record.sessions is not None else [_Session(messages=record.messages or [])]
        units = []
        for number, part in enumerate(sessions):
            # Messages that say when they were written are dated one by one.
            for turn, message in enumerate(part.messages):
                said = Turn(message.speaker, message.content, f"{number}:{turn}")
                units += session(f"session {number}", [said], message.time or part.time)
    if not units:
        raise DataError(f"{where}: document {record.id!r} has no text. Add some, or remove that line.")
    yield from units


def _ask(document: str, number: int, asked: _Question, texts: list[tuple[str, str]], where: str) -> DocumentQuestion:
    place = f"{where}, question {number}"
    answers = tuple(filter(None, (answer.strip() for answer in (asked.answer or "", *asked.answers))))
    if not asked.question.strip() or not answers:
        lack = "text" if not asked.question.strip() else 'answer: add "answer", or "answers" of which each is right'
        raise DataError(f"{place} has no {lack}.")
    keys: list[str] = []
    for quote in asked.evidence or ():
        wanted = _plain(quote)
        holding = [key for key, text in texts if wanted and wanted in text]
        if not holding:
            raise DataError(
                f"{place}: the evidence {quote[:80]!r} stands nowhere in the document. Quote it word for word, from "
                "one paragraph or message."
            )
        keys += holding
    return DocumentQuestion(
        f"{document}-{number}", asked.question, answers, asked.metric, tuple(keys) or None, asked.kind
    )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _is_ours(first: Mapping[str, Any]) -> bool:
    return "id" in first and any(form in first for form in FORMS) and first.keys() <= _Record.model_fields.keys()


SOURCE = Source(
    name="documents",
    read=read,
    about="documents and chats of your own, with or without questions",
    stage=Packing(),
    home="docs/own-data.md",
    licence="your own",
    kind="mixed",
    locate=by_record("documents.jsonl", _is_ours),
)
