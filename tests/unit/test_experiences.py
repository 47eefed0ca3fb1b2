"""Solved tasks: an independent solver reads the chunks alone, and evidence is what it needs and all that it needs."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import pytest

from memrl.envs.building import skills
from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.building.prose import sentences
from memrl.envs.building.rules import rules
from memrl.envs.designs import DESIGNS, count_words
from memrl.envs.designs.keeping import holder, keep_notes
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Stream
from memrl.rewards.metrics import METRICS
from memrl.sft.teacher import Carelessness, demonstrate

KINDS = {"rule", "latest", "exception", "case", "multi-hop", "unanswerable"}
DOMAINS = ("strings", "lists", "units", "game")


def streams(count: int = 6, **options: Any) -> list[Stream]:
    return list(open_source("experiences", {"count": count, "chunks": 10, "questions": 40, **options}))


# A solver of its own -------------------------------------------------------------------------------------------------
# It shares with the source neither rules nor phrasings: it reads English. Of a text it takes sentences that teach, as
# (domain, skill, condition, steps), and solved tasks; of a question the domain, the skill and what it is about.

NAME, UNIT, STEPS = r"(?P<n>\w+)", r"(?P<t>\w+)", r"(?P<s>.+?)(?: instead)?\."
WHICH = r"(?: (?P<c>(?:that|of|with|whose) [\w ]+?))?"
AMOUNT = r"(?:(?P<c>more than \d+|fewer than \d+|an odd number of) )?"
WHEN = r"(?: (?P<c>by day|at night|at dawn|in the \w+))?"
NUMBERS = r"[\d, ]+"


def of_form(domain: str, thing: str, form: str, value: str) -> dict[str, list[tuple[str, str]]]:
    """How words and lists are spoken of: what is taught, solved and asked."""
    taught = [
        rf"For the {NAME} {form} of a {thing}, do no more as before: {STEPS}",
        rf"For the {NAME} {form} of a {thing}{WHICH}, {STEPS}",
        rf"The {NAME} {form} of a {thing} is made like this: {STEPS}",
        rf"The {NAME} {form} of a {thing} has changed: from now on, {STEPS}",
        rf"The {NAME} {form} has an exception: with a {thing}{WHICH}, {STEPS}",
        rf"(?:These days, w|W)hoever wants the {NAME} {form} of a {thing}{WHICH} must {STEPS}",
        rf"(?:To|There is a new way to) bring a {thing}{WHICH} into the {NAME} {form}[,:] {STEPS}",
    ]
    solved = [
        rf"The {NAME} {form} of (?P<x>{value}) is (?P<y>{value})\.",
        rf"In the {NAME} {form}, (?P<x>{value}) becomes (?P<y>{value})\.",
    ]
    given = rf"{'the list ' if thing == 'list' else ''}(?P<x>{value})"
    asked = [
        rf"(?:What is|Give) the (?P<m>\w+) {form} of the {NAME} {form} of {given}[.?]",
        rf"How does the {NAME} {form} of {given} look in the (?P<m>\w+) {form}\?",
        rf"Bring the {NAME} {form} of {given} into the (?P<m>\w+) {form}\.",
        rf"(?:What is|Give) the {NAME} {form} of {given}[.?]",
        rf"How does {given} look in the {NAME} {form}\?",
        rf"Bring {given} into the {NAME} {form}\.",
    ]
    parts = {"taught": taught, "solved": solved, "asked": asked}
    return {part: [(domain, pattern) for pattern in patterns] for part, patterns in parts.items()}


WORDS, LISTS = of_form("strings", "word", "form", r"\w+"), of_form("lists", "list", "version", NUMBERS)
TAUGHT = (
    *WORDS["taught"],
    *LISTS["taught"],
    ("units", rf"To turn {AMOUNT}{NAME} into {UNIT}, {STEPS}"),
    ("units", rf"The rate of {NAME} has changed: to turn them into {UNIT}, (?P<s>.+) from now on\."),
    (
        "units",
        rf"From {AMOUNT}{NAME} one (?:no longer )?gets to {UNIT} (?:as before|like this|in another way): {STEPS}",
    ),
    ("units", rf"(?:These days, w|W)hoever wants {UNIT} for {AMOUNT}{NAME} must {STEPS}"),
    ("units", rf"(?:For|There is a new way to) the number of {UNIT} in {AMOUNT}{NAME}[,:] {STEPS}"),
    ("game", rf"To get past a {NAME}{WHEN}, {STEPS}"),
    ("game", rf"A {NAME}{WHEN} lets you pass (?:only )?if you {STEPS}"),
    ("game", rf"(?:Now, w|W)hen a {NAME} bars the way{WHEN}, {STEPS}"),
    ("game", rf"Against a {NAME}{WHEN} it helps (?:these days )?to {STEPS}"),
    ("game", rf"A {NAME} is no longer passed as before: from now on, {STEPS}"),
    ("game", rf"The old way past a {NAME} fails; to get past it, {STEPS}"),
)
SOLVED = (
    *WORDS["solved"],
    *LISTS["solved"],
    ("units", rf"(?P<x>\d+) {NAME} are (?P<y>\d+) {UNIT}\."),
    ("units", rf"For (?P<x>\d+) {NAME} there were (?P<y>\d+) {UNIT}\."),
    ("game", rf"A {NAME} (?P<x>[\w ]+) was passed like this: (?P<y>.+)\."),
    ("game", rf"What helped against a {NAME} (?P<x>[\w ]+) was this: (?P<y>.+)\."),
)
ASKED = (
    *WORDS["asked"],
    *LISTS["asked"],
    ("units", rf"How many {UNIT} are (?P<x>\d+) {NAME}\?"),
    ("units", rf"Turn (?P<x>\d+) {NAME} into {UNIT}\."),
    ("units", rf"How many {UNIT} does one get for (?P<x>\d+) {NAME}\?"),
    ("units", rf"What are (?P<x>\d+) {NAME} in {UNIT}\?"),
    ("game", rf"A {NAME} bars your way (?P<x>[\w ]+), and behind it a (?P<m>\w+)\. What .+, in order\?"),
    ("game", rf"You meet a {NAME} (?P<x>[\w ]+), and then a (?P<m>\w+)\. What .+, in order\?"),
    ("game", rf"You come upon a {NAME} (?P<x>[\w ]+), and upon a (?P<m>\w+) after it\. How .+, in order\?"),
    ("game", rf"A {NAME} waits (?P<x>[\w ]+), and a (?P<m>\w+) behind it\. What .+, in order\?"),
    ("game", rf"A {NAME} bars your way (?P<x>[\w ]+)\. What .+\?"),
    ("game", rf"You meet a {NAME} (?P<x>[\w ]+)\. What .+\?"),
    ("game", rf"You come upon a {NAME} (?P<x>[\w ]+)\. How .+\?"),
    ("game", rf"A {NAME} waits (?P<x>[\w ]+)\. What .+\?"),
)


def read(patterns: Iterable[tuple[str, str]], text: str) -> tuple[str, dict[str, str]] | None:
    """The domain of the first pattern that is all of a text, and the words that it takes from it."""
    for domain, pattern in patterns:
        if found := re.fullmatch(pattern, text):
            return domain, {name: word for name, word in found.groupdict().items() if word}
    return None


ORDINALS = {"first": 0, "last": -1}


def of_word(step: str, word: str) -> str:
    letters = list(word)
    match step.split():
        case ["reverse", "it"]:
            return "".join(reversed(letters))
        case ["drop", "its", which, "letter"]:
            letters.pop(ORDINALS[which])
        case ["double", "its", "first", "letter"]:
            letters.insert(0, letters[0])
        case ["double", "its", "last", "letter"]:
            letters.append(letters[-1])
        case ["move", "its", "first", "letter", "to", "the", "end"]:
            letters.append(letters.pop(0))
        case ["move", "its", "last", "letter", "to", "the", "front"]:
            letters.insert(0, letters.pop())
        case ["swap", "its", "first", "and", "its", "last", "letter"]:
            letters[0], letters[-1] = letters[-1], letters[0]
        case ["leave", "out", "its", "vowels"]:
            return re.sub("[aeiou]", "", word)
        case ["keep", "its", "first,", "third,", "fifth", "letter", "and", "so", "on"]:
            return "".join(letter for place, letter in enumerate(letters) if place % 2 == 0)
        case ["write", "it", "twice"]:
            return f"{word}{word}"
        case ["put", vowel, "in", "the", "place", "of", "each", "vowel"]:
            return re.sub("[aeiou]", vowel, word)
        case ["add", end, "at", "its", "end"]:
            return word + end
        case ["put", start, "before", "it"]:
            return start + word
        case _:
            raise AssertionError(step)
    return "".join(letters)


def of_list(step: str, given: str) -> str:
    some = [int(number) for number in given.split(", ")]
    match step.split():
        case ["reverse", "it"]:
            some.reverse()
        case ["sort", "it", way]:
            some.sort(key=lambda number: -number if way == "downwards" else number)
        case ["drop", "its", which, "number"]:
            some.pop(ORDINALS[which])
        case ["move", "its", "first", "number", "to", "the", "end"]:
            some.append(some.pop(0))
        case ["move", "its", "last", "number", "to", "the", "front"]:
            some.insert(0, some.pop())
        case ["swap", "its", "first", "and", "its", "last", "number"]:
            some[0], some[-1] = some[-1], some[0]
        case ["double", "each", "of", "its", "numbers"]:
            some = [number * 2 for number in some]
        case ["keep", "its", "even" | "odd" as which, "numbers", "only"]:
            some = [number for number in some if (number % 2 == 0) == (which == "even")]
        case ["add", "its", "sum", "at", "the", "end"]:
            some.append(sum(some))
        case ["put", "its", "greatest", "number", "before", "it"]:
            some.insert(0, max(some))
        case ["add", "its", "least", "number", "at", "the", "end"]:
            some.append(min(some))
        case ["put", "the", "count", "of", "its", "numbers", "before", "it"]:
            some.insert(0, len(some))
        case ["add", more, "to", "each", "of", "its", "numbers"]:
            some = [number + int(more) for number in some]
        case ["keep", "its", "numbers", "above", bound, "only"]:
            some = [number for number in some if number > int(bound)]
        case _:
            raise AssertionError(step)
    return ", ".join(map(str, some))


def of_amount(step: str, given: str) -> str:
    match step.split():
        case ["multiply", "by", factor]:
            return str(int(given) * int(factor))
        case ["add", more]:
            return str(int(given) + int(more))
        case _:
            raise AssertionError(step)


def in_game(step: str, done: str) -> str:
    return f"{done}, then {step}" if done else step


STEP: dict[str, Callable[[str, str], str]] = {
    "strings": of_word, "lists": of_list, "units": of_amount, "game": in_game,
}  # fmt: skip


def steps_of(rule: str) -> list[str]:
    return rule.split(", then ")


def applied(domain: str, rule: str, given: str) -> str:
    for step in steps_of(rule):
        given = STEP[domain](step, given)
    return given


def holds(condition: str, domain: str, given: str) -> bool:
    """Whether a condition, in words, holds of a word, a list, an amount or a situation."""
    if domain == "game":
        return given.endswith(condition)
    if domain == "units":
        if condition == "an odd number of":
            return int(given) % 2 == 1
        *_, than, bound = condition.split()
        assert than == "than"
        return int(given) > int(bound) if condition.startswith("more") else int(given) < int(bound)
    if domain == "lists":
        some = [int(number) for number in given.split(", ")]
        return {
            "of more than four numbers": len(some) > 4,
            "that begins with an even number": some[0] % 2 == 0,
            "that ends with a number above twenty": some[-1] > 20,
            "whose first number is its greatest": some[0] == max(some),
        }[condition]
    return {
        "that begins with a vowel": re.match("[aeiou]", given) is not None,
        "of more than six letters": len(given) > 6,
        "that ends in a vowel": re.search("[aeiou]$", given) is not None,
        "with a double letter": re.search(r"(.)\1", given) is not None,
    }[condition]


@dataclass
class Solver:
    """What somebody knows who has read some chunks, one after the other."""

    rules: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(domain, skill, unit) -> the rule that holds."""
    exceptions: dict[tuple[str, str, str], tuple[str, str]] = field(default_factory=dict)
    cases: dict[tuple[str, str, str, str], str] = field(default_factory=dict)
    taught: list[tuple[str, str]] = field(default_factory=list)
    """Domain and rule of each lesson."""

    def read(self, text: str) -> None:
        for sentence in sentences(text):
            if found := read(TAUGHT, sentence):
                domain, words = found
                place = domain, words["n"], words.get("t", "")
                self.taught.append((domain, words["s"]))
                if condition := words.get("c"):
                    assert place not in self.exceptions
                    self.exceptions[place] = condition, words["s"]
                else:
                    assert self.rules.get(place) != words["s"]
                    self.rules[place] = words["s"]
            elif found := read(SOLVED, sentence):
                domain, words = found
                self.cases[domain, words["n"], words.get("t", ""), words["x"]] = words["y"]

    def made(self, domain: str, skill: str, unit: str, given: str, done: str | None = None) -> str | None:
        """What becomes of something; None where nobody has taught it."""
        place = domain, skill, unit
        condition, rule = self.exceptions.get(place, ("", ""))
        if not (condition and holds(condition, domain, given)):
            rule = self.rules.get(place, "")
        return applied(domain, rule, given if done is None else done) if rule else None

    def answer(self, question: str) -> str | None:
        found = read(ASKED, question)
        assert found, question
        domain, words = found
        skill, unit, given = words["n"], words.get("t", ""), words["x"]
        if (domain, skill, unit, given) in self.cases:
            return self.cases[domain, skill, unit, given]
        game = domain == "game"
        if domain == "units" and not any(place[1:] == (skill, unit) for place in {**self.rules, **self.exceptions}):
            ways = {place[2] for place in {**self.rules, **self.exceptions} if place[:2] == ("units", skill)}
            return self._chained(skill, ways, unit, given)
        first = self.made(domain, skill, unit, given, "" if game else None)
        if "m" not in words or first is None:
            return first
        return self.made(domain, words["m"], "", given if game else first, first if game else None)

    def _chained(self, unit: str, ways: set[str], wanted: str, given: str) -> str | None:
        for between in ways:
            first = self.made("units", unit, between, given)
            if first is not None:
                return self.made("units", between, wanted, first)
        return None


