"""Seeded streams of solved tasks, of any length, whose questions are new tasks that what was learned solves.

A chunk holds a few tasks: each with an attempt and its outcome, and where it failed, mostly, what was learned. Skills
have made-up names and rules over words, lists of numbers, amounts in made-up units, and a small text game. A rule may
change, or get an exception; some skills nobody finds out (`unanswerable`), of some there is only a solved task, which
is asked again (`case`). Among them are everyday tasks, further tasks of known skills, and lessons that teach nothing.
What one side of a split teaches, in whatever words, the other never does; names, phrasings, words and places are others
too. Only steps ("reverse it"), conditions, numbers and the frame of a task ("Attempt:") stand in both.

What agents keep of their experiences: cases of AgentFly (arXiv 2508.16153), demonstrations and insights of ExpeRepair
(2506.10484), concepts that are put together of ArcMemo (2509.04439), notes that are revised of In-Memory Learning
(2403.02757). Left out: their benchmarks (deep research, repair of programs, ARC), and finding a rule from examples
alone, for which there is no one right answer.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Literal

from pydantic import Field

from memrl.envs.building import skills
from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.building.drawing import by_turns
from memrl.envs.building.lives import NAMES
from memrl.envs.building.rules import Rule, rules
from memrl.envs.building.skills import DOMAINS, Condition, Domain, Given, golds, made_up, plural, shown
from memrl.envs.building.source import Source
from memrl.envs.building.splitting import Split
from memrl.envs.building.talk import phrasings, values
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream

DomainName = Literal["strings", "lists", "units", "game"]
TRIES = 60
"""Draws after which a task of some kind is given up, and another one takes its place."""
EACH = 2
"""New tasks of one kind that are made up for a skill."""


@dataclass(frozen=True)
class _Lesson:
    """A rule that was taught: where, and in which sentence."""

    rule: Rule
    sentence: str
    chunk: int


@dataclass
class _Skill:
    domain: Domain
    name: str
    target: str = ""
    """The unit that amounts are turned into."""
    lessons: list[_Lesson] = field(default_factory=list)
    """The last one holds."""
    exception: tuple[Condition, _Lesson] | None = None
    seen: set[str] = field(default_factory=set)
    """Words of the tasks that have been told."""

    def made(self, given: Given) -> tuple[Any, _Lesson, set[Any]]:
        """Return what becomes of something, by which lesson, and what any other lesson would make of it."""
        told = [*self.lessons, *([self.exception[1]] if self.exception else ())]
        last = self.exception[1] if self.exception and self.exception[0].holds(given) else self.lessons[-1]
        return last.rule.apply(given.value), last, {one.rule.apply(given.value) for one in told if one is not last}


@dataclass(frozen=True)
class _Asked:
    kind: str
    domain: str
    text: str
    answers: tuple[str, ...]
    evidence: tuple[int, ...]
    support: tuple[str, ...]


@dataclass(frozen=True)
class _Shares:
    """Shares of the tasks that teach something; the rest teach new rules."""

    changes: float
    exceptions: float
    cases: float
    unsolved: float


class _World:
    """The skills that are known so far in one stream."""

    def __init__(
        self, rng: random.Random, split: Split | None, steps: int, domains: tuple[DomainName, ...], shares: _Shares
    ) -> None:
        self.rng = rng
        self.split = split
        self.steps = steps
        self.domains = [DOMAINS[name] for name in domains]
        self.shares = shares
        self.skills: list[_Skill] = []
        self.cases: list[tuple[_Skill, Given, Any, str, int]] = []
        """Skill, task, answer, sentence and chunk of each."""
        self.unsolved: list[tuple[_Skill, int]] = []
        self._names: set[str] = set()
        self._rules: set[str] = set()
        self._ends: list[str] = []
        """Units that nothing is known to be made of yet."""

    def say(self, options: tuple[str, ...], skill: _Skill | None = None, **words: str) -> str:
        about = {"n": skill.name, "t": skill.target} if skill else {}
        return self.rng.choice(phrasings(options, self.split)).format(**(about | words))

    # What is told ------------------------------------------------------------------------------------------------

    def task(self, chunk: int, idle: bool) -> tuple[str, dict[str, Any] | None]:
        """Return the text of a task, and what is worth keeping of it.

        Args:
            idle: it teaches nothing.
        """
        if idle:
            return self._idle(), None
        draw = self.rng.random()
        for share, tell in (
            (self.shares.changes, self._change),
            (self.shares.exceptions, self._exception),
            (self.shares.cases, self._case),
            (self.shares.unsolved, self._unsolved),
        ):
            if draw < share:
                return tell(chunk) or self._new(chunk)
            draw -= share
        return self._new(chunk)

    def _new(self, chunk: int) -> tuple[str, dict[str, Any] | None]:
        skill, rule, given = self._begun()
        sentence = self.say(skill.domain.told, skill, s=rule.words)
        skill.lessons.append(_Lesson(rule, sentence, chunk))
        self.skills.append(skill)
        if skill.target:
            self._ends.append(skill.target)
        right = rule.apply(given.value)
        return self._failed(skill, given, self._wrong(skill.domain, given, right), right, sentence, None)

    def _change(self, chunk: int) -> tuple[str, dict[str, Any] | None] | None:
        skill = self._one(lambda skill: skill.exception is None and skill.lessons[-1].chunk < chunk)
        if skill is None:
            return None
        before, had = skill.lessons[-1], {one.rule.words for one in skill.lessons}
        for _ in range(TRIES):
            rule = self._rule(skill.domain)
            given = self._given(skill, lambda _: True)
            wrong = before.rule.apply(given.value) if given else None
            right = rule.apply(given.value) if given else None
            if given is None or right in (None, wrong, given.value) or rule.words in had:
                continue
            sentence = self.say(skill.domain.changed, skill, s=rule.words)
            skill.lessons.append(_Lesson(rule, sentence, chunk))
            return self._failed(skill, given, wrong, right, sentence, before.sentence)
        return None

    def _exception(self, chunk: int) -> tuple[str, dict[str, Any] | None] | None:
        skill = self._one(lambda skill: skill.exception is None)
        if skill is None:
            return None
        condition = self.rng.choice(skill.domain.conditions)
        for _ in range(TRIES):
            rule = self._rule(skill.domain)
            given = self._given(skill, condition.holds)
            wrong = skill.lessons[-1].rule.apply(given.value) if given else None
            right = rule.apply(given.value) if given else None
            if given is None or right in (None, wrong, given.value):
                continue
            sentence = self.say(skill.domain.excepted, skill, s=rule.words, c=condition.words)
            skill.exception = condition, _Lesson(rule, sentence, chunk)
            return self._failed(skill, given, wrong, right, sentence, None)
        return None

    def _case(self, chunk: int) -> tuple[str, dict[str, Any] | None]:
        skill, rule, given = self._begun()
        right = rule.apply(given.value)
        sentence = self.say(skill.domain.solved, skill, x=given.words, y=shown(right))
        self.cases.append((skill, given, right, sentence, chunk))
        text = f"{self._attempt(skill, given, right)} {self.say(skills.RIGHT)} {sentence}"
        return text, {"text": sentence, "store": "episodic", "replaces": None}

    def _unsolved(self, chunk: int) -> tuple[str, dict[str, Any] | None]:
        skill, rule, given = self._begun()
        self.unsolved.append((skill, chunk))
        skill.seen.add(given.words)
        attempt = self._attempt(skill, given, self._wrong(skill.domain, given, rule.apply(given.value)))
        return f"{attempt} {self.say(skills.FAILED)} {self.say(skill.domain.unknown, skill)}", None

    def _failed(
        self, skill: _Skill, given: Given, wrong: Any, right: Any, sentence: str, replaces: str | None
    ) -> tuple[str, dict[str, Any]]:
        skill.seen.add(given.words)
        text = f"{self._attempt(skill, given, wrong)} {self.say(skills.WRONG, y=shown(right))} {sentence}"
        return text, {"text": sentence, "store": "procedural", "replaces": replaces}

    def _attempt(self, skill: _Skill, given: Given, made: Any) -> str:
        return f"Task: {self.say(skill.domain.ask, skill, x=given.words)} Attempt: {shown(made)}."

    def _idle(self) -> str:
        """A task of every day, or one of a known skill; with a lesson of no use, or a remark on a skill."""
        skill = self._one(lambda _: True) if self.rng.random() < 0.5 else None
        given = self._given(skill, lambda _: True) if skill else None
        if skill and given:
            skill.seen.add(given.words)
            right = skill.made(given)[0]
            text = f"{self._attempt(skill, given, right)} {self.say(skills.RIGHT)}"
            solved = self.say(skill.domain.solved, skill, x=given.words, y=shown(right))
            return f"{text} {solved}" if self.rng.random() < 0.3 else text
        task, right, wrong = self._everyday()
        if self.rng.random() < 0.4:
            text = f"Task: {task} Attempt: {wrong}. {self.say(skills.WRONG, y=right)} {self.say(skills.CARELESS)}"
        else:
            text = f"Task: {task} Attempt: {right}. {self.say(skills.RIGHT)}"
        if self.skills and self.rng.random() < 0.5:
            about = self.rng.choice(self.skills)
            label = about.domain.label.format(n=about.name)
            text += f" {self.say(skills.REMARKS, p=self.rng.choice(values(NAMES, self.split)), l=label)}"
        return text

    def _everyday(self) -> tuple[str, str, str]:
        """A task, its right answer and a wrong one."""
        kind = self.rng.randrange(len(skills.EVERYDAY))
        a, b = self.rng.sample(range(11, 99), 2)
        word = self.rng.choice(values(skills.WORDS, self.split))
        task = self.say(skills.EVERYDAY[kind], a=str(a), b=str(b), w=word)
        answers = [
            (a + b, a + b + 10),
            (max(a, b), min(a, b)),
            (word.upper(), word.title()),
            (len(word), len(word) + 1),
        ]
        right, wrong = answers[kind]
        return task, str(right), str(wrong)

    # Draws -------------------------------------------------------------------------------------------------------

    def _begun(self) -> tuple[_Skill, Rule, Given]:
        """Return a new skill, a rule that it may have, and a task of it."""
        domain = self.rng.choice(self.domains)
        skill = _Skill(domain, "")
        if domain.name == "units":
            known = self._ends and self.rng.random() < 0.5
            skill.name = self._ends.pop(self.rng.randrange(len(self._ends))) if known else plural(self._named())
            skill.target = plural(self._named())
        else:
            skill.name = self._named()
        while True:
            rule, given = self._rule(domain), domain.draw(self.rng, self.split)
            if rule.apply(given.value) not in (None, given.value):
                return skill, rule, given

    def _named(self) -> str:
        return made_up(self.rng, self.split, self._names)

    def _rule(self, domain: Domain) -> Rule:
        """Draw a rule, one that the stream has not had if there is any in sight."""
        for _ in range(TRIES):
            rule = self.rng.choice(rules(domain.name, self.rng.randint(1, self.steps), self.split))
            if f"{domain.name}: {rule.words}" not in self._rules:
                break
        self._rules.add(f"{domain.name}: {rule.words}")
        return rule

    def _one(self, able: Callable[[_Skill], bool]) -> _Skill | None:
        """Draw a skill that is able to something, if it does not take long."""
        for _ in range(TRIES if self.skills else 0):
            skill = self.rng.choice(self.skills)
            if able(skill):
                return skill
        return None

    def _given(self, skill: _Skill, wanted: Callable[[Given], bool]) -> Given | None:
        """Draw a task that the skill has not had, and that any lesson but the one that holds would get wrong."""
        for _ in range(TRIES):
            given = skill.domain.draw(self.rng, self.split)
            if given.words in skill.seen or not wanted(given):
                continue
            right, _, others = skill.made(given)
            if right not in (None, given.value) and right not in others:
                return given
        return None

    def _wrong(self, domain: Domain, given: Given, right: Any) -> Any:
        """Return what a rule of another skill makes of a task."""
        while True:
            wrong = self.rng.choice(rules(domain.name, 1, self.split)).apply(given.value)
            if wrong not in (None, right):
                return wrong

    # What can be asked in the end --------------------------------------------------------------------------------

    def questions(self) -> Iterator[_Asked]:
        for skill in self.skills:
            yield from self._of_skill(skill)
        yield from self._chains()
        for skill, given, right, sentence, chunk in self.cases:
            yield self._asked("case", skill, given, golds(right), (chunk,), (sentence,))
        for skill, chunk in self.unsolved:
            given = skill.domain.draw(self.rng, self.split)
            yield self._asked("unanswerable", skill, given, ABSTAIN, (chunk,), ())

    def _of_skill(self, skill: _Skill) -> Iterator[_Asked]:
        usual = "latest" if len(skill.lessons) > 1 else "rule"
        wanted = [(usual, lambda given: skill.exception is None or not skill.exception[0].holds(given))]
        if skill.exception:
            wanted.append(("exception", skill.exception[0].holds))
        for kind, able in wanted * EACH:
            given = self._given(skill, able)
            if given is not None:
                skill.seen.add(given.words)
                right, lesson, _ = skill.made(given)
                yield self._asked(kind, skill, given, golds(right), (lesson.chunk,), (lesson.sentence,))

    def _chains(self) -> Iterator[_Asked]:
        """Two skills, one after the other, where each lesson that is needed decides the answer."""
        by_name = {skill.name: skill for skill in self.skills}
        by_domain: dict[str, list[_Skill]] = {}
        for skill in self.skills:
            by_domain.setdefault(skill.domain.name, []).append(skill)
        for first in self.skills:
            second = by_name.get(first.target) if first.target else self.rng.choice(by_domain[first.domain.name])
            if second is None or second is first:
                continue
            given = self._given(first, lambda _: True)
            if given is None:
                continue
            between, lesson, others = first.made(given)
            right, then, wrong = second.made(_after(given, between))
            wrong |= {second.made(_after(given, other))[0] for other in others if other is not None}
            if right in (None, given.value, between) or right in wrong:
                continue
            target = second.target or first.target
            text = self.say(first.domain.chained, first, t=target, m=second.name, x=given.words)
            evidence = tuple(sorted({lesson.chunk, then.chunk}))
            support = (lesson.sentence, then.sentence)
            yield _Asked("multi-hop", first.domain.name, text, golds(right), evidence, support)

    def _asked(
        self,
        kind: str,
        skill: _Skill,
        given: Given,
        answers: tuple[str, ...],
        evidence: tuple[int, ...],
        support: tuple[str, ...],
    ) -> _Asked:
        text = self.say(skill.domain.ask, skill, x=given.words)
        return _Asked(kind, skill.domain.name, text, answers, evidence, support)


def _after(given: Given, made: Any) -> Given:
    """Return what the second skill is applied to: what was made, in the game in the same situation."""
    return Given(made, given.words if given.value == () else shown(made))


def read(
    seed: int = 0,
    count: int | None = Field(None, ge=0),
    split: Split | None = None,
    chunks: int = Field(8, ge=1),
    tasks: int = Field(3, ge=1),
    distractors: float = Field(0.4, ge=0, lt=1),
    changes: float = Field(0.15, ge=0, le=1),
    exceptions: float = Field(0.15, ge=0, le=1),
    cases: float = Field(0.1, ge=0, le=1),
    unsolved: float = Field(0.1, ge=0, le=1),
    steps: int = Field(2, ge=1, le=3),
    domains: tuple[DomainName, ...] = Field(("strings", "lists", "units", "game"), min_length=1),
    questions: int = Field(12, ge=1),
    metric: str = "exact_match",
) -> Iterator[Stream]:
    """Streams without end, or `count` of them; stream k does not depend on how many are taken.

    Args:
        split: its rules, names, phrasings, words and places; None: all.
        chunks: chunks of a stream; it grows with them without bound.
        tasks: tasks of a chunk.
        distractors: share of the tasks that teach nothing: of every day, or of a skill that is known.
        changes: share of the others that change a rule; asked as `latest`.
        exceptions: share of them that teach when a rule does not hold, and what does then; asked as `exception`.
        cases: share of them that are solved without a rule; the very task is asked again, as `case`.
        unsolved: share of them that fail and teach nothing; a new task of the kind is asked as `unanswerable`.
        steps: most steps of a rule; fewer are easier to apply.
        domains: what rules are over; `game` and cases have answers that stand in the text.
        questions: at most so many, drawn so that every kind that can be asked comes about as often.
        metric: of questions that have an answer; `substring` suits the lexical reader.

    Raises:
        DataError: the shares sum to more than 1; at once, not at the first stream.
    """
    shares = _Shares(changes, exceptions, cases, unsolved)
    if sum(vars(shares).values()) > 1 + 1e-9:
        told = ", ".join(f"{name}={share:g}" for name, share in vars(shares).items())
        raise DataError(f"experiences: changes, exceptions, cases and unsolved must sum to at most 1, got {told}")
    return (
        _stream(
            f"experiences-{split or 'all'}-{seed}-{index}",
            _World(random.Random(f"experiences/{split}/{seed}/{index}"), split, steps, domains, shares),
            chunks, tasks, distractors, questions, metric,
        )
        for index in (itertools.count() if count is None else range(count))
    )  # fmt: skip


def _stream(
    name: str, world: _World, chunks: int, tasks: int, distractors: float, questions: int, metric: str
) -> Stream:
    rng = world.rng
    day = date(2023, 1, 2) + timedelta(days=rng.randrange(300))
    parts: list[Chunk] = []
    notes: list[list[dict[str, Any]]] = []
    for chunk in range(chunks):
        # The first task teaches something, so that there is something to ask.
        told = [world.task(chunk, bool(chunk or place) and rng.random() < distractors) for place in range(tasks)]
        parts.append(Chunk(text="\n".join(text for text, _ in told), time=day.isoformat()))
        notes.append([note for _, note in told if note])
        day += timedelta(days=rng.randrange(3))
    asked = {f"q{number}": one for number, one in enumerate(by_turns(list(world.questions()), questions, rng))}
    return Stream(
        id=name,
        source="experiences",
        chunks=tuple(parts),
        questions=tuple(
            Question(
                id=number,
                text=one.text,
                answers=one.answers,
                metric="abstention" if one.kind == "unanswerable" else metric,
                kind=one.kind,
                evidence=one.evidence,
            )
            for number, one in asked.items()
        ),
        metadata={
            "notes": notes,
            "support": {
                number: one.support[0] if len(one.support) == 1 else one.support for number, one in asked.items()
            },
            "domains": {number: one.domain for number, one in asked.items()},
        },
    )


SOURCE = Source(
    name="experiences",
    read=read,
    about="solved tasks and what was learned of them, which solves new ones: words, lists, units, a game; any length",
    licence="Apache-2.0",
    kind="synthetic",
    tried="generated",
    endless=True,
)
