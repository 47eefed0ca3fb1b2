"""SQuAD (v1.1 and v2.0, JSON, plain or .gz) as streams: paragraphs become chunks, their questions come at the end.

Articles are shuffled by the seed; their paragraphs, in reading order, are cut into chunks and these into streams. A
chunk never joins two articles (a stream may), and a question's evidence is the one chunk that holds its paragraph. The
split is drawn by article title: train and eval share no document, whatever the seed.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count as numbers
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, Field, ValidationError

from envs.errors import DataError
from envs.stream import Chunk, Question, Stream, explain

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


class _File(BaseModel):
    data: list[_Article] = Field(min_length=1)


@dataclass(frozen=True)
class _Piece:
    """One chunk to be: whole paragraphs of one article."""

    title: str
    text: str
    entries: tuple[_Entry, ...]


def read_articles(path: Path) -> list[_Article]:
    """Read and check a SQuAD file.

    Raises:
        DataError: the file is missing or damaged, a key is missing, or a question has no answer.
    """
    if not path.is_file():
        raise DataError(f"data file {path} does not exist. Check the path (data.path or the source's own `path`).")
    raw = path.read_bytes()
    if path.suffix == ".gz" or raw.startswith(b"\x1f\x8b"):
        try:
            raw = gzip.decompress(raw)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{path} is damaged or cut short: {error} Download it again.") from error
    try:
        tree = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text (byte {error.start}). Download it again.") from error
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise DataError(
            f"{path}, {where}: {error.msg}. The JSON is damaged or cut short; download it again."
        ) from error
    except (RecursionError, ValueError) as error:  # nested too deeply, or a number of thousands of digits
        raise DataError(f"{path} is not SQuAD JSON: {error}. Check the path.") from error
    try:
        articles = _File.model_validate(tree).data
    except ValidationError as error:
        raise DataError(
            f"{path} is not SQuAD JSON: {_place(error)} (articles are counted from 0). "
            "Expected data[].title, paragraphs[].context, qas[].id, question, answers[].text."
        ) from error
    _check_answers(path, articles)
    return articles


def _place(error: ValidationError) -> str:
    """ "data.0.paragraphs.2.context: Field required" as "article 0, paragraphs.2.context: Field required"."""
    head, _, rest = explain(error).removeprefix("data.").partition(".")
    return f"article {head}, {rest}" if head.isdigit() else explain(error)


def _check_answers(path: Path, articles: list[_Article]) -> None:
    for index, article in enumerate(articles):
        for paragraph in article.paragraphs:
            for entry in paragraph.qas:
                if not entry.question.strip():
                    lack = "text"
                elif not entry.is_impossible and not entry.golds():
                    lack = "answer"
                else:
                    continue
                raise DataError(
                    f"{path}, article {index} ({article.title!r}): question {entry.id!r} has no {lack}. "
                    'Add one, remove the question, or mark it "is_impossible": true.'
                )


def is_eval_article(title: str, eval_share: float) -> bool:
    """Whether an article belongs to the eval split: by its title alone, so the same in every run."""
    digest = hashlib.sha256(title.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big") < eval_share * 2**64


def _choose(
    path: Path, found: list[_Article], names: list[str] | None, split: str | None, eval_share: float
) -> list[_Article]:
    titles = {article.title for article in found}
    for name in names or ():
        if name not in titles:
            raise DataError(f"{path} has no article {name!r}. It has: {', '.join(sorted(titles)[:20])}, ...")
    chosen = [
        article
        for article in found
        if (names is None or article.title in names)
        and (split is None or is_eval_article(article.title, eval_share) == (split == "eval"))
    ]
    if not chosen:
        raise DataError(
            f"{path}: none of its {len(found)} articles is left for split={split!r}, articles={names!r}. "
            "Change eval_share, articles or split."
        )
    return chosen


def _cut(article: _Article, paragraphs_per_chunk: int, max_chars: int | None) -> list[_Piece]:
    """An article's chunks. A paragraph longer than `max_chars` is left out: cutting it could cut an answer."""
    pieces: list[_Piece] = []
    held: list[_Paragraph] = []

    def close() -> None:
        if held:
            text = "\n\n".join(paragraph.context.strip() for paragraph in held)
            entries = tuple(entry for paragraph in held for entry in paragraph.qas)
            pieces.append(_Piece(article.title, text, entries))
            held.clear()

    for paragraph in article.paragraphs:
        size = len(paragraph.context.strip())
        if not size or (max_chars is not None and size > max_chars):
            continue
        joined = size + sum(len(other.context.strip()) + 2 for other in held)
        if len(held) >= paragraphs_per_chunk or (max_chars is not None and joined > max_chars):
            close()
        held.append(paragraph)
    close()
    return pieces