def solver(stream: Stream, chunks: Iterable[int] | None = None) -> Solver:
    knows = Solver()
    for place in range(len(stream.chunks)) if chunks is None else chunks:
        knows.read(stream.chunks[place].text)
    return knows


# Answers and evidence ------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("split", [None, "train", "eval"])
def test_an_independent_solver_of_the_text_gives_the_same_answers(split: str | None) -> None:
    checked = set()
    for stream in [*streams(12, split=split), *streams(6, split=split, seed=7, steps=3, distractors=0.2)]:
        knows = solver(stream)
        for number, question in enumerate(stream.questions):
            checked.add((question.kind, stream.metadata["domains"][question.id]))
            answer = knows.answer(question.text)
            if question.kind == "unanswerable":
                assert answer is None and question.answers == ABSTAIN, (stream.id, number)
            else:
                assert answer == question.answers[0], (stream.id, question.text)
                assert METRICS[question.metric](answer, question.answers) == 1
    assert checked == {(kind, domain) for kind in KINDS for domain in DOMAINS}


@pytest.mark.long
def test_evidence_is_what_teaches_the_rule_and_nothing_else() -> None:
    """With its chunks alone the answer follows; without any one of them it does not."""
    for stream in streams(10):
        for question in stream.questions:
            assert question.evidence
            if question.kind == "unanswerable":
                (chunk,) = question.evidence
                found = read(ASKED, question.text)
                assert found and re.search(rf"\b{found[1]['n']}\b", stream.chunks[chunk].text)
                continue
            assert solver(stream, question.evidence).answer(question.text) == question.answers[0], question.text
            for chunk in question.evidence:
                rest = [place for place in range(len(stream.chunks)) if place != chunk]
                assert solver(stream, rest).answer(question.text) != question.answers[0], question.text


