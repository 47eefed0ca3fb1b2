"""HotpotQA: questions over two Wikipedia paragraphs each, among others that only look alike (arXiv 1809.09600).

A document is a question with its paragraphs; a stream mixes the paragraphs of several. Read as it was published, and as
the hub has it: `id` for `_id`, and lists of titles and of sentences in place of a list of both.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import AliasChoices, BaseModel, Field, field_validator

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, DocumentQuestion, Packing, thinned
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source


class _Record(BaseModel):
    id: str = Field(validation_alias=AliasChoices("_id", "id"))
    question: str
    answer: str
    type: str
    supporting_facts: list[tuple[str, int]]
    context: list[tuple[str, list[str]]]

    @field_validator("supporting_facts", "context", mode="before")
    @classmethod
    def _paired(cls, given: Any) -> Any:
        """Return the columns of the hub's form as pairs."""
        if not isinstance(given, Mapping):
            return given
        if "title" not in given or len(given) != 2:
            raise ValueError(f"columns are title and sent_id, or title and sentences, not {', '.join(map(str, given))}")
        titles, others = given["title"], next(given[name] for name in given if name != "title")
        if not isinstance(titles, list) or not isinstance(others, list) or len(titles) != len(others):
            raise ValueError("the columns are not as long as each other")
        return list(zip(titles, others, strict=True))


def read(
    path: Path, distractors: Annotated[int | None, Field(ge=0)] = 3, metric: str = "hotpotqa_f1"
) -> Iterator[Document]:
    """One document a question.

    Args:
        path: JSON or JSON lines of the training set or of the development set with distractors, plain or .gz; or a
            parquet file of the hub.
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
    locate=by_fields("hotpot*_v1*.json*", "question", "type", "supporting_facts", "context"),
    versions={"6c0e2689d03c94b3bb4d5f94ed806ea4f4eb4f46c12132f8e91df774ad5c5a22": "c3424ec209"},
)
