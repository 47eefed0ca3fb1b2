"""SQuALITY: short stories, and summaries of them that answer a question, four references each (arXiv 2205.11465)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.locating import by_fields
from memrl.envs.building.prose import paragraphs
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source


class _Response(BaseModel):
    response_text: str


class _Question(BaseModel):
    question_text: str
    question_number: int
    responses: list[_Response]


class _Metadata(BaseModel):
    passage_id: str


class _Story(BaseModel):
    metadata: _Metadata
    document: str
    questions: list[_Question]


def read(path: Path) -> Iterator[Document]:
    """One document a story; its first question is on the whole plot.

    Args:
        path: a JSON lines file of the published text version, plain or .gz.

    Raises:
        DataError: the file is missing or damaged, a field is missing, or a question has no reference.
    """
    for _, story in records(path, _Story, kind="SQuALITY JSON lines"):
        key = story.metadata.passage_id
        asks = (
            DocumentQuestion(
                f"{key}-{question.question_number}",
                question.question_text,
                tuple(text for response in question.responses if (text := response.response_text.strip())),
                "rouge_l",
                kind="general" if question.question_number == 1 else "specific",
            )
            for question in story.questions
        )
        yield Document(key, tuple(Unit(text) for text in paragraphs(story.document)), tuple(asks))


SOURCE = Source(
    name="squality",
    read=read,
    about="summaries of short stories, of the plot and of what a question asks",
    stage=Packing(chunk_tokens=1900),
    home="https://github.com/nyu-mll/SQuALITY",
    licence="summaries CC BY 4.0, stories Project Gutenberg License",
    kind="summaries",
    locate=by_fields("squality*.json*", "metadata", "document", "questions"),
    versions={"7d36b79a8fa42ee4b7203a83ab4816ff2b413d927938e3445d973d6918251832": "dc08d4f574"},
)
