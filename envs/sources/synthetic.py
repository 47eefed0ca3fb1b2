"""Seeded, unlimited streams in plain English about made-up people: what is worth keeping, among what is not.

Each chunk is a few sentences of one day: facts, facts that change, correct or end an earlier one, events, and chatter
that nobody asks about. Chatter names the same people and things, so that no single word tells it from a fact. By
option people share a name, sums add up over chunks, preferences have exceptions, and questions ask for what held
earlier or follow from two facts.

Each question knows the chunks that answer it. For a teacher to demonstrate from and a test to check, `metadata` holds
`notes`, each chunk's noteworthy sentences with what they replace; `support`, the sentence or sentences that answer each
question; and `versions`, where a question has had other answers before: all of them with their sentences, oldest first.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.building.lives import (
    CHATTER,
    CITIES,
    COUNTED,
    EVENTS,
    EXCEPTION,
    FACTS,
    FOODS,
    HABIT,
    HAPPENINGS,
    JOBS,
    MONTHS,
    MOODS,
    MOST,
    NAMES,
    OCCASIONS,
    PHRASES,
    PLACES,
    QUALITIES,
    THINGS,
    Relation,
)
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream

UNKNOWN = "unknown"


@dataclass(frozen=True)
class _Version:
    """The value of a fact from some chunk on."""

    value: str
    """Nothing holds any more where this is `UNKNOWN`."""
    chunk: int
    sentence: str
    how: str
    """told, changed, corrected or ended."""


@dataclass
class _Fact:
    relation: Relation
    person: str
    versions: list[_Version]

    @property
    def last(self) -> _Version:
        return self.versions[-1]

    @property
    def kind(self) -> str:
        """The kind of the question for what holds in the end."""
        kinds = {"told": "fact", "changed": "latest", "corrected": "correction", "ended": "retraction"}
        return "latest" if self.last.how == "told" and len(self.versions) > 1 else kinds[self.last.how]


@dataclass(frozen=True)
class _Asked:
    """A question that can be asked in the end."""

    text: str
    answer: str
    kind: str
    evidence: tuple[int, ...]
    support: tuple[str, ...]
    versions: tuple[tuple[tuple[str, ...], str], ...] = ()
    """Sentences and answer of each version, oldest first; none where there was only one."""


@dataclass
class _World:
    """The facts that are true so far in one stream, and where they were said."""

    rng: random.Random
    people: list[str]
    facts: dict[tuple[str, str], _Fact] = field(default_factory=dict)
    events: list[tuple[Relation, str, str, int]] = field(default_factory=list)
    sums: dict[str, list[tuple[int, int, str]]] = field(default_factory=dict)
    """person -> amount, chunk and sentence of each entry."""
    habits: dict[tuple[str, str], _Version] = field(default_factory=dict)
    """(person, occasion; none for the general one) -> what they drink."""
    used: set[tuple[str, str]] = field(default_factory=set)
    """(relation, value) pairs told so far: a value belongs to one person, so that "who" has one answer."""
    homonyms: set[str] = field(default_factory=set)
    """People whose name another one has too; they are told apart by their job."""

    def fact(self, chunk: int) -> dict[str, Any] | None:
        for _ in range(20):
            person, relation = self.rng.choice(self.people), self.rng.choice(FACTS)
            if (person, relation.key) in self.facts or (person in self.homonyms and relation.key == "job"):
                continue
            value = self._free(relation)
            if value is None:
                return None
            sentence = relation.told.format(n=person, v=value)
            self.facts[person, relation.key] = _Fact(relation, person, [_Version(value, chunk, sentence, "told")])
            return {"text": sentence, "store": "semantic", "replaces": None}
        return None

    def change(self, chunk: int) -> dict[str, Any] | None:
        return self._again(chunk, "changed")

    def correct(self, chunk: int) -> dict[str, Any] | None:
        return self._again(chunk, "corrected")

    def end(self, chunk: int) -> dict[str, Any] | None:
        return self._again(chunk, "ended")

    def _again(self, chunk: int, how: str) -> dict[str, Any] | None:
        """Tell of a fact, which an earlier chunk told, something that replaces it."""
        able = [
            fact
            for fact in self.facts.values()
            if getattr(fact.relation, how) and fact.last.how != "ended" and fact.last.chunk < chunk
        ]
        if not able:
            return None
        fact = self.rng.choice(able)
        value = fact.last.value if how == "ended" else self._free(fact.relation)
        if value is None:
            return None
        before = fact.last
        sentence = getattr(fact.relation, how).format(n=fact.person, v=value, o=before.value)
        fact.versions.append(_Version(UNKNOWN if how == "ended" else value, chunk, sentence, how))
        note = {"text": sentence, "store": "semantic", "replaces": before.sentence}
        return note | ({"ends": True} if how == "ended" else {})

    def _free(self, relation: Relation) -> str | None:
        """Take a value that nobody has had."""
        free = [value for value in relation.value if (relation.key, value) not in self.used]
        if not free:
            return None
        value = self.rng.choice(free)
        self.used.add((relation.key, value))
        return value

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

    def count(self, chunk: int) -> dict[str, Any] | None:
        begun = [person for person in self.people if person in self.sums]
        person = self.rng.choice(begun) if begun and self.rng.random() < 0.6 else self.rng.choice(self.people)
        entries = self.sums.setdefault(person, [])
        said = {amount for amount, _, _ in entries}
        room = MOST - sum(said)
        free = [int(value) for value in COUNTED.value if int(value) not in said and int(value) <= room]
        if not free:
            return None
        amount = self.rng.choice(free)
        sentence = COUNTED.told.format(n=person, v=amount)
        entries.append((amount, chunk, sentence))
        return {"text": sentence, "store": "semantic", "replaces": None}

    def habit(self, chunk: int) -> dict[str, Any] | None:
        person = self.rng.choice(self.people)
        general = (person, "") in self.habits
        occasions = [when for when in OCCASIONS if (person, when) not in self.habits] if general else [""]
        values = [value for value in HABIT.value if value not in self._drinks(person)]
        if not occasions or not values:
            return None
        when, value = self.rng.choice(occasions), self.rng.choice(values)
        sentence = (EXCEPTION[0] if when else HABIT.told).format(n=person, v=value, when=when)
        self.habits[person, when] = _Version(value, chunk, sentence, "told")
        return {"text": sentence, "store": "semantic", "replaces": None}

    def _drinks(self, person: str) -> set[str]:
        return {habit.value for (whose, _), habit in self.habits.items() if whose == person}

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

    # Questions --------------------------------------------------------------------------------------------------

    def questions(self, days: list[str], *, as_of: bool, multi_hop: bool) -> Iterator[_Asked]:
        """All that can be asked in the end."""
        for fact in self.facts.values():
            yield from self._of_fact(fact)
        for relation, person, value, chunk in self.events:
            told = (relation.told.format(n=person, v=value),)
            yield _Asked(relation.ask.format(n=person, v=value), days[chunk], "when", (chunk,), told)
            if relation.who:
                yield _Asked(relation.who.format(n=person, v=value), person, "who", (chunk,), told)
        for person, entries in self.sums.items():
            if entries:
                total = str(sum(amount for amount, _, _ in entries))
                chunks = tuple(sorted({chunk for _, chunk, _ in entries}))
                support = tuple(sentence for _, _, sentence in entries)
                yield _Asked(COUNTED.ask.format(n=person), total, "count", chunks, support)
        yield from self._of_habits()
        if as_of:
            yield from self._as_of(days)
        if multi_hop:
            yield from self._multi_hop()

    def _of_fact(self, fact: _Fact) -> Iterator[_Asked]:
        relation, person, last = fact.relation, fact.person, fact.last
        kind = "namesake" if person in self.homonyms and fact.kind == "fact" else fact.kind
        versions = tuple(((version.sentence,), version.value) for version in fact.versions)
        versions = versions if len(versions) > 1 else ()
        ask = relation.ask.format(n=person, v=last.value)
        yield _Asked(ask, last.value, kind, (last.chunk,), (last.sentence,), versions)
        if relation.who and last.how != "ended":
            yield _Asked(relation.who.format(n=person, v=last.value), person, "who", (last.chunk,), (last.sentence,))

    def _of_habits(self) -> Iterator[_Asked]:
        for (person, when), habit in self.habits.items():
            if when:
                yield _Asked(
                    EXCEPTION[1].format(n=person, when=when), habit.value, "preference", (habit.chunk,),
                    (habit.sentence,), (((self.habits[person, ""].sentence,), self.habits[person, ""].value),
                                        ((habit.sentence,), habit.value)),
                )  # fmt: skip
            else:
                other = next((name for name in OCCASIONS if (person, name) not in self.habits), None)
                ask = HABIT.ask.format(n=person)
                yield _Asked(ask, habit.value, "fact", (habit.chunk,), (habit.sentence,))
                if other is not None:
                    ask = EXCEPTION[1].format(n=person, when=other)
                    yield _Asked(ask, habit.value, "preference", (habit.chunk,), (habit.sentence,))

    def _as_of(self, days: list[str]) -> Iterator[_Asked]:
        """Questions for what held on an earlier day. A corrected value never held, so its fact is left out."""
        for fact in self.facts.values():
            if fact.relation.was is None or any(version.how == "corrected" for version in fact.versions):
                continue
            for version, after in itertools.pairwise(fact.versions):
                day = days[self.rng.randrange(version.chunk, after.chunk)]
                yield _Asked(
                    fact.relation.was.format(n=fact.person, d=day), version.value, "as-of",
                    (version.chunk, after.chunk), (version.sentence,),
                )  # fmt: skip

    def _multi_hop(self) -> Iterator[_Asked]:
        """Questions about the person who has a job, by the job."""
        jobs = {fact.person: fact for fact in self.facts.values() if fact.relation.key == "job"}
        for fact in self.facts.values():
            job = jobs.get(fact.person)
            if job is None or job is fact or "ended" in (fact.last.how, job.last.how):
                continue
            yield _Asked(
                fact.relation.ask.format(n=f"the {job.last.value}", v=fact.last.value), fact.last.value, "multi-hop",
                tuple(sorted({job.last.chunk, fact.last.chunk})), (job.last.sentence, fact.last.sentence),
            )  # fmt: skip


@dataclass(frozen=True)
class _Shares:
    """Shares of the noteworthy sentences; the rest are new facts."""

    changes: float
    events: float
    corrections: float
    retractions: float
    counts: float
    preferences: float


def synthetic(
    *,
    seed: int = 0,
    count: int | None = None,
    chunks: int = 6,
    sentences: int = 4,
    chatter: float = 0.5,
    changes: float = 0.15,
    events: float = 0.25,
    corrections: float = 0.0,
    retractions: float = 0.0,
    counts: float = 0.0,
    preferences: float = 0.0,
    namesakes: int = 0,
    as_of: bool = False,
    multi_hop: bool = False,
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
        changes: share of the other sentences that replace an earlier fact; asked for as `latest`.
        events: share of the other sentences that are dated events.
        corrections: share of them that say an earlier fact was wrong ("in Rome, not in Oslo"); asked as `correction`.
        retractions: share of them after which nothing holds any more ("no longer plays"); asked as `retraction`, and
            the answer is that it is unknown.
        counts: share of them that add to a person's sum over the stream; asked as `count`.
        preferences: share of them that tell a preference or its exception for an occasion; asked as `preference`.
        namesakes: pairs of people who share a name and are told apart by their job; asked as `namesake`.
        as_of: ask also for what held on an earlier day.
        multi_hop: ask also for facts of a person who is named by a fact of theirs alone.
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
    shares = _Shares(changes, events, corrections, retractions, counts, preferences)
    given = vars(shares)
    if not 0 <= chatter < 1 or not all(0 <= share <= 1 for share in given.values()) or sum(given.values()) > 1 + 1e-9:
        *others, last = given
        raise DataError(
            f"synthetic: chatter must lie in [0, 1), {', '.join(others)} and {last} in [0, 1] and sum to at most 1, "
            f"got chatter={chatter}, {', '.join(f'{name}={share}' for name, share in given.items())}"
        )
    if not 0 <= namesakes <= people // 2:
        raise DataError(
            f"synthetic: namesakes are pairs of the people, so 0 to {people // 2} with people={people}, "
            f"got namesakes={namesakes}"
        )
    layout = (chunks, sentences, chatter, people, namesakes, questions, metric)
    return (
        _stream(
            f"synthetic-{seed}-{index}", random.Random(f"synthetic/{seed}/{index}"), shares, as_of, multi_hop, *layout
        )
        for index in (itertools.count() if count is None else range(count))
    )


def _stream(
    stream_id: str,
    rng: random.Random,
    shares: _Shares,
    as_of: bool,
    multi_hop: bool,
    chunks: int,
    sentences: int,
    chatter: float,
    people: int,
    namesakes: int,
    questions: int,
    metric: str,
) -> Stream:
    world = _World(rng, rng.sample(NAMES, people))
    _share_names(world, namesakes)
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
            note = _note(world, chunk, shares) if worth[chunk * sentences + place] else None
            if note:
                noted.append(note)
            said.append(note["text"] if note else world.chatter())
        parts.append(Chunk(text=" ".join(said), time=days[chunk]))
        notes.append(noted)
    pool = list(world.questions(days, as_of=as_of, multi_hop=multi_hop))
    rng.shuffle(pool)
    chosen = {f"q{number}": asked for number, asked in enumerate(pool[:questions])}
    versions = {name: asked.versions for name, asked in chosen.items() if asked.versions}
    return Stream(
        id=stream_id,
        source="synthetic",
        chunks=tuple(parts),
        questions=tuple(
            Question(
                id=name,
                text=asked.text,
                answers=ABSTAIN if asked.answer == UNKNOWN else (asked.answer,),
                metric="abstention" if asked.answer == UNKNOWN else metric,
                kind=asked.kind,
                evidence=asked.evidence,
            )
            for name, asked in chosen.items()
        ),
        metadata={
            "notes": notes,
            "support": {
                name: asked.support[0] if len(asked.support) == 1 else asked.support for name, asked in chosen.items()
            },
            **({"versions": versions} if versions else {}),
        },
    )


def _share_names(world: _World, pairs: int) -> None:
    """Give both people of each of the first `pairs` one name, and jobs to be known by."""
    for place in range(0, 2 * pairs, 2):
        name = world.people[place]
        for index in (place, place + 1):
            job = world.rng.choice([job for job in JOBS if ("job", job) not in world.used])
            world.used.add(("job", job))
            world.people[index] = f"{name} the {job}"
            world.homonyms.add(world.people[index])


def _date(month: str, day: int) -> str:
    """The date `day` days into `month`. Every month has 28 days, so that no date is impossible."""
    months, past = divmod(day - 1, 28)
    return f"{MONTHS[(MONTHS.index(month) + months) % len(MONTHS)]} {past + 1}"


def _note(world: _World, chunk: int, shares: _Shares) -> dict[str, Any] | None:
    draw = world.rng.random()
    told = (
        (shares.changes, world.change),
        (shares.events, world.event),
        (shares.corrections, world.correct),
        (shares.retractions, world.end),
        (shares.counts, world.count),
        (shares.preferences, world.habit),
    )
    for share, tell in told:
        if draw < share:
            # An event that finds nothing new is none, as it always was; all others have facts to fall back on.
            return tell(chunk) if tell == world.event else tell(chunk) or world.fact(chunk)
        draw -= share
    return world.fact(chunk)


SOURCE = Source(
    name="synthetic",
    read=synthetic,
    about="facts, changes, corrections and events of made-up people among chatter, without end",
    licence="Apache-2.0",
    kind="synthetic",
    tried="generated",
    endless=True,
    splits=(),
)
