"""Mem-α's published streams, read as they are (arXiv 2509.25911): what it was trained on, and MemoryAgentBench."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from memrl.envs.building.published import by_columns, rows
from memrl.envs.building.raw import AGAIN, parse
from memrl.envs.building.releases import LEFT_OUT, MEMALPHA_BENCH, MEMALPHA_TEST, MEMALPHA_TRAIN, PublishedSet, Release
from memrl.envs.building.shuffling import shuffled
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.suggest import did_you_mean

COLUMNS = ("instance_id", "chunks", "questions_and_answers", "data_source")


class _Row(BaseModel):
    instance_id: str
    chunks: list[str] = Field(min_length=1)
    questions_and_answers: list[_Pair] = Field(min_length=1)
    data_source: str


class _Pair(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    question: str
    answer: str | list[str]


Publication = Literal["memalpha", "memoryagentbench"]


def read(
    path: Path | str = "YuWangX/Memalpha",
    split: Literal["train", "test"] = "train",
    sources: list[str] | None = None,
    metric: str | None = None,
    release: Publication | None = None,
    seed: int = 0,
    count: int | None = Field(None, ge=0),
) -> Iterator[Stream]:
    """The published streams, in an order shuffled by `seed`.

    Args:
        path: `YuWangX/Memalpha`, `YuWangX/Memalpha-Memoryagentbench`, or a folder or parquet file of the same columns.
        split: the published one.
        sources: only these data sources.
        metric: for data sources that are not known.
        release: which of the two `path` holds, for reports on what of it was asked; None: as its name says.
        count: how many at most.

    Raises:
        DataError: the set cannot be read, or a row is not as published: the row and what is wrong.
    """
    found = (stream for stream in _streams(path, split, metric) if sources is None or stream.metadata["set"] in sources)
    for number, stream in enumerate(shuffled(found, f"memalpha:{seed}")):
        if count is not None and number >= count:
            return
        yield stream


def _release(options: Mapping[str, Any]) -> Release:
    of_bench = "agentbench" in Path(str(options["path"])).name.lower()
    name: Publication = options["release"] or ("memoryagentbench" if of_bench else "memalpha")
    if name == "memoryagentbench":
        return MEMALPHA_BENCH
    return MEMALPHA_TRAIN if options["split"] == "train" else MEMALPHA_TEST


def _known(name: str, metric: str | None, where: str) -> PublishedSet:
    """The published set of that name: scored as it is there, or, where there is none, as the option `metric` says."""
    releases = (MEMALPHA_TRAIN, MEMALPHA_TEST, MEMALPHA_BENCH)
    for release in releases:
        if (known := release.get(name)) is not None:
            return known
    if metric is None:
        names = dict.fromkeys(one.name for release in releases for one in (*release.sets, *release.earlier))
        raise DataError(
            f"{where}: the data source {name!r} is not known, so how its answers are scored is not either"
            f"{did_you_mean(name, names)} Set the option metric=..., or leave it out by sources=[...]."
        )
    return PublishedSet(name, metric)


def _streams(path: Path | str, split: str, metric: str | None) -> Iterator[Stream]:
    for where, row in rows(path, split, COLUMNS):
        values = {name: _json(row[name], f"{where}, {name}") for name in ("chunks", "questions_and_answers")}
        known = parse(_Row, {**row, "instance_id": str(row["instance_id"]), **values}, where)
        published = _known(known.data_source, metric, where)
        left_out: Counter[str] = Counter()
        questions = tuple(_questions(known, published, left_out, where))
        if not questions:
            raise DataError(f"{where}: none of its questions has both words and an answer. {AGAIN}")
        yield Stream(
            id=f"memalpha-{split}-{known.data_source}-{known.instance_id}",
            source="memalpha",
            chunks=tuple(Chunk(text=text) for text in known.chunks if text.strip()),
            questions=questions,
            metadata={
                "set": known.data_source,
                "documents": [f"{known.data_source}/{known.instance_id}"],
                **({LEFT_OUT: dict(left_out)} if left_out else {}),
            },
        )


def _questions(row: _Row, published: PublishedSet, left_out: Counter[str], where: str) -> Iterator[Question]:
    """The questions of a row that can be asked; the others are counted, by the reason."""
    for number, pair in enumerate(row.questions_and_answers):
        answers = [pair.answer] if isinstance(pair.answer, str) else pair.answer
        golds = tuple(answer for answer in answers if answer.strip())
        if not pair.question.strip() or not golds:
            left_out["it has no words" if golds else "no answer of it is published"] += 1
            continue
        if published.metric == "boxed":
            golds = tuple(gold.strip().strip("\"'").strip() for gold in golds)
            if not all(gold.lstrip("+-").isdecimal() for gold in golds):
                wrong = f"question {number} of labels has the answer {golds[0]!r}, which is no number"
                raise DataError(f"{where}: {wrong}. {AGAIN}")
        text = published.asked(pair.question)
        yield Question(id=f"q{number}", text=text, answers=golds, metric=published.metric, kind=row.data_source)


def _json(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        raise DataError(f"{where} must be a JSON string, not {type(value).__name__}. Check that it is the right set.")
    try:
        return json.loads(value)
    except ValueError as error:
        raise DataError(f"{where} is no readable JSON ({error}). The file is damaged; download it again.") from error


SOURCE = Source(
    name="memalpha",
    read=read,
    about="the streams that Mem-α was trained on, as published",
    home="https://huggingface.co/datasets/YuWangX/Memalpha",
    licence="not stated; each set's own",
    kind="mixed",
    tried="format",
    splits=("train", "test"),
    locate=by_columns(*COLUMNS, "num_chunks", "num_questions"),
    release=_release,
)
