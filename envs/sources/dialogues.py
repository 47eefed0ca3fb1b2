"""Seeded dialogues of a user with an assistant over months, of any length: who they are, whom they know, what changes.

In each session the user tells a few things, among small talk that names the same things and that nobody asks about.
Every question has one right answer by construction, and names the chunks that it follows from; for what was never told
(`unanswerable`) that is the one which introduces the person it is about, and makes it sound answerable. Names, values,
and the phrasings of what is told and asked are others in `split: train` than in `split: eval`.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from pydantic import Field

from envs.building.chunking import cut
from envs.building.dialogue import ABSTAIN, Turn, session
from envs.building.source import Source
from envs.building.splitting import Split
from envs.building.talk import (
    ADJECTIVES,
    ASK_COUNT,
    ASK_DAYS,
    ASK_HOP,
    ASK_ORDER,
    ASK_RELATION,
    ASK_WHEN,
    ASK_WHO,
    ATTRIBUTES,
    CHATTER,
    EVENTS,
    INTRODUCTIONS,
    NAMES,
    NOUNS,
    RELATIONS,
    REPLIES,
    VENUES,
    Attribute,
    phrasings,
    values,
)
from envs.stream import Chunk, Question, Stream

USER = "User"
_WORDS = {attribute.key: attribute.values for attribute in ATTRIBUTES}


@dataclass(frozen=True)
class _Told:
    """A value that was told: what, in which turn, in which words."""

    value: str
    turn: str
    text: str


@dataclass
class _Person:
    name: str
    relation: str
    turn: str
    text: str
    facts: dict[str, _Told] = field(default_factory=dict)


@dataclass(frozen=True)
class _Outing:
    place: str
    person: str
    day: date
    turn: str
    text: str


@dataclass(frozen=True)
class _Asked:
    kind: str
    text: str
    answers: tuple[str, ...]
    metric: str
    turns: tuple[str, ...]
    support: str
    """The sentence that answers it, where one does."""


class _World:
    """What is true, and where it was told."""

    def __init__(self, rng: random.Random, split: Split | None, people: int) -> None:
        self.rng = rng
        self.split = split
        self.people: dict[str, _Person] = {}
        self.mine: dict[str, list[_Told]] = {}
        self.outings: list[_Outing] = []
        self.notes: dict[str, dict[str, Any]] = {}
        names = values(NAMES, split)
        self._names = rng.sample(names, min(people, len(names)))
        self._relations = RELATIONS * (1 + people // len(RELATIONS))
        self._pets = values(_WORDS["pet"], split)
        rng.shuffle(self._pets)
        signs = [f"{a} {n}" for a in values(ADJECTIVES, split) for n in values(NOUNS, split)]
        places = [f"{sign} {venue}" for sign in signs for venue in VENUES]
        self._places = rng.sample(places, len(places))

    def say(self, options: tuple[str, ...], **words: str) -> str:
        text = self.rng.choice(phrasings(options, self.split)).format(**words)
        return text[0].upper() + text[1:]

    def tell(self, turn: str, day: date, changes: float) -> str | None:
        """Something new, in the user's words; None where there is nothing left to tell."""
        ways = [self._introduce, self._theirs, self._outing, self._mine]
        self.rng.shuffle(ways)
        if self.rng.random() < changes:
            ways.insert(0, self._change)
        for way in ways:
            if (text := way(turn, day)) is not None:
                return text
        return None

    def _note(self, turn: str, text: str, store: str, replaces: str | None = None) -> str:
        self.notes[turn] = {"text": text, "store": store, "replaces": replaces}
        return text

    def _introduce(self, turn: str, day: date) -> str | None:
        if len(self.people) == len(self._names):
            return None
        name, relation = self._names[len(self.people)], self._relations[len(self.people)]
        text = self.say(INTRODUCTIONS, n=name, r=relation)
        self.people[name] = _Person(name, relation, turn, text)
        return self._note(turn, text, "semantic")

    def _theirs(self, turn: str, day: date) -> str | None:
        able = [
            (person, attribute)
            for person in self.people.values()
            for attribute in ATTRIBUTES
            if attribute.theirs and attribute.key not in person.facts and (attribute.key != "pet" or self._pets)
            # Something must be left that was never told of anybody.
            and len(person.facts) < 2
        ]  # fmt: skip
        if not able:
            return None
        person, attribute = self.rng.choice(able)
        value = self._pets.pop() if attribute.key == "pet" else self._value(attribute)
        text = self.say(attribute.theirs, v=value, p=f"my {person.relation} {person.name}")
        person.facts[attribute.key] = _Told(value, turn, text)
        return self._note(turn, text, "semantic")

    def _mine(self, turn: str, day: date) -> str | None:
        able = [attribute for attribute in ATTRIBUTES if attribute.key not in self.mine]
        if not able:
            return None
        attribute = self.rng.choice(able)
        if attribute.key == "pet" and not self._pets:
            return None
        value = self._pets.pop() if attribute.key == "pet" else self._value(attribute)
        text = self.say(attribute.mine, v=value)
        self.mine[attribute.key] = [_Told(value, turn, text)]
        return self._note(turn, text, "semantic")

    def _change(self, turn: str, day: date) -> str | None:
        able = [attribute for attribute in ATTRIBUTES if attribute.changed and attribute.key in self.mine]
        if not able:
            return None
        attribute = self.rng.choice(able)
        told = self.mine[attribute.key]
        text = self.say(attribute.changed, v=(value := self._value(attribute, told[-1].value)))
        before = told[-1].text
        told.append(_Told(value, turn, text))
        return self._note(turn, text, "semantic", before)

    def _outing(self, turn: str, day: date) -> str | None:
        if not self.people or not self._places:
            return None
        place, person = self._places.pop(), self.rng.choice(list(self.people))
        text = self.say(EVENTS, v=place, n=person)
        self.outings.append(_Outing(place, person, day, turn, text))
        return self._note(turn, text, "episodic")

    def _value(self, attribute: Attribute, other_than: str = "") -> str:
        return self.rng.choice([value for value in values(attribute.values, self.split) if value != other_than])

    def chatter(self) -> tuple[str, str]:
        asked, answered = self.rng.choice(CHATTER)
        words = {"city": "home", "job": "job", "pet": "pet", "food": "food", "sport": "sport"}
        given = {word: self.rng.choice(values(_WORDS[key], self.split)) for word, key in words.items()}
        return asked.format(**given), answered

    # What can be asked in the end --------------------------------------------------------------------------------

    def questions(self, metric: str) -> Iterator[_Asked]:
        yield from self._about_me(metric)
        yield from self._about_others(metric)
        yield from self._about_outings(metric)

    def _about_me(self, metric: str) -> Iterator[_Asked]:
        for attribute in ATTRIBUTES:
            told = self.mine.get(attribute.key, [])
            if not told:
                continue
            kind = "latest" if len(told) > 1 else attribute.kind
            now = told[-1]
            yield _Asked(kind, self.say(attribute.ask), (now.value,), metric, (now.turn,), now.text)
            if len(told) > 1:
                turns = (told[-2].turn, now.turn)
                yield _Asked("previous", self.say(attribute.before), (told[-2].value,), metric, turns, told[-2].text)

    def _about_others(self, metric: str) -> Iterator[_Asked]:
        for person in self.people.values():
            name = person.name
            relation = self.say(ASK_RELATION, n=name)
            yield _Asked("relation", relation, (person.relation,), metric, (person.turn,), person.text)
            for attribute in ATTRIBUTES:
                if not attribute.theirs:
                    continue
                text = self.say(attribute.ask_theirs, n=name)
                told = person.facts.get(attribute.key)
                if told is None:
                    yield _Asked("unanswerable", text, ABSTAIN, "abstention", (person.turn,), "")
                else:
                    yield _Asked("fact", text, (told.value,), metric, (told.turn,), told.text)
            if "pet" in person.facts and "home" in person.facts:
                pet, home = person.facts["pet"], person.facts["home"]
                text = self.say(ASK_HOP, v=pet.value)
                yield _Asked("multi-hop", text, (home.value,), metric, (pet.turn, home.turn), home.text)

    def _about_outings(self, metric: str) -> Iterator[_Asked]:
        by_person: dict[str, list[_Outing]] = {}
        for outing in self.outings:
            by_person.setdefault(outing.person, []).append(outing)
            turns = (outing.turn,)
            text = self.say(ASK_WHEN, v=outing.place)
            yield _Asked("temporal", text, (outing.day.isoformat(),), metric, turns, outing.text)
            yield _Asked("who", self.say(ASK_WHO, v=outing.place), (outing.person,), metric, turns, outing.text)
        for person, some in by_person.items():
            all_of_them = tuple(outing.turn for outing in some)
            yield _Asked("count", self.say(ASK_COUNT, n=person), (str(len(some)),), "exact_match", all_of_them, "")
        for early, late in itertools.pairwise(self.outings):
            days = (late.day - early.day).days
            if not days:
                continue
            both = (early.turn, late.turn)
            text = self.say(ASK_DAYS, v=early.place, w=late.place)
            yield _Asked("days-between", text, (str(days),), "exact_match", both, "")
            first, second = (early, late) if (swap := self.rng.random() < 0.5) else (late, early)
            text = f"{self.say(ASK_ORDER)} A: the {first.place}. B: the {second.place}. Answer with the letter alone."
            yield _Asked("order", text, ("A" if swap else "B",), "choice", both, "")


