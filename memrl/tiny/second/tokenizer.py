"""The tokenizer of the second edition: as the first, with ids up to 512 a store and words of other designs' tools."""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

import itertools
import re
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from memrl.envs.building import lives
from memrl.envs.dialects.hermes import HermesDialect
from memrl.frozen import reader
from memrl.tiny.second.initialise import Marked
from memrl.tiny.tokenizer import QUESTION, START, TEXT, fixed_text, item_ids, train_tokenizer

DIALECT = HermesDialect(arguments_first=True)
"""How the model has learned to write calls: it decides what becomes of a sentence behind it."""
IDS = 512
"""Item ids of each store that are one token; later ones are spelt."""
SPARE = (
    "link unlink supersede triple page search find note keyword tag index level topic trace summary procedure text "
    "passage table select insert update delete from where merge valid until since guard domain"
).split()
"""Words of other designs' tools, which the model does not know, but can be taught."""
ASKED = {
    "lives": "live", "works": "work", "owns": "own", "likes": "like", "plays": "play", "speaks": "speak",
    "visited": "visit", "bought": "buy", "met": "meet", "lost": "lose", "earned": "earn", "drinks": "drink",
}  # fmt: skip
"""How a sentence says what is said of somebody, and how a question does."""
OTHER_VERBS = (*lives.MOODS, *lives.HAPPENINGS, "looked", "moved", "talked", "was")
"""What is said by the way."""


def words() -> list[str]:
    """Every word that the synthetic source can write, the numbers in headings, and spare ones."""
    relations = (*lives.FACTS, *lives.EVENTS, lives.COUNTED, lives.HABIT)
    told = [
        text
        for relation in relations
        for text in (
            relation.told, relation.changed, relation.corrected, relation.ended,
            relation.ask, relation.who, relation.was,
        )
        if text
    ]  # fmt: skip
    text = " ".join([*names(), *values(), *told, *lives.EXCEPTION, *lives.OCCASIONS, *lives.CHATTER, *SPARE])
    for part in (lives.QUALITIES, lives.HAPPENINGS, lives.MOODS, lives.PHRASES, lives.MONTHS, (reader.UNKNOWN,)):
        text = f"{text} {' '.join(part)}"
    plain = re.sub(r"{[a-z]+}|[.?,]", " ", text).split()
    return list(dict.fromkeys([*plain, *(str(number) for number in range(lives.MOST + 1))]))


def names() -> list[str]:
    """Return the words that name people."""
    return list(lives.NAMES)


def values() -> list[str]:
    """Return the words that are said of people."""
    told = (lives.CITIES, lives.JOBS, lives.PETS, lives.FOODS, lives.MUSIC, lives.TONGUES, lives.PLACES, lives.THINGS)
    return list(dict.fromkeys([*itertools.chain.from_iterable(told), *lives.DRINKS]))


def marked(tokenizer: PreTrainedTokenizerFast) -> Marked:
    """Return what the model is told of its tokens."""

    def one(text: str) -> int:
        [token] = tokenizer.encode(text, add_special_tokens=False)
        return int(token)

    said = list(ASKED.items()) + [(verb, verb) for verb in dict.fromkeys(OTHER_VERBS)]
    verbs = {one(form): number for number, forms in enumerate(said) for form in forms}
    memory = ["# Memory\n", "# Memory ("]
    [opening] = {
        text for text in fixed_text(DIALECT, IDS) if text.startswith("<tool_call>") and text.endswith('"content": "')
    }
    return Marked(
        names=[one(word) for word in names()],
        verbs=verbs,
        values=[one(word) for word in values()],
        items=[one(name) for name in item_ids(IDS)],
        headings=[one(text) for text in (*memory, TEXT, QUESTION, opening)],
        memory=[one(text) for text in memory],
        months=[one(word) for word in lives.MONTHS],
        days=[one(str(day)) for day in range(1, 29)],
        start=tokenizer.convert_tokens_to_ids(START),
    )


def build_tokenizer(out: Path) -> PreTrainedTokenizerFast:
    """Train the BPE and save it to `out` as an ordinary tokenizer folder."""
    return train_tokenizer(out, words(), fixed_text(DIALECT, IDS))
