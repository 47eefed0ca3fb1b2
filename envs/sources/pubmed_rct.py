"""PubMed RCT (20k and 200k): the sentences of abstracts of clinical trials and the role of each (arXiv 1710.06071).

The format: an abstract is a line "###24293578", a line "METHODS<tab>sentence" for each sentence, and a blank line.
What is published as train.7z or train.zip is to be unpacked first.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from memrl.envs.building.labels import Labelled, Labelling
from memrl.envs.building.locating import by_names
from memrl.envs.building.raw import AGAIN, find_in, text_lines
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

PARTS: dict[str, Literal["train", "test"]] = {"train": "train", "dev": "train", "test": "test"}
_LABEL = re.compile(r"[A-Z]+")


def read(path: Path) -> Iterator[Labelled]:
    """The sentences of all parts; dev belongs to the training part.

    Args:
        path: the folder with train.txt, dev.txt and test.txt, each plain or .gz.

    Raises:
        DataError: a file is missing or damaged, or a line is neither an abstract's number nor a label and a sentence.
    """
    for name, part in PARTS.items():
        file = find_in(path, f"{name}.txt")
        abstract = ""
        for number, line in enumerate(text_lines(file), start=1):
            label, tab, sentence = line.rstrip("\r\n").partition("\t")
            if label.startswith("###"):
                abstract = label.removeprefix("###")
            elif abstract and tab and _LABEL.fullmatch(label):
                yield Labelled(sentence, label, part, abstract)
            elif line.strip():
                raise DataError(
                    f'{file}, line {number} is neither "###number" nor, in an abstract, "LABEL<tab>sentence". {AGAIN}'
                )


SOURCE = Source(
    name="pubmed_rct",
    read=read,
    about="label the role of a sentence in an abstract of a clinical trial, 5 roles",
    stage=Labelling(chunk_tokens=1700),
    home="https://github.com/Franck-Dernoncourt/pubmed-rct",
    licence="not stated; some abstracts are under copyright",
    kind="labels",
    tried="format",
    locate=by_names("train.txt", "dev.txt", "test.txt", begins=rb"###\d+\s"),
)
