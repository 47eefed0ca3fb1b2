"""TREC question classification: what a question asks for, 6 coarse or 50 fine classes (Li and Roth, COLING 2002).

The format: a line is "DESC:manner How did ...", in Latin-1 (as datasets/trec/trec.py of huggingface/datasets has it).
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

PARTS: tuple[tuple[str, Literal["train", "test"]], ...] = (("train_5500.label", "train"), ("TREC_10.label", "test"))
_LINE = re.compile(r"(?P<fine>(?P<coarse>[A-Z]+):\w+)\s+(?P<text>\S.*)")


def read(path: Path, labels: Literal["coarse", "fine"] = "coarse") -> Iterator[Labelled]:
    """The questions of both parts.

    Args:
        path: the folder with train_5500.label and TREC_10.label, each plain or .gz.

    Raises:
        DataError: a file is missing or damaged, or a line has no label.
    """
    for name, part in PARTS:
        file = find_in(path, name)
        for number, line in enumerate(text_lines(file, "latin-1"), start=1):
            if line.strip():
                match = _LINE.fullmatch(line.strip())
                if not match:
                    raise DataError(f'{file}, line {number} is not of the form "DESC:manner How did ...". {AGAIN}')
                yield Labelled(match["text"], match[labels], part)


SOURCE = Source(
    name="trec",
    read=read,
    about="label what a question asks for, 6 or 50 classes",
    stage=Labelling(chunk_tokens=400),
    home="https://cogcomp.seas.upenn.edu/Data/QA/QC/",
    licence="not stated",
    kind="labels",
    tried="format",
    locate=by_names("train_5500.label", "TREC_10.label"),
)