def read(
    seed: int = 0,
    count: int | None = Field(None, ge=0),
    split: Split | None = None,
    sessions: int = Field(24, ge=1),
    turns: int = Field(6, ge=1),
    chatter: float = Field(0.6, ge=0, lt=1),
    changes: float = Field(0.2, ge=0, le=1),
    people: int = Field(8, ge=1),
    questions: int = Field(24, ge=1),
    chunk_tokens: int = Field(256, ge=1),
    metric: str = "exact_match",
) -> Iterator[Stream]:
    """Streams without end, or `count` of them; stream k does not depend on how many are taken.

    Args:
        split: its phrasings, names and values; None: all.
        sessions: sessions of a stream, some days apart; it grows with them without bound (some 160 tokens each).
        turns: what the user says in a session; the assistant answers each.
        chatter: share of it that nobody asks about. Where nothing is left to tell, chatter takes its place.
        changes: share of the rest that replaces something told before.
        people: whom the user knows, at most as many as there are names.
        questions: at most so many, drawn so that every kind that can be asked comes about as often.
        chunk_tokens: longest chunk; a session may be several.
        metric: of questions whose answer is a value; `substring` suits the lexical reader.
    """
    for index in itertools.count() if count is None else range(count):
        rng = random.Random(f"dialogues/{split}/{seed}/{index}")
        world = _World(rng, split, people)
        day = date(2023, 1, 2) + timedelta(days=rng.randrange(300))
        units = []
        for number in range(sessions):
            said: list[Turn] = []
            for place in range(turns):
                key = f"{number}:{place}"
                told = None if rng.random() < chatter else world.tell(key, day, changes)
                mine, reply = (told, rng.choice(phrasings(REPLIES, split))) if told else world.chatter()
                said += [Turn(USER, mine, key), Turn("Assistant", reply)]
            units += session(f"s{number}", said, day.isoformat())
            day += timedelta(days=rng.randint(1, 9))
        pieces = cut(units, chunk_tokens)
        where = {key: place for place, piece in enumerate(pieces) for key in piece.keys}
        asked = _drawn(list(world.questions(metric)), questions, rng)
        if not asked:
            continue
        yield Stream(
            id=f"dialogues-{split or 'all'}-{seed}-{index}",
            source="dialogues",
            chunks=tuple(Chunk(text=piece.text, time=piece.time) for piece in pieces),
            questions=tuple(
                Question(
                    id=f"q{number}",
                    text=one.text,
                    answers=one.answers,
                    metric=one.metric,
                    kind=one.kind,
                    evidence=tuple(sorted({where[turn] for turn in one.turns})),
                )
                for number, one in enumerate(asked)
            ),
            metadata={
                "notes": [
                    [world.notes[key] for key in sorted(piece.keys, key=_place) if key in world.notes]
                    for piece in pieces
                ],
                "support": {f"q{number}": one.support for number, one in enumerate(asked)},
            },
        )


def _place(key: str) -> tuple[int, int]:
    """The order of turns; a session's own key comes first."""
    number, _, turn = key.removeprefix("s").partition(":")
    return int(number), int(turn or -1)


def _drawn(pool: list[_Asked], most: int, rng: random.Random) -> list[_Asked]:
    """Kind by kind in turn, so that rare kinds are not crowded out."""
    rng.shuffle(pool)
    kinds: dict[str, list[_Asked]] = {}
    for one in pool:
        kinds.setdefault(one.kind, []).append(one)
    turns = itertools.zip_longest(*(kinds[kind] for kind in sorted(kinds)))
    return [one for turn in turns for one in turn if one is not None][:most]


SOURCE = Source(
    name="dialogues",
    read=read,
    about="a user's months with an assistant: people, outings, changes, small talk; any length, without end",
    licence="Apache-2.0",
    kind="synthetic",
    tried="generated",
    endless=True,
)
