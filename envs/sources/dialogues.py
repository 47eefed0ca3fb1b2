"""Seeded dialogues of a user with an assistant over months, of any length: who they are, whom they know, what changes.

In each session the user tells a few things, among small talk that names the same people and things and that nobody asks
about. A long stream does not run out: names, places and pets are composed, and more people come up as it goes on.
Every question has one right answer at the stream's end, and names the chunks that it follows from; for what was never
told (`unanswerable`) that is the one which introduces the person it is about, and makes it sound answerable. Names,
values, and the phrasings of what is told, said in passing and asked are others in `split: train` than in `split: eval`;
only dates, numbers, words for relations ("sister") and the words of the `choice` frame stand in both.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from pydantic import Field

from memrl.envs.building import talk
from memrl.envs.building.chunking import cut
from memrl.envs.building.dialogue import ABSTAIN, Turn, session
from memrl.envs.building.drawing import by_turns
from memrl.envs.building.source import Source
from memrl.envs.building.splitting import Split
from memrl.envs.building.talk import ATTRIBUTES, Attribute, article, phrasings, values
from memrl.envs.stream import Chunk, Question, Stream

USER = "User"
Kind = Literal[
    "count", "days-between", "fact", "latest", "multi-hop", "order", "preference", "previous", "relation", "temporal",
    "unanswerable", "who",
]  # fmt: skip
"""Kinds of questions."""
MOST_COUNTED = 12
"""A count above this is not asked for: its evidence would be half the stream."""
PEOPLE_EVERY = 12
"""So many sessions bring up one more person than `people`."""
SPAN = 1500
"""Days that a long stream covers: a life does not grow with it, there are more sessions a day."""
MONTHS = "January February March April May June July August September October November December".split()  # noqa: SIM905


@dataclass(frozen=True)
class _Told:
    """A value that was told: what, in which turn."""

    value: str
    turn: str


@dataclass
class _Person:
    name: str
    relation: str
    turn: str
    facts: dict[str, list[_Told]] = field(default_factory=dict)
    """By attribute, the last value last."""


@dataclass(frozen=True)
class _Outing:
    place: str
    city: str
    person: str
    day: date
    turn: str


@dataclass(frozen=True)
class _Asked:
    kind: str
    text: str
    answers: tuple[str, ...]
    metric: str
    turns: tuple[str, ...]
    support: str
    """The turn whose sentence answers it, where one does."""


class _World:
    """The facts that are true, and where they were told."""

    def __init__(self, rng: random.Random, split: Split | None, people: int) -> None:
        self.rng = rng
        self.split = split
        self.limit = float(people)
        self.people: list[_Person] = []
        self.mine: dict[str, list[_Told]] = {}
        self.outings: list[_Outing] = []
        self.notes: dict[str, dict[str, Any]] = {}
        self._open: list[_Person] = []
        """Those of whom there is something left to tell."""
        self._changeable: list[tuple[_Person, Attribute]] = []
        self._used: set[str] = set()

    def say(self, options: tuple[str, ...], **words: str) -> str:
        text = self.rng.choice(phrasings(options, self.split)).format(**words)
        return text[0].upper() + text[1:]

    def tell(self, turn: str, day: date, changes: float) -> str | None:
        """Something new, in the user's words; None where even a new name cannot be composed."""
        ways = [self._introduce, self._theirs, self._outing, self._mine]
        self.rng.shuffle(ways)
        if self.rng.random() < changes:
            ways.insert(0, self._change)
        for way in ways:
            if (text := way(turn, day)) is not None:
                return text
        self.limit = len(self.people) + 1
        return self._introduce(turn, day)

    def _note(self, turn: str, text: str, store: str, replaces: str | None = None) -> str:
        self.notes[turn] = {"text": text, "store": store, "replaces": replaces}
        return text

    def _introduce(self, turn: str, day: date) -> str | None:
        if len(self.people) >= self.limit:
            return None
        known = len(self.people)
        relation, sort = talk.FAMILY[known] if known < len(talk.FAMILY) else (self.rng.choice(talk.OTHERS), "")
        name = self._name(sort)
        if name is None:
            return None
        text = self.say(talk.INTRODUCTIONS, n=name, x=article(relation))
        person = _Person(name, relation, turn)
        self.people.append(person)
        self._open.append(person)
        return self._note(turn, text, "semantic")

    def _theirs(self, turn: str, day: date) -> str | None:
        if not self._open:
            return None
        place = self.rng.randrange(len(self._open))
        person = self._open[place]
        able = [attribute for attribute in ATTRIBUTES if attribute.theirs and attribute.key not in person.facts]
        attribute = self.rng.choice(able)
        value = self._value(attribute)
        if value is None:
            return None
        text = self.say(attribute.theirs, v=value, a=article(value), p=f"my {person.relation} {person.name}")
        person.facts[attribute.key] = [_Told(value, turn)]
        if attribute.changed_theirs:
            self._changeable.append((person, attribute))
        if len(able) == 3:  # two are left that were never told, to ask in vain
            self._open[place] = self._open[-1]
            self._open.pop()
        return self._note(turn, text, "semantic")

    def _mine(self, turn: str, day: date) -> str | None:
        able = [attribute for attribute in ATTRIBUTES if attribute.key not in self.mine]
        if not able:
            return None
        attribute = self.rng.choice(able)
        value = self._value(attribute)
        if value is None:
            return None
        text = self.say(attribute.mine, v=value, a=article(value))
        self.mine[attribute.key] = [_Told(value, turn)]
        return self._note(turn, text, "semantic")

    def _change(self, turn: str, day: date) -> str | None:
        able = [attribute for attribute in ATTRIBUTES if attribute.changed and attribute.key in self.mine]
        # The more people there are, the fewer of the changes are the user's.
        theirs = len(self._changeable)
        if theirs and self.rng.random() * (theirs + 4 * len(able)) < theirs:
            person, attribute = self.rng.choice(self._changeable)
            told, options, whose = (
                person.facts[attribute.key],
                attribute.changed_theirs,
                f"my {person.relation} {person.name}",
            )
        elif able:
            attribute = self.rng.choice(able)
            told, options, whose = self.mine[attribute.key], attribute.changed, ""
        else:
            return None
        value = self._value(attribute, told[-1].value)
        if value is None:
            return None
        text = self.say(options, v=value, a=article(value), p=whose)
        before = told[-1]
        told.append(_Told(value, turn))
        return self._note(turn, text, "semantic", before.turn)

    def _outing(self, turn: str, day: date) -> str | None:
        if not self.people:
            return None
        choose, split = self.rng.choice, self.split
        city = choose(values(talk.CITIES, split))
        place = self._fresh(
            lambda: (
                " ".join(choose(values(words, split)) for words in (talk.ADJECTIVES, talk.NOUNS, talk.VENUES))
                + f" in {city}"
            )
        )
        if place is None:
            return None
        person = choose(self.people).name
        text = self.say(talk.EVENTS, v=place, n=person)
        self.outings.append(_Outing(place, city, person, day, turn))
        return self._note(turn, text, "episodic")

    def _fresh(self, compose: Callable[[], str]) -> str | None:
        """Return one not yet used in this stream; None where most were."""
        for _ in range(50):
            if (words := compose()) not in self._used:
                self._used.add(words)
                return words
        return None

    def _name(self, sort: str) -> str | None:
        first = {"f": talk.WOMEN, "m": talk.MEN}.get(sort, talk.WOMEN + talk.MEN)
        return self._fresh(
            lambda: " ".join(self.rng.choice(values(words, self.split)) for words in (first, talk.SURNAMES))
        )

    def _value(self, attribute: Attribute, other_than: str = "") -> str | None:
        if attribute.key == "name":
            return self._name("")
        if attribute.key == "birthday":
            return f"{self.rng.randint(1, 28)} {self.rng.choice(MONTHS)}"
        if attribute.key == "pet":  # one owner each
            return self._fresh(self._pet)
        return self.rng.choice([value for value in values(attribute.values, self.split) if value != other_than])

    def _pet(self) -> str:
        return " ".join(self.rng.choice(values(words, self.split)) for words in (talk.COATS, talk.PETS))

    def chatter(self) -> tuple[str, str]:
        some = [both for both in phrasings(talk.CHATTER, self.split) if self.people or "{n}" not in both[0]]
        asked, answered = self.rng.choice(some)
        lists = {
            "city": talk.CITIES, "food": talk.FOODS, "sport": talk.SPORTS, "allergen": talk.ALLERGENS,
            "drink": talk.DRINKS, "instrument": talk.INSTRUMENTS, "venue": talk.VENUES,
        }  # fmt: skip
        given = {word: self.rng.choice(values(words, self.split)) for word, words in lists.items()}
        given["job"] = article(self.rng.choice(values(talk.JOBS, self.split)))
        given["pet"] = article(self._pet())
        given["n"] = self.rng.choice(self.people).name if self.people else ""
        text = asked.format(**given)
        return text[0].upper() + text[1:], answered

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
            yield _Asked(kind, self.say(attribute.ask), (now.value,), metric, (now.turn,), now.turn)
            if len(told) > 1:
                turns = (told[-2].turn, now.turn)
                yield _Asked("previous", self.say(attribute.before), (told[-2].value,), metric, turns, told[-2].turn)

    def _about_others(self, metric: str) -> Iterator[_Asked]:
        for person in self.people:
            name = person.name
            relation = self.say(talk.ASK_RELATION, n=name)
            yield _Asked("relation", relation, (person.relation,), metric, (person.turn,), person.turn)
            for attribute in ATTRIBUTES:
                if not attribute.theirs:
                    continue
                text = self.say(attribute.ask_theirs, n=name)
                told = person.facts.get(attribute.key)
                if told is None:
                    yield _Asked("unanswerable", text, ABSTAIN, "abstention", (person.turn,), "")
                else:
                    kind = "latest" if len(told) > 1 else "fact"
                    yield _Asked(kind, text, (told[-1].value,), metric, (told[-1].turn,), told[-1].turn)
            for key, options in (("home", talk.ASK_HOP), ("job", talk.ASK_HOP_JOB)):
                if "pet" in person.facts and key in person.facts:
                    pet, value = person.facts["pet"][-1], person.facts[key][-1]
                    text = self.say(options, v=pet.value)
                    yield _Asked("multi-hop", text, (value.value,), metric, (pet.turn, value.turn), value.turn)

    def _about_outings(self, metric: str) -> Iterator[_Asked]:
        together: dict[tuple[str, str], list[str]] = {}
        for outing in self.outings:
            for city in ("", outing.city):
                together.setdefault((outing.person, city), []).append(outing.turn)
            turns = (outing.turn,)
            text = self.say(talk.ASK_WHEN, v=outing.place)
            yield _Asked("temporal", text, (outing.day.isoformat(),), metric, turns, outing.turn)
            text = self.say(talk.ASK_WHO, v=outing.place)
            yield _Asked("who", text, (outing.person,), metric, turns, outing.turn)
        for (person, city), some in together.items():
            # Once in a city is no counting.
            if len(some) <= MOST_COUNTED and (not city or len(some) > 1):
                text = self.say(talk.ASK_COUNT_THERE if city else talk.ASK_COUNT, n=person, c=city)
                yield _Asked("count", text, (str(len(some)),), "exact_match", tuple(some), "")
        for pair in itertools.pairwise(self.rng.sample(self.outings, len(self.outings))):
            early, late = sorted(pair, key=lambda outing: outing.day)
            days = (late.day - early.day).days
            if not days:
                continue
            both = (early.turn, late.turn)
            text = self.say(talk.ASK_DAYS, v=early.place, w=late.place)
            yield _Asked("days-between", text, (str(days),), "exact_match", both, "")
            first, second = (early, late) if (swap := self.rng.random() < 0.5) else (late, early)
            text = (
                f"{self.say(talk.ASK_ORDER)} A: the {first.place}. B: the {second.place}. Answer with the letter alone."
            )
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
    kinds: list[Kind] | None = None,
) -> Iterator[Stream]:
    """Streams without end, or `count` of them; stream k does not depend on how many are taken.

    Args:
        split: its phrasings, names and values; None: all.
        sessions: sessions of a stream, some days apart, or several a day where there are many; it grows with them
            without bound (some 150 tokens each).
        turns: what the user says in a session; the assistant answers each.
        chatter: share of it that nobody asks about. Where nothing is left to tell, chatter takes its place.
        changes: share of the rest that replaces something told before.
        people: whom the user comes to know freely; in long streams one more comes up every dozen sessions.
        questions: at most so many, drawn so that every kind that can be asked comes about as often.
        chunk_tokens: longest chunk; a session may be several.
        metric: of questions whose answer is a value; `substring` suits the lexical reader.
        kinds: of questions that are asked; None: all. The lexical reader, which answers in whole items, can neither
            count nor choose, nor say that it does not know.
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
                # The first turn tells something, so that there is something to ask.
                first = number == place == 0
                told = None if not first and rng.random() < chatter else world.tell(key, day, changes)
                if told is None:
                    mine, reply = world.chatter()
                else:
                    opener = "" if rng.random() < 0.6 else rng.choice(phrasings(talk.OPENERS, split)) + " "
                    mine, reply = opener + told, rng.choice(phrasings(talk.REPLIES, split))
                    if not opener:  # the sentence as it stands in the chunk, with who says it
                        world.notes[key]["text"] = f"{USER}: {told}"
                said += [Turn(USER, mine, key), Turn("Assistant", reply)]
            units += session(f"s{number}", said, day.isoformat())
            day += timedelta(days=_pause(rng, sessions))
            world.limit += 1 / PEOPLE_EVERY
        pieces = cut(units, chunk_tokens)
        where = {key: place for place, piece in enumerate(pieces) for key in piece.keys}
        for note in world.notes.values():
            if note["replaces"] is not None:
                note["replaces"] = world.notes[note["replaces"]]["text"]
        pool = [one for one in world.questions(metric) if kinds is None or one.kind in kinds]
        asked = by_turns(pool, questions, rng)
        if not asked:  # of a short stream, none of these kinds
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
                "support": {
                    f"q{number}": world.notes[one.support]["text"] if one.support else ""
                    for number, one in enumerate(asked)
                },
            },
        )


def _pause(rng: random.Random, sessions: int) -> int:
    """Days to the next session, five on average; in a long stream, none more often than not."""
    mean = min(5.0, SPAN / sessions)
    return rng.randint(1, round(2 * mean) - 1) if mean >= 1 else int(rng.random() < mean)


def _place(key: str) -> tuple[int, int]:
    """The order of turns; a session's own key comes first."""
    number, _, turn = key.removeprefix("s").partition(":")
    return int(number), int(turn or -1)


SOURCE = Source(
    name="dialogues",
    read=read,
    about="a user's months with an assistant: people, outings, changes, small talk; any length, without end",
    licence="Apache-2.0",
    kind="synthetic",
    tried="generated",
    endless=True,
)
