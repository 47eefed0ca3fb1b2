"""CSAbstruct: the sentences of computer science abstracts and the role of each (arXiv 1909.04054)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import BaseModel

from memrl.envs.building.labels import Labelled, Labelling
from memrl.envs.building.locating import by_names
from memrl.envs.building.raw import find_in, records
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError

PARTS: dict[str, Literal["train", "test"]] = {"train": "train", "dev": "train", "test": "test"}


class _Abstract(BaseModel):
    sentences: list[str]
    labels: list[str]


def read(path: Path) -> Iterator[Labelled]:
    """The sentences of all parts; dev belongs to the training part.

    Args:
        path: the folder with train.jsonl, dev.jsonl and test.jsonl, each plain or .gz.

    Raises:
        DataError: a file is missing or damaged, or an abstract has more sentences than labels, or fewer.
    """
    for name, part in PARTS.items():
        for where, abstract in records(find_in(path, f"{name}.jsonl"), _Abstract, kind="CSAbstruct JSON lines"):
            if len(abstract.sentences) != len(abstract.labels):
                raise DataError(
                    f"{where}: {len(abstract.sentences)} sentences, but {len(abstract.labels)} labels. "
                    "Mend or remove that line."
                )
            # `abstract_id` is 0 in all of them: an abstract is known by what it says.
            group = " ".join(abstract.sentences)
            for sentence, label in zip(abstract.sentences, abstract.labels, strict=True):
                yield Labelled(sentence, label, part, group)


SOURCE = Source(
    name="csabstruct",
    read=read,
    about="label the role of a sentence in a computer science abstract, 5 roles",
    stage=Labelling(chunk_tokens=1700),
    home="https://github.com/allenai/sequential_sentence_classification",
    licence="Apache-2.0",
    kind="labels",
    locate=by_names("train.jsonl", "dev.jsonl", "test.jsonl", begins=rb'\s*\{\s*"abstract_id"'),
    versions={
        "0d184597fc87640e0a51d439ed3e3ccff68a28125da6151a3e86005b202829b1": "cf5ad6c663",
        "37d8fc9a932516b290afacd4d294111141ce31c503260de8be145bd4b28d62f5": "cf5ad6c663",
        "de6dfac6e8efed842b45764b1b1c551d72d14da849022544bba95a8a1dcc09cc": "cf5ad6c663",
    },
)