def test_what_is_asked_is_new_but_for_cases() -> None:
    for stream in streams(10):
        text = "\n".join(chunk.text for chunk in stream.chunks)
        done = {}
        for task in re.findall(r"Task: (.+?) Attempt: ", text):
            if found := read(ASKED, task):
                done[found[0], found[1]["n"], found[1]["x"]] = task
        for question in stream.questions:
            found = read(ASKED, question.text)
            assert found
            place = found[0], found[1]["n"], found[1]["x"]
            assert (place in done) == (question.kind == "case"), question.text


def test_a_changed_rule_and_an_exception_would_be_got_wrong_by_who_missed_them() -> None:
    kinds = set()
    for stream in streams(12):
        for question in stream.questions:
            if question.kind in ("latest", "exception"):
                (chunk,) = question.evidence or ()
                rest = [place for place in range(len(stream.chunks)) if place != chunk]
                stale = solver(stream, rest).answer(question.text)
                assert stale != question.answers[0]
                kinds.add((question.kind, stale is not None))
    assert {("latest", True), ("exception", True)} <= kinds


# Splits --------------------------------------------------------------------------------------------------------------

CHANCE = random.Random(5)
PROBES = {
    "strings": skills.WORDS,
    "lists": [", ".join(map(str, CHANCE.sample(range(1, 31), CHANCE.randint(3, 6)))) for _ in range(100)],
    "units": list(map(str, range(2, 41))),
    "game": [""],
}
"""What tasks are about, or as much of it as tells rules apart."""


