"""The source `moves`: people who move from town to town; only where they live last is asked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count as numbers

from memrl.envs.building.source import Source
from memrl.envs.stream import Chunk, Question, Stream

NAMES = ["Ada", "Ben", "Cora", "Dan", "Eva", "Finn", "Gina", "Hugo"]
TOWNS = ["Oslo", "Paris", "Rome", "Berlin", "Madrid", "Lisbon", "Vienna", "Prague", "Dublin", "Athens"]


def read(seed: int = 0, count: int | None = None, people: int = 3, chunks: int = 4) -> Iterator[Stream]:
    """Yield streams without end, or `count` of them.

    Args:
        seed: same seed, same streams. Every source of a run needs it: each pass asks for other streams by it.
        people: how many there are in a stream.
        chunks: pieces of text a stream; in each, one of them moves.
    """
    for number in numbers() if count is None else range(count):
        rng = random.Random(f"moves/{seed}/{number}")
        names = rng.sample(NAMES, people)
        homes: dict[str, tuple[str, int]] = {}
        texts = []
        for place in range(chunks):
            name = names[place % people]
            homes[name] = (rng.choice(TOWNS), place)
            texts.append(f"{name} lives in {homes[name][0]}.")
        questions = tuple(
            Question(
                id=name,
                text=f"Where does {name} live?",
                answers=(town,),
                metric="substring",
                kind="latest",
                evidence=(place,),
            )
            for name, (town, place) in homes.items()
        )
        shown = tuple(Chunk(text=text, time=f"May {day}") for day, text in enumerate(texts, start=1))
        yield Stream(id=f"moves-{seed}-{number}", source="moves", chunks=shown, questions=questions)


MOVES = Source(
    name="moves",
    read=read,
    about="people who move; where they live last is asked",
    kind="synthetic",
    tried="generated",
    endless=True,
    splits=(),
)
