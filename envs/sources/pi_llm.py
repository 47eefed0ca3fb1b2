"""PI-LLM: keys whose values are updated again and again, where only the last one counts (arXiv 2506.08184).

Streams are drawn from a published dictionary of 46 categories with 400 words each: a key is a category, its values are
words of it. Older values interfere; how many there are is how hard it is.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from itertools import count as numbers
from pathlib import Path
from typing import Annotated

from pydantic import Field, RootModel

from memrl.envs.building.locating import by_fields
from memrl.envs.building.raw import open_raw, parse_json
from memrl.envs.building.source import Source
from memrl.envs.building.splitting import Split, in_split
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream

QUESTION = "What is the last value of {key}?"

Positive = Annotated[int, Field(ge=1)]


class _Categories(RootModel[dict[str, list[str]]]):
    """The file: words by category."""


def read(
    path: Path,
    seed: int = 0,
    count: Annotated[int, Field(ge=0)] | None = None,
    split: Split | None = None,
    eval_share: Annotated[float, Field(ge=0, le=1)] = 0.2,
    keys: Positive = 8,
    updates: Positive = 8,
    questions: Positive | None = None,
    chunk_updates: Positive = 16,
) -> Iterator[Stream]:
    """Streams without end, or `count` of them.

    Args:
        path: the dictionary, JSON, plain or .gz.
        seed: same seed, same streams; stream k does not depend on how many are taken.
        count: how many; None: without end.
        split: draw values from the words of this split only; None: from all.
        eval_share: about this share of the words belongs to the eval split.
        keys: categories a stream, each asked about once.
        updates: values each key takes, one after the other, no word twice.
        questions: at most so many a stream; None: one a key.
        chunk_updates: updates a chunk, of all keys mixed.

    Raises:
        DataError: the file is missing or damaged, or has too few categories of enough words.
    """
    with open_raw(path) as file:
        categories = parse_json(_Categories, file.read(), str(path)).root
    words = {
        category: sorted({word.strip() for word in some if word.strip() and in_split(_same(word), split, eval_share)})
        for category, some in sorted(categories.items())
    }
    able = {category: some for category, some in words.items() if len(some) >= updates}
    if len(able) < keys:
        raise DataError(
            f"{path} has {len(able)} categories with {updates} words of split={split!r}, eval_share={eval_share:g}; "
            f"keys={keys} needs {keys}. Lower keys or updates, or change eval_share."
        )
    for index in numbers() if count is None else range(count):
        rng = random.Random(f"pi_llm/{seed}/{index}")
        chosen = {category: rng.sample(able[category], updates) for category in rng.sample(list(able), keys)}
        yield _stream(f"pi_llm-{split or 'all'}-{seed}-{index}", chosen, rng, questions or keys, chunk_updates)


def _same(word: str) -> str:
    """Equal for words that an answer could not tell apart."""
    return " ".join(word.casefold().split())


def _stream(name: str, chosen: dict[str, list[str]], rng: random.Random, questions: int, chunk_updates: int) -> Stream:
    order = [category for category, values in chosen.items() for _ in values]
    rng.shuffle(order)
    left = {category: iter(values) for category, values in chosen.items()}
    lines = [f"{category}: {next(left[category])}" for category in order]
    last = {category: place // chunk_updates for place, category in enumerate(order)}
    asked = rng.sample(list(chosen), min(questions, len(chosen)))
    return Stream(
        id=name,
        source="pi_llm",
        chunks=tuple(
            Chunk(text="\n".join(lines[start : start + chunk_updates])) for start in range(0, len(lines), chunk_updates)
        ),
        questions=tuple(
            Question(
                id=f"{name}-{number}",
                text=QUESTION.format(key=category),
                answers=(chosen[category][-1],),
                metric="exact_match",
                kind="latest",
                evidence=(last[category],),
            )
            for number, category in enumerate(asked)
        ),
        metadata={"values": chosen},
    )


SOURCE = Source(
    name="pi_llm",
    read=read,
    about="the last of many values that each of several keys took, without end",
    home="https://github.com/zhuangziGiantfish/Unable-to-Forget",
    licence="MIT",
    kind="synthetic",
    extractive=True,
    tried="real",
    endless=True,
    locate=by_fields("dict_category_*.json"),  # known by name: the file is one object, of no fixed fields
    versions={"53386c85a198bed08a1171909de3bc1c6f424ddd3acee1fc4c63448468095253": "9b0b2cd921"},
)
