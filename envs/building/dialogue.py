"""Dialogues: sessions of turns, each turn a unit that is kept whole, each session dated and apart from the others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from memrl.envs.building.chunking import Unit

ABSTAIN = ("not mentioned", "no information", "unknown", "not known", "unanswerable", "cannot be answered")
"""Golds of a question that the dialogue does not answer, for the metric `abstention`."""


@dataclass(frozen=True)
class Turn:
    """Words of one speaker. `key`: what evidence calls them."""

    speaker: str
    text: str
    key: str | None = None


def session(name: str, turns: Iterable[Turn], time: str | None = None, points: tuple[str, ...] = ()) -> list[Unit]:
    """The units of one session. Each has the session's name as a key too, for evidence that names whole sessions.

    Args:
        name: unique in its document.
        time: when it took place, as text.
        points: what a perfect memory would store of it, where the source says.
    """
    units = [
        Unit(
            f"{turn.speaker}: {turn.text.strip()}",
            keys=(name,) if turn.key is None else (name, turn.key),
            time=time,
            section=name,
            turn=True,
        )
        for turn in turns
        if turn.text.strip()
    ]
    if units and points:
        last = units[-1]
        units[-1] = Unit(last.text, last.keys, last.time, last.section, last.turn, points)
    return units