def deeds(domain: str, rule: str) -> tuple[str, ...]:
    """What a rule does, by the solver's own steps."""
    made = []
    for probe in PROBES[domain]:
        try:
            made.append(applied(domain, rule, probe))
        except (IndexError, ValueError):  # nothing is left to work on
            made.append("")
    return tuple(made)


@pytest.mark.long
@pytest.mark.parametrize("steps", [1, 2])
def test_training_and_evaluation_share_no_rule_name_phrasing_word_or_place(steps: int) -> None:
    sides = {split: streams(40, split=split, steps=steps, distractors=0.1) for split in ("train", "eval")}
    taught: dict[str, set[Any]] = {}
    names: dict[str, set[str]] = {}
    said: dict[str, str] = {}
    for split, some in sides.items():
        lessons = {lesson for stream in some for lesson in solver(stream).taught}
        taught[split] = {(domain, deeds(domain, rule)) for domain, rule in lessons}
        names[split] = {place[1] for stream in some for place in solver(stream).rules}
        texts = [chunk.text for stream in some for chunk in stream.chunks]
        said[split] = "\n".join([*texts, *(question.text for stream in some for question in stream.questions)])
        assert {domain for domain, _ in taught[split]} == set(DOMAINS)
    assert not taught["train"] & taught["eval"]
    assert not names["train"] & names["eval"]
    used = {split: set(re.findall(r"\w+", text)) for split, text in said.items()}
    assert not {word for word in skills.WORDS if word in used["train"] and word in used["eval"]}
    assert not {place for place in skills.PLACES if place in said["train"] and place in said["eval"]}
    for domain in skills.DOMAINS.values():
        for options in (domain.told, domain.changed, domain.excepted, domain.unknown, domain.solved, domain.ask):
            half = len(options) // 2
            for place, option in enumerate(options):
                amounts = r"\\d+" if domain.name == "units" else "[^.?:\n]+?"
                pattern = re.sub(r"\\\{[xy]\\\}", amounts, re.escape(option))
                pattern = re.sub(r"\\\{\w\\\}", "[^.?:\n]+?", pattern)
                other = said["eval" if place < half else "train"]
                assert re.search(rf"(?:^|[.:?] ){pattern}", other, re.MULTILINE) is None, option


