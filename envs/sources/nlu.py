"""NLU-Evaluation-Data (HWU64): what people say to a home assistant, with 64 intents (arXiv 1903.05566)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from memrl.envs.building.labels import Labelled, Labelling
from memrl.envs.building.locating import by_members
from memrl.envs.building.raw import contents, csv_rows, lines_of
from memrl.envs.building.source import Source

PARTS: tuple[tuple[str, Literal["train", "test"]], ...] = (
    ("trainset/*_*.csv", "train"),
    ("testset/csv/*_*.csv", "test"),
)
COLUMNS = ("scenario", "intent", "answer_from_anno")


def read(path: Path) -> Iterator[Labelled]:
    """The utterances of one fold of the cross-validation.

    Args:
        path: the folder with trainset/ and testset/csv/, or a tar archive of it, plain or .gz.
    """
    for pattern, part in PARTS:
        for where, data in contents(path, pattern):
            for _, row in csv_rows(lines_of(data, where), where, COLUMNS, delimiter=";"):
                yield Labelled(row["answer_from_anno"], f"{row['scenario']}_{row['intent']}", part)


SOURCE = Source(
    name="nlu",
    read=read,
    about="label what people say to a home assistant, 64 intents",
    stage=Labelling(chunk_tokens=620),
    home="https://github.com/xliuhw/NLU-Evaluation-Data",
    licence="CC BY 4.0",
    kind="labels",
    locate=by_members("trainset/*_*.csv"),
)
