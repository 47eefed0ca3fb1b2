"""MuSiQue: questions that chain two to four paragraphs out of twenty (arXiv 2108.00573).

A document is a question with its paragraphs; a stream mixes the paragraphs of several.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from memrl.envs.building.chunking import Unit
from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.building.documents import Document, DocumentQuestion, Packing, thinned
from memrl.envs.building.left_out import leave_out
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source


class _Paragraph(BaseModel):
    idx: int
    title: str
    paragraph_text: str
    is_supporting: bool


class _Record(BaseModel):
    id: str
    question: str
    answer: str
    answer_aliases: list[str] = []
    answerable: bool = True
    paragraphs: list[_Paragraph]


def read(
    path: Path,
    distractors: Annotated[int | None, Field(ge=0)] = None,
    unanswerable: bool = False,
    metric: str = "token_f1",
) -> Iterator[Document]:
    """One document a question.

    Args:
        path: JSON lines (or a JSON array) of MuSiQue-Ans or MuSiQue-Full, plain or .gz.
        distractors: how many paragraphs without evidence are kept a question; None: all.
        unanswerable: also ask what cannot be answered from the paragraphs (MuSiQue-Full).
        metric: how answers are scored.

    Raises:
        DataError: the file is missing or damaged, or a field is missing.
    """
    for where, record in records(path, _Record, kind="MuSiQue JSON"):
        if record.answerable:
            yield _document(record, "", distractors, metric)
        elif unanswerable:
            yield _document(record, "unanswerable", distractors, metric)
        else:
            leave_out("unanswerable (asked with unanswerable=true)", where)


def _document(record: _Record, twin: str, distractors: int | None, metric: str) -> Document:
    # MuSiQue-Full has each question twice under one id, once answerable: one document key, so that both are of one
    # split, and other keys for the paragraphs, so that neither takes the other's for its evidence.
    keys = {paragraph.idx: f"{twin}{paragraph.idx}" for paragraph in record.paragraphs}
    units = (Unit(f"{place.title}\n{place.paragraph_text.strip()}", (keys[place.idx],)) for place in record.paragraphs)
    evidence = tuple(keys[paragraph.idx] for paragraph in record.paragraphs if paragraph.is_supporting)
    if twin:
        ask = DocumentQuestion(f"{record.id}-{twin}", record.question, ABSTAIN, "abstention", kind=twin)
    else:
        golds = dict.fromkeys(gold.strip() for gold in (record.answer, *record.answer_aliases) if gold.strip())
        ask = DocumentQuestion(record.id, record.question, tuple(golds), metric, evidence, kind=record.id[:4])
    return Document(record.id, thinned(units, evidence, distractors, record.id), (ask,))


SOURCE = Source(
    name="musique",
    read=read,
    about="questions that chain two to four paragraphs, those of many questions mixed",
    stage=Packing(chunks=10, chunk_tokens=1100, mix=True),
    home="https://github.com/StonyBrookNLP/musique",
    licence="CC BY 4.0",
    extractive=True,
    locate=by_fields("musique_*.json*", "id", "question", "paragraphs", "question_decomposition"),
    versions={"bca674746844637f5c68408a96b67bc0542d98e7c53715f3acafe144bd5e4ff4": "c3424ec209"},
)