@pytest.mark.slow
@pytest.mark.parametrize("domain", DOMAINS)
def test_no_rule_is_on_both_sides_in_other_words(domain: str) -> None:
    sides = {
        split: {deeds(domain, rule.words): rule.words for steps in (1, 2, 3) for rule in rules(domain, steps, split)}
        for split in ("train", "eval")
    }
    shared = sides["train"].keys() & sides["eval"].keys()
    assert [(sides["train"][key], sides["eval"][key]) for key in shared] == []


@pytest.mark.long
def test_the_rules_of_a_side_do_not_depend_on_options_and_seeds() -> None:
    sides = {
        split: {
            lesson
            for seed in (0, 1)
            for steps in (1, 2)
            for stream in streams(20, split=split, seed=seed, steps=steps, domains=["strings", "units"])
            for lesson in solver(stream).taught
        }
        for split in ("train", "eval")
    }
    assert not sides["train"] & sides["eval"]


# The rest ------------------------------------------------------------------------------------------------------------


def test_seeds_and_independence_of_the_count() -> None:
    assert streams(5, seed=3)[:2] == streams(2, seed=3)
    assert streams(1, seed=3)[0].chunks != streams(1, seed=4)[0].chunks
    assert streams(2, seed=3)[0].chunks != streams(2, seed=3)[1].chunks
    assert list(islice(open_source("experiences", {"seed": 3, "chunks": 10, "questions": 40}), 2)) == streams(2, seed=3)


