"""Seeded, unlimited streams in plain English about made-up people: what is worth keeping, among what is not.

Each chunk is a few sentences of one day: facts, facts that change an earlier one, events, and chatter that nobody
asks about. Chatter names the same people and things, so that no single word tells it from a fact. Each question knows
the chunk that answers it; `metadata["notes"]` lists each chunk's noteworthy sentences and `metadata["support"]` the
sentence that answers each question, from which a teacher can demonstrate and a test can check.
"""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream

NAMES = (
    "Ada Ben Cora Dan Eva Finn Gina Hugo Iris Jack Kira Leo Mara Nils Olga Paul Rosa Sam Tara Uma Vera Walt Yara Zoe "
    "Abel Bela Carl Dora Emil Fay Gus Hana Ivan Jane Kurt Lena Max Nora Otto Pia Ralf Sara Theo Ulla Vito Wanda Xena "
    "Yuri Zack Alma Boris Clara Dirk Elsa Felix Greta Henry Ida Jonas Klara"
).split()
CITIES = (
    "Oslo Paris Rome Berlin Madrid Lisbon Vienna Prague Dublin Athens Cairo Lima Tokyo Delhi Boston Denver Quebec "
    "Havana Geneva Naples Milan Porto Turin Ghent Leeds Bergen Malaga Tunis Kyoto Sydney"
).split()
JOBS = (
    "baker nurse pilot lawyer farmer tailor painter plumber teacher sailor butcher gardener writer dentist miner "
    "barber waiter banker driver judge chemist printer welder vet"
).split()
PETS = "cat dog parrot rabbit turtle hamster goat pony snake canary ferret lizard goose donkey frog mouse".split()
FOODS = (
    "tea coffee rice soup cheese honey bread mango grapes olives pasta salad curry fish cake lemons pears nuts beans "
    "yogurt cocoa plums figs toast"
).split()
MUSIC = "piano violin flute guitar cello harp drums trumpet banjo organ oboe tuba".split()
TONGUES = (
    "French German Dutch Greek Polish Arabic Hindi Danish Korean Turkish Czech Latin Irish Thai Malay Zulu".split()
)
PLACES = (
    "museum castle harbor market library theater garden temple stadium bridge zoo palace forest lake beach island "
    "tower circus gallery chapel mill cave farm park"
).split()
THINGS = (
    "lamp watch bicycle camera ring carpet mirror kettle wallet scarf ladder hammer radio vase coat drum basket clock "
    "chair table phone tent kite sled"
).split()
QUALITIES = (
    "old new small heavy bright quiet dusty broken green yellow purple round narrow warm cold shiny strange plain wet "
    "soft noisy empty cheap tall"
).split()
HAPPENINGS = (
    "creaked rattled leaked sparkled wobbled tipped faded squeaked dripped glowed hummed rusted cracked slipped "
    "shook vanished"
).split()
MOODS = (
    "yawned smiled sneezed laughed frowned hummed waved shrugged blinked sighed coughed nodded whistled dozed".split()
)
PHRASES = ("again", "twice", "all day", "at noon", "for hours", "once more", "before lunch", "at dawn")
MONTHS = "January February March April May June July August September October November December".split()


@dataclass(frozen=True)
class Relation:
    """A kind of fact or event: how it is told, and how it is asked about."""

    key: str
    told: str
    value: tuple[str, ...]
    ask: str
    """The question whose answer is the value (facts) or the day (events)."""
    who: str | None = None
    """The question whose answer is the person."""
    changed: str | None = None
    """How a new value is told, where the relation can change."""


FACTS = (
    Relation(
        "home", "{n} lives in {v}.", tuple(CITIES), "Where does {n} live?", "Who lives in {v}?", "{n} now lives in {v}."
    ),
    Relation(
        "job",
        "{n} works as a {v}.",
        tuple(JOBS),
        "What does {n} work as?",
        "Who works as a {v}?",
        "{n} now works as a {v}.",
    ),
    Relation(
        "pet", "{n} owns a {v}.", tuple(PETS), "Which pet does {n} own?", "Who owns a {v}?", "{n} now owns a {v}."
    ),
    Relation("taste", "{n} likes {v}.", tuple(FOODS), "What does {n} like?", "Who likes {v}?", "{n} now likes {v}."),
    Relation("music", "{n} plays the {v}.", tuple(MUSIC), "What does {n} play?", "Who plays the {v}?"),
    Relation("tongue", "{n} speaks {v}.", tuple(TONGUES), "Which language does {n} speak?", "Who speaks {v}?"),
)
EVENTS = (
    Relation("visit", "{n} visited the {v}.", tuple(PLACES), "When did {n} visit the {v}?", "Who visited the {v}?"),
    Relation("purchase", "{n} bought a {v}.", tuple(THINGS), "When did {n} buy a {v}?", "Who bought a {v}?"),
    Relation("meeting", "{n} met {v}.", tuple(NAMES), "When did {n} meet {v}?"),
    Relation("loss", "{n} lost a {v}.", tuple(THINGS), "When did {n} lose a {v}?", "Who lost a {v}?"),
)
CHATTER = (
    "The {quality} {thing} {happening} {when}.",
    "{n} {mood} {when}.",
    "{n} looked at the {quality} {thing}.",
    "The {place} was {quality} {when}.",
    "{n} {mood} near the {place}.",
    "Somebody moved the {quality} {thing}.",
    "{n} talked about {food} {when}.",
    "People in {city} talked about the {place}.",
)


