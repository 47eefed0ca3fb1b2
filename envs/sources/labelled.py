"""Labelled texts of your own: a table with a text and its label in each row, learnt from examples as of BANKING77."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from memrl.envs.building.labels import Labelled, Labelling
from memrl.envs.building.raw import AnyRecord, csv_rows, find_in, records, text_lines
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

TEXTS = ("text", "sentence", "utterance", "query", "question")
LABELS = ("label", "category", "intent", "class")
PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")


def read(path: Path, text: str | None = None, label: str | None = None) -> Iterator[Labelled]:
    """The rows of a table, or of the two of a folder.

    Args:
        path: a .csv or .tsv file with a header, plain or .gz; a .parquet file; or a folder with train.csv and test.csv.
        text: the column of the texts; None: the first there is of text, sentence, utterance, query, question.
        label: the column of the labels; None: the first there is of label, category, intent, class.

    Raises:
        DataError: the file is missing or damaged, lacks such a column, or a row lacks a value.
    """
    files = [(find_in(path, f"{part}.csv"), part) for part in PARTS] if path.is_dir() else [(path, PARTS[0])]
    for file, part in files:
        if file.suffix == ".parquet":
            yield from _of_parquet(file, text, label, part)
            continue
        delimiter = "\t" if file.name.removesuffix(".gz").endswith(".tsv") else ","
        header = next(csv.reader(text_lines(file), delimiter=delimiter), [])
        texts = _column(header, text, TEXTS, "text", file)
        labels = _column(header, label, LABELS, "label", file)
        for _, row in csv_rows(text_lines(file), str(file), (texts, labels), delimiter=delimiter):
            yield Labelled(row[texts], row[labels], part)


def _of_parquet(file: Path, text: str | None, label: str | None, part: Literal["train", "test"]) -> Iterator[Labelled]:
    texts = labels = ""
    for where, record in records(file, AnyRecord, kind="a table of labelled texts"):
        row = record.model_extra or {}
        if not texts:
            texts = _column(list(row), text, TEXTS, "text", file)
            labels = _column(list(row), label, LABELS, "label", file)
        for name in (texts, labels):
            if row[name] is None or not str(row[name]).strip():
                raise DataError(f"{where}: the column {name} is empty. Mend or remove that row.")
        yield Labelled(str(row[texts]), str(row[labels]), part)


def _column(header: list[str], wanted: str | None, usual: tuple[str, ...], option: str, file: Path) -> str:
    names = usual if wanted is None else (wanted,)
    found = next((name for name in names if name in header), None)
    if found is None:
        raise DataError(
            f"{file} has no column {' or '.join(names)} (it has {', '.join(header) or 'nothing'}). Name the column by "
            f"the option {option}."
        )
    return found


SOURCE = Source(
    name="labelled",
    read=read,
    about="label texts of your own, from a table of texts and labels",
    stage=Labelling(),
    home="docs/own-data.md",
    licence="your own",
    kind="labels",
    tried="format",
)
