"""Questions about which of two passages came first: they can be asked of any text whose order means something."""

from __future__ import annotations

import random

from envs.building.chunking import Unit
from envs.building.documents import Ask

QUESTION = "Which of these two came first? Answer with A or B.\nA: {a}\nB: {b}"


def order_asks(document_key: str, units: list[Unit], count: int, seed: int) -> list[Ask]:
    """Up to `count` questions, each about two units of a document that differ in text and have keys."""
    places = [place for place, unit in enumerate(units) if unit.keys]
    pairs = [(first, second) for first in places for second in places if first < second]
    rng = random.Random(f"order/{seed}/{document_key}")
    asks = []
    for first, second in rng.sample(pairs, min(count, len(pairs))):
        one, two = units[first], units[second]
        if one.text == two.text:
            continue
        answer = rng.choice("AB")
        a, b = (one, two) if answer == "A" else (two, one)
        asks.append(
            Ask(
                f"{document_key}-order-{first}-{second}",
                QUESTION.format(a=a.text, b=b.text),
                (answer,),
                "choice",
                (one.keys[0], two.keys[0]),
                "order",
            )
        )
    return asks
