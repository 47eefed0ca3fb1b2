"""SQuAD (v1.1 and v2.0): each article's paragraphs in reading order, their questions at the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, Field

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.building.left_out import leave_out
from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import records
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

UNANSWERABLE = ("unknown", "unanswerable", "not answerable", "no answer")
"""Golds of a question that its paragraph does not answer (SQuAD v2.0), where such questions are asked for."""


class _Answer(BaseModel):
    text: str


class _Entry(BaseModel):
    id: str
    question: str
    answers: list[_Answer]
    is_impossible: bool = False

    def golds(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(answer.text.strip() for answer in self.answers if answer.text.strip()))


class _Paragraph(BaseModel):
    context: str
    qas: list[_Entry]


class _Article(BaseModel):
    title: str
    paragraphs: list[_Paragraph] = Field(min_length=1)


def read(
    path: Path, articles: list[str] | None = None, unanswerable: bool = False, metric: str = "token_f1"
) -> Iterator[Document]:
    """The articles of a SQuAD file.

    Args:
        path: a JSON file of v1.1 or v2.0, such as train-v2.0.json, plain or .gz.
        articles: only these titles.
        unanswerable: also ask v2.0's unanswerable questions, with the golds `UNANSWERABLE` and no evidence.
        metric: how answers are scored.

    Raises:
        DataError: the file is missing or damaged, a field is missing, or a question has no answer.
    """
    titles = set()
    for where, article in records(path, _Article, at="data.item", kind="SQuAD JSON"):
        titles.add(article.title)
        if articles is None or article.title in articles:
            if not unanswerable:
                entries = (entry for paragraph in article.paragraphs for entry in paragraph.qas)
                unasked = sum(entry.is_impossible for entry in entries)
                leave_out("unanswerable (asked with unanswerable=true)", where, unasked)
            asks = (
                ask
                for number, paragraph in enumerate(article.paragraphs)
                for entry in paragraph.qas
                if unanswerable or not entry.is_impossible
                for ask in [_ask(entry, number, metric, f"{where} ({article.title!r})")]
            )
            units = (Unit(paragraph.context.strip(), (str(n),)) for n, paragraph in enumerate(article.paragraphs))
            yield Document(article.title, tuple(units), tuple(asks))
    if missing := set(articles or ()) - titles:
        known = ", ".join(sorted(titles)[:20])
        raise DataError(f"{path} has no article {', '.join(sorted(missing))}. It has: {known}, ...")


def _ask(entry: _Entry, paragraph: int, metric: str, where: str) -> DocumentQuestion:
    if entry.is_impossible:
        return DocumentQuestion(entry.id, entry.question, UNANSWERABLE, metric, kind="unanswerable")
    if not entry.golds():
        raise DataError(
            f"{where}: question {entry.id!r} has no answer. "
            'Add one, remove the question, or mark it "is_impossible": true.'
        )
    return DocumentQuestion(entry.id, entry.question, entry.golds(), metric, evidence=(str(paragraph),))


SOURCE = Source(
    name="squad",
    read=read,
    about="questions on the paragraphs of Wikipedia articles",
    stage=Packing(chunks=10, chunk_tokens=1240, questions=100),
    home="https://github.com/rajpurkar/SQuAD-explorer",
    licence="CC BY-SA 4.0",
    extractive=True,
    locate=by_fields("*-v[12].?.json", "title", "paragraphs", at="data.item"),
    versions={"e67e5969b6dc6c1642154740806b79263b77fc048c7c11ee60d534eb48ef81e8": "85623adeb9"},
)