@dataclass
class _World:
    """The facts that are true so far in one stream, and where they were said."""

    rng: random.Random
    people: list[str]
    facts: dict[tuple[str, str], tuple[Relation, str, int, str, int]] = field(default_factory=dict)
    """(person, relation) -> relation, value, chunk, sentence, times it was told."""
    events: list[tuple[Relation, str, str, int]] = field(default_factory=list)
    used: set[tuple[str, str]] = field(default_factory=set)
    """(relation, value) pairs told so far: a value belongs to one person, so that "who" has one answer."""

    def fact(self, chunk: int) -> dict[str, Any] | None:
        for _ in range(20):
            person, relation = self.rng.choice(self.people), self.rng.choice(FACTS)
            if (person, relation.key) not in self.facts:
                return self._tell(person, relation, relation.told, chunk, replaces=None)
        return None

    def change(self, chunk: int) -> dict[str, Any] | None:
        able = [key for key, fact in self.facts.items() if fact[0].changed and fact[2] < chunk]
        if not able:
            return None
        person, name = self.rng.choice(able)
        relation, _, _, sentence, _ = self.facts[person, name]
        assert relation.changed is not None
        return self._tell(person, relation, relation.changed, chunk, replaces=sentence)

    def _tell(
        self, person: str, relation: Relation, template: str, chunk: int, replaces: str | None
    ) -> dict[str, Any] | None:
        free = [value for value in relation.value if (relation.key, value) not in self.used]
        if not free:
            return None
        value = self.rng.choice(free)
        self.used.add((relation.key, value))
        sentence = template.format(n=person, v=value)
        told = self.facts[person, relation.key][4] + 1 if replaces else 1
        self.facts[person, relation.key] = (relation, value, chunk, sentence, told)
        return {"text": sentence, "store": "semantic", "replaces": replaces}

    def event(self, chunk: int) -> dict[str, Any] | None:
        relation = self.rng.choice(EVENTS)
        person = self.rng.choice(self.people)
        free = [value for value in relation.value if value != person and (relation.key, value) not in self.used]
        if not free:
            return None
        value = self.rng.choice(free)
        self.used.add((relation.key, value))
        self.events.append((relation, person, value, chunk))
        return {"text": relation.told.format(n=person, v=value), "store": "episodic", "replaces": None}

    def chatter(self) -> str:
        choose = self.rng.choice
        return choose(CHATTER).format(
            n=choose(self.people),
            thing=choose(THINGS),
            place=choose(PLACES),
            quality=choose(QUALITIES),
            happening=choose(HAPPENINGS),
            mood=choose(MOODS),
            when=choose(PHRASES),
            food=choose(FOODS),
            city=choose(CITIES),
        )

    def questions(self, days: list[str]) -> Iterator[tuple[str, str, str, int, str]]:
        """(text, answer, kind, evidence chunk, evidence sentence) of all that can be asked in the end."""
        for (person, _), (relation, value, chunk, sentence, told) in self.facts.items():
            kind = "latest" if told > 1 else "fact"
            yield relation.ask.format(n=person, v=value), value, kind, chunk, sentence
            if relation.who:
                yield relation.who.format(n=person, v=value), person, "who", chunk, sentence
        for relation, person, value, chunk in self.events:
            sentence = relation.told.format(n=person, v=value)
            yield relation.ask.format(n=person, v=value), days[chunk], "when", chunk, sentence
            if relation.who:
                yield relation.who.format(n=person, v=value), person, "who", chunk, sentence