def squad(
    *,
    path: Path,
    seed: int = 0,
    count: int | None = None,
    chunks: int = 10,
    paragraphs_per_chunk: int = 1,
    questions: int = 20,
    articles: list[str] | None = None,
    split: Literal["train", "eval"] | None = None,
    eval_share: float = 0.2,
    unanswerable: bool = False,
    max_chunk_chars: int | None = None,
    metric: str = "token_f1",
) -> Iterator[Stream]:
    """Streams of SQuAD paragraphs.

    Args:
        path: the JSON file, plain or .gz.
        count: how many; past one pass over the articles, go on with a new seeded shuffle. None: one pass.
        chunks: chunks a stream. What is left over at the end of a pass is dropped, unless it is all there is.
        paragraphs_per_chunk: at most so many paragraphs in a chunk, all of one article.
        questions: at most so many a stream, drawn by the seed; asked in reading order.
        articles: only these titles.
        split: "train", "eval", or None for all articles.
        eval_share: about this share of the articles is "eval".
        unanswerable: also ask v2.0's unanswerable questions, with the golds `UNANSWERABLE` and no evidence.
        max_chunk_chars: longest chunk; longer paragraphs are left out.
        metric: how answers are scored.

    Raises:
        DataError: a bad option, a missing or damaged file, or nothing left to build a stream from.
    """
    for name, value in (("chunks", chunks), ("paragraphs_per_chunk", paragraphs_per_chunk), ("questions", questions)):
        if value < 1:
            raise DataError(f"source 'squad': {name} is {value}; it must be at least 1.")
    if count is not None and count < 0:
        raise DataError(f"source 'squad': count is {count}; it must not be negative.")
    if not 0.0 <= eval_share <= 1.0:
        raise DataError(f"source 'squad': eval_share is {eval_share}; it must lie between 0 and 1.")
    path = Path(path)
    chosen = _choose(path, read_articles(path), articles, split, eval_share)
    cut = [_cut(article, paragraphs_per_chunk, max_chunk_chars) for article in chosen]
    given = 0
    for turn in numbers():
        rng = random.Random(f"squad:{seed}:{turn}")
        pieces = [piece for article in rng.sample(cut, len(cut)) for piece in article]
        windows = [pieces[start : start + chunks] for start in range(0, len(pieces), chunks)]
        if len(windows) > 1 and len(windows[-1]) < chunks:
            windows.pop()
        before = given
        for window in windows:
            if count is not None and given >= count:
                return
            asked = _questions(window, rng, questions, unanswerable, metric)
            if asked:
                yield _stream(path, f"squad-{split or 'all'}-{seed}-{given:05d}", window, asked)
                given += 1
        if given == before and (count is None or given < count):
            raise DataError(
                f"{path}: no stream can be built from its {len(chosen)} chosen articles: every paragraph is empty, "
                f"without a question, or longer than max_chunk_chars={max_chunk_chars}. Raise max_chunk_chars or "
                "choose other articles."
            )
        if count is None:
            return


def _questions(
    window: list[_Piece], rng: random.Random, most: int, unanswerable: bool, metric: str
) -> tuple[Question, ...]:
    asked: list[Question] = []
    for index, piece in enumerate(window):
        for entry in piece.entries:
            if not entry.is_impossible:
                known = Question(
                    id=entry.id, text=entry.question.strip(), answers=entry.golds(), metric=metric, evidence=(index,)
                )
                asked.append(known)
            elif unanswerable:
                text = entry.question.strip()
                asked.append(Question(id=entry.id, text=text, answers=UNANSWERABLE, metric=metric, kind="unanswerable"))
    if len(asked) <= most:
        return tuple(asked)
    return tuple(asked[place] for place in sorted(rng.sample(range(len(asked)), most)))


def _stream(path: Path, name: str, window: list[_Piece], asked: tuple[Question, ...]) -> Stream:
    try:
        return Stream(
            id=name,
            source="squad",
            chunks=tuple(Chunk(text=piece.text) for piece in window),
            questions=asked,
            metadata={"articles": list(dict.fromkeys(piece.title for piece in window))},
        )
    except ValidationError as error:
        titles = ", ".join(dict.fromkeys(piece.title for piece in window))
        raise DataError(f"{path}, articles {titles}: {explain(error)}. Mend the file.") from error
