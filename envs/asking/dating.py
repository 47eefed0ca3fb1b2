"""Days on which something was said: a telling sentence of a talk over several days, whose day is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from memrl.envs.asking.passages import Statement, is_answer, stands_alone, twins
from memrl.envs.asking.scene import DraftQuestion, Scene, said_by
from memrl.envs.asking.spans import MONTHS
from memrl.envs.building.times import moment
from memrl.envs.text import fold

FEWEST_TERMS = 5
FEWEST_DAYS = 3
"""Of fewer days a guess is too likely."""


def days(scene: Scene) -> Iterator[DraftQuestion]:
    """Telling sentences of whoever speaks, on days that the chunks bear and the sentence does not name."""
    dated = {index: time for index, chunk in enumerate(scene.chunks) if (time := _day(chunk.time)) is not None}
    if len({time.date() for time in dated.values()}) < FEWEST_DAYS:
        return
    for passage in scene.passages:
        time = dated.get(passage.chunk)
        if time is None or passage.speaker is None or not _telling(scene, passage):
            continue
        if any(fold(form) in fold(passage.text) for form in _forms(time)):
            continue
        yield DraftQuestion(
            f'On which day did {said_by(passage)} say this? Answer with the date.\n"{passage.text}"',
            _forms(time),
            (passage.chunk,),
            (passage.text,),
            passage.content,
            scene.rarity(passage.content) + scene.lot(f"day/{passage.number}"),
        )


def _day(time: str | None) -> datetime | None:
    return None if time is None else moment(time[:10])


def _telling(scene: Scene, passage: Statement) -> bool:
    return (
        stands_alone(passage, shortest=7)
        and not is_answer(passage)
        and len(passage.content) >= FEWEST_TERMS
        and bool(scene.spans[passage.number])
        and not any(twins(passage, scene.index, frozenset()))
    )


def _forms(time: datetime) -> tuple[str, ...]:
    """A day as people write it: 2025-03-01, March 1, 2025, 1 March 2025."""
    month = MONTHS[time.month - 1]
    return time.strftime("%Y-%m-%d"), f"{month} {time.day}, {time.year}", f"{time.day} {month} {time.year}"