def synthetic(
    *,
    seed: int = 0,
    count: int | None = None,
    chunks: int = 6,
    sentences: int = 4,
    chatter: float = 0.5,
    changes: float = 0.15,
    events: float = 0.25,
    people: int = 6,
    questions: int = 8,
    metric: str = "exact_match",
) -> Iterator[Stream]:
    """Streams without end, or `count` of them.

    Where a long stream runs out of new things to say of its `people`, chatter takes their place.

    Args:
        seed: same seed, same streams; stream k does not depend on how many are taken.
        count: how many; None: without end.
        chunks: chunks a stream.
        sentences: sentences a chunk.
        chatter: share of the sentences that nobody asks about.
        changes: share of the other sentences that replace an earlier fact.
        events: share of the other sentences that are dated events.
        people: how many people a stream is about.
        questions: at most so many questions a stream, drawn from all that can be asked.
        metric: how answers are scored; `substring` suits the lexical reader, which answers in whole items.

    Raises:
        DataError: a knob is out of range; at once, not at the first stream.
    """
    if count is not None and count < 0:
        raise DataError(f"synthetic: count must not be negative, got count={count}")
    if chunks < 1 or sentences < 1 or questions < 1 or not 1 <= people <= len(NAMES):
        raise DataError(
            f"synthetic: chunks, sentences and questions must be at least 1 and people 1 to {len(NAMES)}, "
            f"got chunks={chunks}, sentences={sentences}, questions={questions}, people={people}"
        )
    if not 0 <= chatter < 1 or not 0 <= changes <= 1 or not 0 <= events <= 1 or changes + events > 1:
        raise DataError(
            "synthetic: chatter must lie in [0, 1), changes and events in [0, 1] and sum to at most 1, "
            f"got chatter={chatter}, changes={changes}, events={events}"
        )
    knobs = (chunks, sentences, chatter, changes, events, people, questions, metric)
    return (
        _stream(f"synthetic-{seed}-{index}", random.Random(f"synthetic/{seed}/{index}"), *knobs)
        for index in (itertools.count() if count is None else range(count))
    )


def _stream(
    stream_id: str,
    rng: random.Random,
    chunks: int,
    sentences: int,
    chatter: float,
    changes: float,
    events: float,
    people: int,
    questions: int,
    metric: str,
) -> Stream:
    world = _World(rng, rng.sample(NAMES, people))
    month, first = rng.choice(MONTHS), rng.randint(1, 28 - min(chunks, 27))
    days = [_date(month, first + index) for index in range(chunks)]
    # Exactly the stated share of noteworthy sentences, spread at random: a chunk may be all chatter.
    total = chunks * sentences
    kept = max(1, round(total * (1 - chatter)))
    worth = [True] * kept + [False] * (total - kept)
    rng.shuffle(worth)
    parts: list[Chunk] = []
    notes: list[list[dict[str, Any]]] = []
    for chunk in range(chunks):
        said: list[str] = []
        noted: list[dict[str, Any]] = []
        for place in range(sentences):
            note = _note(world, chunk, changes, events) if worth[chunk * sentences + place] else None
            if note:
                noted.append(note)
            said.append(note["text"] if note else world.chatter())
        parts.append(Chunk(text=" ".join(said), time=days[chunk]))
        notes.append(noted)
    pool = list(world.questions(days))
    rng.shuffle(pool)
    chosen = pool[:questions]
    return Stream(
        id=stream_id,
        source="synthetic",
        chunks=tuple(parts),
        questions=tuple(
            Question(id=f"q{n}", text=text, answers=(answer,), metric=metric, kind=kind, evidence=(chunk,))
            for n, (text, answer, kind, chunk, _) in enumerate(chosen)
        ),
        metadata={"notes": notes, "support": {f"q{n}": asked[4] for n, asked in enumerate(chosen)}},
    )


def _date(month: str, day: int) -> str:
    """The date `day` days into `month`. Every month has 28 days, so that no date is impossible."""
    months, past = divmod(day - 1, 28)
    return f"{MONTHS[(MONTHS.index(month) + months) % len(MONTHS)]} {past + 1}"


def _note(world: _World, chunk: int, changes: float, events: float) -> dict[str, Any] | None:
    draw = world.rng.random()
    if draw < changes:
        return world.change(chunk) or world.fact(chunk)
    if draw < changes + events:
        return world.event(chunk)
    return world.fact(chunk)


SOURCE = Source(
    name="synthetic",
    read=synthetic,
    about="facts, changes and events of made-up people among chatter, without end",
    licence="Apache-2.0",
    kind="synthetic",
    tried="generated",
    endless=True,
    splits=(),
)
