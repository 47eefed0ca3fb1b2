"""Mem-α's published streams, read as they are (arXiv 2509.25911): what it was trained on, and MemoryAgentBench."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from memrl.envs.building.published import by_columns, rows
from memrl.envs.building.raw import parse
from memrl.envs.building.shuffling import shuffled
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream

COLUMNS = ("instance_id", "chunks", "questions_and_answers", "data_source")
METRICS = {
    "squad": "substring_memalpha",
    "hotpotqa": "substring_memalpha",
    "perltqa": "parts_coverage",
    "booksum": "keyword_coverage",
    "infbench": "rouge_l",
    "longmemeval": "token_f1",  # a judge's, in the reference
    "pubmed": "boxed",
    "trec": "boxed",
    "nlu": "boxed",
    "banking77": "boxed",
    "clinc": "boxed",
}
"""By what a data source's name holds (section 3, r1)."""


class _Row(BaseModel):
    instance_id: str
    chunks: list[str] = Field(min_length=1)
    questions_and_answers: list[_Pair] = Field(min_length=1)
    data_source: str


class _Pair(BaseModel):
    model_config = ConfigDict(coerce_numbers_to_str=True)

    question: str
    answer: str | list[str]


def read(
    path: Path | str = "YuWangX/Memalpha",
    split: Literal["train", "test"] = "train",
    sources: list[str] | None = None,
    metric: str | None = None,
    seed: int = 0,
    count: int | None = Field(None, ge=0),
) -> Iterator[Stream]:
    """The published streams, in an order shuffled by `seed`.

    Args:
        path: `YuWangX/Memalpha`, `YuWangX/Memalpha-Memoryagentbench`, or a folder or parquet file of the same columns.
        split: the published one.
        sources: only these data sources.
        metric: for data sources that are not known.
        count: how many at most.

    Raises:
        DataError: the set cannot be read, or a row is not as published: the row and what is wrong.
    """
    found = (stream for stream in _streams(path, split, metric) if sources is None or stream.metadata["set"] in sources)
    for number, stream in enumerate(shuffled(found, f"memalpha:{seed}")):
        if count is not None and number >= count:
            return
        yield stream


def _streams(path: Path | str, split: str, metric: str | None) -> Iterator[Stream]:
    for where, row in rows(path, split, COLUMNS):
        values = {name: _json(row[name], f"{where}, {name}") for name in ("chunks", "questions_and_answers")}
        known = parse(_Row, {**row, "instance_id": str(row["instance_id"]), **values}, where)
        scored = metric or next((found for part, found in METRICS.items() if part in known.data_source.lower()), None)
        if scored is None:
            raise DataError(
                f"{where}: the data source {known.data_source!r} is not known, so how its answers are scored is not "
                "either. Set the option metric=..., or leave it out by sources=[...]."
            )
        yield Stream(
            id=f"memalpha-{split}-{known.data_source}-{known.instance_id}",
            source="memalpha",
            chunks=tuple(Chunk(text=text) for text in known.chunks),
            questions=tuple(
                Question(
                    id=f"q{number}", text=pair.question, answers=_golds(pair), metric=scored, kind=known.data_source
                )
                for number, pair in enumerate(known.questions_and_answers)
            ),
            metadata={"set": known.data_source, "documents": [f"{known.data_source}/{known.instance_id}"]},
        )


def _json(value: Any, where: str) -> Any:
    if not isinstance(value, str):
        raise DataError(f"{where} must be a JSON string, not {type(value).__name__}. Check that it is the right set.")
    try:
        return json.loads(value)
    except ValueError as error:
        raise DataError(f"{where} is no readable JSON ({error}). The file is damaged; download it again.") from error


def _golds(pair: _Pair) -> tuple[str, ...]:
    return (pair.answer,) if isinstance(pair.answer, str) else tuple(pair.answer)


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
)
