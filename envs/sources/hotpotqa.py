"""HotpotQA: questions over two Wikipedia paragraphs each, among others that only look alike (arXiv 1809.09600).

A document is a question with its paragraphs; a stream mixes the paragraphs of several.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, Field

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, DocumentQuestion, Packing, thinned
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source


class _Record(BaseModel):
    id: str = Field(alias="_id")
    question: str
    answer: str
    type: str
    supporting_facts: list[tuple[str, int]]
    context: list[tuple[str, list[str]]]


def read(
    path: Path, distractors: Annotated[int | None, Field(ge=0)] = 3, metric: str = "hotpotqa_f1"
) -> Iterator[Document]:
    """One document a question.

    Args:
        path: JSON of the training set or of the development set with distractors, plain or .gz.
        distractors: how many paragraphs without evidence are kept a question; None: all (8). With 3, 17 questions
            fill 10 chunks of 1,000 tokens; Mem-alpha's streams (arXiv 2509.25911) have 17 in 9.7 chunks of 1,005.
        metric: how answers are scored; by default F1 of HotpotQA's own script. By `substring`, which Mem-alpha takes,
            "yes and no" is right whichever is the gold.

    Raises:
        DataError: the file is missing or damaged, or a field is missing.
    """
    for _, record in records(path, _Record, kind="HotpotQA JSON"):
        evidence = tuple(dict.fromkeys(title for title, _ in record.supporting_facts))
        units = (Unit(f"{title}\n{''.join(lines).strip()}", (title,)) for title, lines in record.context)
        kind = "yes-no" if record.answer.strip().lower() in {"yes", "no"} else record.type
        ask = DocumentQuestion(record.id, record.question, (record.answer,), metric, evidence, kind)
        yield Document(record.id, thinned(units, evidence, distractors, record.id), (ask,))


SOURCE = Source(
    name="hotpotqa",
    read=read,
    about="questions that need two paragraphs each, those of many questions mixed",
    stage=Packing(chunks=10, chunk_tokens=1100, mix=True),
    home="https://github.com/hotpotqa/hotpot",
    licence="CC BY-SA 4.0",
    extractive=True,
    locate=by_fields("hotpot*_v1*.json*", "_id", "question", "supporting_facts", "context"),
    versions={"6c0e2689d03c94b3bb4d5f94ed806ea4f4eb4f46c12132f8e91df774ad5c5a22": "c3424ec209"},
)