def test_shares_tell_what_comes_up() -> None:
    plain = streams(6, changes=0, exceptions=0, cases=0, unsolved=0)
    assert {question.kind for stream in plain for question in stream.questions} == {"rule", "multi-hop"}
    assert all(note["replaces"] is None for stream in plain for notes in stream.metadata["notes"] for note in notes)
    only = streams(4, changes=0, exceptions=0, cases=1, unsolved=0)
    assert {question.kind for stream in only for question in stream.questions} == {"case"}
    (stream,) = streams(1, domains=["game"])
    assert set(stream.metadata["domains"].values()) == {"game"}
    (stream,) = streams(1, chunks=1, tasks=1, distractors=0.99)
    assert stream.questions


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"changes": 0.6, "exceptions": 0.6}, "must sum to at most 1, got changes=0.6, exceptions=0.6"),
        ({"domains": []}, "domains"),
        ({"domains": ["string"]}, "domains"),
        ({"steps": 4}, "steps"),
        ({"chunks": 0}, "chunks"),
        ({"distractors": 1}, "distractors"),
        ({"split": "test"}, "split"),
    ],
)
def test_options_out_of_range_are_refused_at_once(options: dict[str, Any], told: str) -> None:
    with pytest.raises(DataError, match=told):
        open_source("experiences", options)


def test_a_teacher_finds_each_note_as_a_sentence_of_its_chunk() -> None:
    for stream in streams(10):
        before: set[str] = set()
        for chunk, notes in zip(stream.chunks, stream.metadata["notes"], strict=True):
            held = sentences(chunk.text)
            for note in notes:
                assert note["text"] in held and note["store"] in {"procedural", "episodic"}
                assert note["replaces"] is None or note["replaces"] in before
                before.add(note["text"])
        for question in stream.questions:
            support = stream.metadata["support"][question.id]
            needed = [support] if isinstance(support, str) else support
            assert bool(needed) == (question.kind != "unanswerable")
            noted = {note["text"] for place in question.evidence or () for note in stream.metadata["notes"][place]}
            assert set(needed) <= noted


@pytest.mark.parametrize("design", DESIGNS.shipped)
def test_every_design_keeps_what_was_learned(design: str) -> None:
    """The sentences that answer are held, a changed rule in the place of the old one."""
    (stream,) = streams(1, seed=2, chunks=12)
    memory = DESIGNS.get(design)(10_000, 500, count_words)
    keep_notes(memory, stream)
    for question in stream.questions:
        support = stream.metadata["support"][question.id]
        for sentence in [support] if isinstance(support, str) else support:
            assert holder(memory.items, sentence) is not None, sentence
    stores = {item.store for item in memory.items}
    if design == "typed":
        assert stores == {"procedural", "episodic"}
    elif design == "stores":
        assert stores == {"semantic", "episodic"}


@pytest.mark.parametrize(
    ("design", "stores"), [("typed", {"procedural", "episodic"}), ("stores", {"semantic", "episodic"})]
)
def test_the_teacher_of_a_warm_start_files_what_was_learned(design: str, stores: set[str]) -> None:
    (stream,) = streams(1, seed=4, cases=0.3, changes=0.3)
    memory = DESIGNS.get(design)(10_000, 500, count_words)
    diligent = Carelessness(store=1.0, chatter=0.0, update=1.0, misfile=0.0)
    filed, replaced = set(), 0
    for place, chunk in enumerate(stream.chunks):
        calls = demonstrate(stream, place, memory, memory.render(chunk.text, 10_000), random.Random(0), diligent)
        filed |= {call.arguments["memory_type"] for call in calls if call.name == "memory_insert"}
        replaced += sum(call.name == "memory_update" for call in calls)
        for call in calls:
            assert memory.execute(call, time=chunk.time).ok
    notes = [note for noted in stream.metadata["notes"] for note in noted]
    assert filed == stores
    assert replaced == sum(note["replaces"] is not None for note in notes) > 0
    assert len(memory.items) == len(notes) - replaced


@pytest.mark.slow
def test_a_long_stream_does_not_run_out_of_news() -> None:
    for split in ("train", "eval"):
        (stream,) = streams(1, chunks=2000, questions=4000, split=split)
        counts = [len(notes) for notes in stream.metadata["notes"]]
        assert sum(counts[-500:]) > 0.9 * sum(counts[:500])
        knows = solver(stream)
        for question in stream.questions:
            answer = knows.answer(question.text)
            assert answer == (None if question.kind == "unanswerable" else question.answers[0])
        assert max(len(chunk.text) for chunk in stream.chunks) < 2000
