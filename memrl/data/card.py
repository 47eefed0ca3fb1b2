"""The card of a built set: `card.json`, what it holds, what it was made of, and by which licence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from memrl.data.quality import Quality
from memrl.envs.errors import DataError
from memrl.envs.stream import explain
from memrl.storage.files import find_damage
from memrl.storage.formats import check_format

CARD_FILE = "card.json"
HELD_OUT = ("eval", "test")
"""Splits that are evaluated on; all others are trained on."""


class Input(BaseModel):
    """One raw file that a set was built from."""

    file: str
    bytes: int
    sha256: str
    version: str | None
    """The commit of `home` that has this very content, where it is a known one."""


class Output(BaseModel):
    """One file of streams, and what is in it."""

    file: str
    bytes: int
    sha256: str
    quality: Quality


class Card(BaseModel):
    """The contents of `card.json`."""

    model_config = ConfigDict(frozen=True)

    format_version: int = 0
    """0: from before there were versions."""
    name: str
    source: str
    about: str
    kind: str
    tried: str
    home: str | None
    licence: str | None
    version: str | None
    """Of the input files, where known."""
    builder: str
    options: dict[str, Any]
    inputs: list[Input]
    extractive: bool
    streams: int
    chunks: int
    questions: int
    tokens: int
    answers_found: float
    """Share of the questions with a gold that stands in the chunks; if `extractive`, of those that a span answers."""
    evidence: float
    """Share of the questions whose evidence chunks are known."""
    evidence_lost: int
    """Questions whose evidence the source names, but nowhere in the text."""
    splits: dict[str, Output]
    left_out: dict[str, int] = {}
    """Questions that the source has and no stream asks, by the reason."""
    seconds: float
    peak_mib: float
    date: str


def check_set(folder: Path) -> None:
    """Refuse the built set in a folder, if there is one and a newer version wrote it.

    Raises:
        FormatError: a newer version wrote it.
    """
    path = folder / CARD_FILE
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return  # it is for those who need the card to complain
    if isinstance(card, dict):
        check_format("set", card, folder)


def read_card(folder: Path) -> Card:
    """The card of a built set.

    Raises:
        DataError: there is none, it is damaged, or a newer version wrote it.
    """
    path = folder / CARD_FILE
    if not path.is_file():
        raise DataError(f"{folder} is no built set: it has no {CARD_FILE}. Build one with `memrl data build`.")
    check_set(folder)  # first: a newer card may lack what this version asks for
    try:
        return Card.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(f"{path}: {explain(error)}. Build the set again: `memrl data build --force`.") from error


def held_out_file(card: Card) -> str:
    """Return the name of the file of a set that is evaluated on: its held-out split, or its only one.

    Raises:
        DataError: it has several, none of which is held out.
    """
    for name in HELD_OUT:
        if name in card.splits:
            return card.splits[name].file
    if len(card.splits) > 1:
        raise DataError(f"the set {card.name} has no split that is held out ({', '.join(card.splits)}). Name a file.")
    return next(iter(card.splits.values())).file


def cards_in(folder: Path) -> list[Card]:
    """The cards of the built sets right below a folder, by name; of the folder itself, if it is one.

    Raises:
        DataError: a card, or a file that it speaks of, is damaged.
    """
    folders = (
        [folder] if (folder / CARD_FILE).is_file() else sorted(path.parent for path in folder.glob(f"*/{CARD_FILE}"))
    )
    for place in folders:
        check_set(place)  # before its files, whose names and hashes a newer one may keep elsewhere
        if damage := find_damage(place):
            raise DataError(f"{place}: {damage}. Build the set again: `memrl data build --force`.")
    return [read_card(place) for place in folders]
