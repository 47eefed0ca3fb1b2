"""BANKING77: what customers ask of a bank, with 77 intents (arXiv 2003.04807)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from memrl.envs.building.labels import Labelled, Labelling
from memrl.envs.building.locating import by_names
from memrl.envs.building.raw import csv_rows, find_in, text_lines
from memrl.envs.building.source import Source

PARTS: tuple[Literal["train", "test"], ...] = ("train", "test")


def read(path: Path) -> Iterator[Labelled]:
    """The utterances of both parts.

    Args:
        path: the folder with train.csv and test.csv, each plain or .gz.
    """
    for part in PARTS:
        file = find_in(path, f"{part}.csv")
        for _, row in csv_rows(text_lines(file), str(file), ("text", "category")):
            yield Labelled(row["text"], row["category"], part)


SOURCE = Source(
    name="banking77",
    read=read,
    about="label what bank customers ask, 77 intents",
    stage=Labelling(),
    home="https://github.com/PolyAI-LDN/task-specific-datasets",
    licence="CC BY 4.0",
    kind="labels",
    locate=by_names("train.csv", "test.csv", "categories.json"),
    versions={"b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b": "57ec275d80"},
)
