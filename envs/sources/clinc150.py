"""CLINC150: what people ask of an assistant, with 150 intents and questions of none of them (arXiv 1909.02027)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import RootModel, StringConstraints

from memrl.envs.building.labels import Labelled, Labelling
from memrl.envs.building.locating import by_names
from memrl.envs.building.raw import find, records
from memrl.envs.building.source import Source

PARTS: dict[str, Literal["train", "test"]] = {"train": "train", "val": "train", "test": "test"}
_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]


class _Pair(RootModel[tuple[_Text, _Text]]):
    """Text and intent."""


def read(path: Path, out_of_scope: bool = False) -> Iterator[Labelled]:
    """The utterances; those of `val` belong to the training part.

    Args:
        path: data_full.json, another file of that format, or the folder that holds data_full.json.
        out_of_scope: also those of no intent, as one more label, "oos".
    """
    file = find(path, "data_full.json")
    for name, part in PARTS.items():
        for key in (name, f"oos_{name}") if out_of_scope else (name,):
            for _, pair in records(file, _Pair, at=f"{key}.item", kind="CLINC150 JSON"):
                text, label = pair.root
                yield Labelled(text, label, part)


SOURCE = Source(
    name="clinc150",
    read=read,
    about="label what people ask of an assistant, 150 intents",
    stage=Labelling(),
    home="https://github.com/clinc/oos-eval",
    licence="CC BY 3.0",
    kind="labels",
    locate=by_names("data_full.json"),
    versions={"36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0": "828f809393"},
)
