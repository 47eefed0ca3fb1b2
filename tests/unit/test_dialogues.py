"""Synthetic dialogues: one right answer for each question, evidence that holds it, and splits that share no words."""

from __future__ import annotations

import re
from datetime import date
from itertools import islice
from typing import Any

import pytest

from memrl.envs.building import talk
from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.building.prose import sentences
from memrl.envs.building.talk import ASK_COUNT, ASK_COUNT_THERE, ASK_DAYS, ATTRIBUTES, EVENTS, article, phrasings
from memrl.envs.building.tokens import count_tokens
from memrl.envs.sources import open_source
from memrl.envs.sources.dialogues import SOURCE
from memrl.envs.stream import Stream
from memrl.rewards.metrics import METRICS

KINDS = {
    "fact", "preference", "latest", "previous", "relation", "unanswerable", "multi-hop", "temporal", "who", "count",
    "days-between", "order",
}  # fmt: skip
SPANS = {"fact", "preference", "latest", "previous", "relation", "multi-hop", "who"}


def streams(count: int = 8, **options: Any) -> list[Stream]:
    return list(open_source("dialogues", {"count": count, "sessions": 40, "questions": 60, **options}))


@pytest.fixture(scope="module")
def some() -> list[Stream]:
    return [*streams(), *streams(4, changes=0.02)]


def lines(stream: Stream) -> list[tuple[int, str, str]]:
    """(chunk, date, what the user says, without an opener)."""
    found = []
    for place, chunk in enumerate(stream.chunks):
        for line in chunk.text.split("\n"):
            if line.startswith("User: "):
                said = line.removeprefix("User: ")
                for opener in talk.OPENERS:
                    said = said.removeprefix(f"{opener} ")
                found.append((place, chunk.time or "", said))
    return found


@pytest.mark.long
def test_every_kind_is_asked_with_a_known_metric_and_evidence(some: list[Stream]) -> None:
    asked = [question for stream in some for question in stream.questions]
    assert {question.kind for question in asked} == KINDS
    for question in asked:
        assert question.metric in METRICS and question.evidence
        assert (question.answers == ABSTAIN) == (question.kind == "unanswerable")


def test_spans_stand_in_their_evidence(some: list[Stream]) -> None:
    for stream in some:
        for question in stream.questions:
            held = " ".join(stream.chunks[place].text for place in question.evidence or ())
            if question.kind in SPANS:
                assert question.answers[0] in held
            elif question.kind == "temporal":
                assert question.answers[0] in {stream.chunks[place].time for place in question.evidence or ()}


def matches(options: tuple[str, ...], text: str) -> dict[str, str] | None:
    """The words in a sentence of one of these phrasings, articles taken off; the shortest."""
    readings = []
    for option in options:
        pattern = re.escape(option[0].upper() + option[1:] if option[0] != "{" else option)
        pattern = re.sub(r"\\\{a\\\}", r"(?:[Aa]n?) (?P<v>.+)", pattern)
        found = re.fullmatch(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>.+)", pattern), text)
        if found:
            readings.append(found.groupdict())
    return min(readings, key=lambda words: sum(map(len, words.values())), default=None)


class Ledger:
    """What a reader of the text alone takes from it. It shares the phrasings with the source, and no bookkeeping."""

    def __init__(self, stream: Stream) -> None:
        self.mine: dict[str, list[str]] = {attribute.key: [] for attribute in ATTRIBUTES}
        self.theirs: dict[tuple[str, str], list[str]] = {}
        self.relations: dict[str, str] = {}
        self.outings: dict[str, tuple[str, str]] = {}
        self.introduced: dict[str, int] = {}
        for chunk, day, text in lines(stream):
            if found := matches(talk.INTRODUCTIONS, text):
                assert found["n"] not in self.relations
                assert found["x"] == article(found["x"].split(" ", 1)[1])
                self.relations[found["n"]] = found["x"].split(" ", 1)[1]
                self.introduced[found["n"]] = chunk
            elif found := matches(EVENTS, text):
                assert found["v"] not in self.outings
                self.outings[found["v"]] = (day, found["n"])
            else:
                self.read(text)

    def read(self, text: str) -> None:
        """The reading with the shortest value: "has an allergy to soy" is no pet."""
        found: list[tuple[int, str, str, str]] = []
        for attribute in ATTRIBUTES:
            if own := matches(attribute.mine + attribute.changed, text):
                found.append((len(own["v"]), "", attribute.key, own["v"]))
            for name, relation in self.relations.items():
                if f"y {relation} {name}" not in text:
                    continue
                options = tuple(
                    option.replace("{p}", f"{'My' if option.startswith('{p}') else 'my'} {relation} {name}")
                    for option in attribute.theirs + attribute.changed_theirs
                )
                if theirs := matches(options, text):
                    found.append((len(theirs["v"]), name, attribute.key, theirs["v"]))
        if found:
            _, name, key, value = min(found)
            told = self.theirs.setdefault((name, key), []) if name else self.mine[key]
            told.append(value)

    def answer(self, text: str) -> str | None:
        """None: it was never told."""
        for attribute in ATTRIBUTES:
            if text in attribute.ask:
                return self.mine[attribute.key][-1]
            if text in attribute.before:
                last = self.mine[attribute.key]
                assert last[-1] != last[-2]
                return last[-2]
            if (found := matches(attribute.ask_theirs, text)) and found["n"] in self.relations:
                told = self.theirs.get((found["n"], attribute.key))
                return told[-1] if told else None
        if found := matches(talk.ASK_RELATION, text):
            return self.relations[found["n"]]
        for key, options in (("home", talk.ASK_HOP), ("job", talk.ASK_HOP_JOB)):
            if found := matches(options, text):
                (owner,) = {name for (name, what), told in self.theirs.items() if what == "pet" and found["v"] in told}
                return self.theirs[owner, key][-1]
        if found := matches(talk.ASK_WHEN, text):
            return self.outings[found["v"]][0]
        if found := matches(talk.ASK_WHO, text):
            return self.outings[found["v"]][1]
        if found := matches(ASK_COUNT_THERE, text) or matches(ASK_COUNT, text):
            city = f" in {found['c']}" if "c" in found else ""
            return str(sum(who == found["n"] and place.endswith(city) for place, (_, who) in self.outings.items()))
        if found := matches(ASK_DAYS, text):
            early, late = (date.fromisoformat(self.outings[found[key]][0]) for key in ("v", "w"))
            assert early < late
            return str((late - early).days)
        pair = re.search(r"A: the (.+?)\. B: the (.+?)\. Answer", text)
        assert pair is not None, text
        return "A" if self.outings[pair[1]][0] < self.outings[pair[2]][0] else "B"


@pytest.mark.long
@pytest.mark.parametrize("split", [None, "train", "eval"])
def test_an_independent_reading_of_the_text_gives_the_same_answers(split: str | None) -> None:
    checked = set()
    for stream in [*streams(4, split=split), *streams(2, split=split, changes=0.02, seed=9)]:
        ledger = Ledger(stream)
        for question in stream.questions:
            answer = ledger.answer(question.text)
            if question.kind == "unanswerable":
                assert answer is None, question.text
                assert question.evidence == tuple(at for name, at in ledger.introduced.items() if name in question.text)
            else:
                assert answer == question.answers[0], question.text
            checked.add(question.kind)
    assert checked == KINDS


@pytest.mark.long
def test_the_kind_tells_whether_a_value_was_changed(some: list[Stream]) -> None:
    for stream in some:
        ledger = Ledger(stream)
        for question in stream.questions:
            for attribute in ATTRIBUTES:
                if question.text in attribute.ask:
                    changed = len(ledger.mine[attribute.key]) > 1
                    assert question.kind == ("latest" if changed else attribute.kind)


@pytest.mark.long
def test_nobody_shares_a_pet_and_sisters_are_women(some: list[Stream]) -> None:
    for stream in some:
        ledger = Ledger(stream)
        pets = ledger.mine["pet"] + [pet for (_, key), told in ledger.theirs.items() if key == "pet" for pet in told]
        assert len(pets) == len(set(pets))
        sorts = dict(talk.FAMILY)
        for name, relation in ledger.relations.items():
            names = {"f": talk.WOMEN, "m": talk.MEN}.get(sorts.get(relation, ""), talk.WOMEN + talk.MEN)
            assert name.split()[0] in names


LISTS = (
    *("WOMEN", "MEN", "SURNAMES", "CITIES", "JOBS", "PETS", "COATS", "FOODS", "SPORTS", "ALLERGENS", "DRINKS"),
    *("INSTRUMENTS", "ADJECTIVES", "NOUNS", "VENUES"),
)


def template(text: str) -> re.Pattern[str]:
    """What any sentence of a phrasing looks like."""
    return re.compile(re.sub(r"\\\{\w+\\\}", ".+", re.escape(text)), re.IGNORECASE)


@pytest.mark.slow
def test_splits_share_no_name_value_or_phrasing() -> None:
    said: dict[str, set[str]] = {}
    for split in ("train", "eval"):
        said[split] = set()
        for stream in streams(6, split=split, sessions=150, questions=400):
            said[split] |= {question.text for question in stream.questions}
            said[split] |= {sentence for chunk in stream.chunks for sentence in sentences(chunk.text)}
    words = {split: set(re.findall(r"[A-Za-z]+", " ".join(texts))) for split, texts in said.items()}
    for name in LISTS:
        options = getattr(talk, name)
        used = {split: {word for word in options if word in words[split]} for split in words}
        assert used["train"] and used["eval"], name
        assert not used["train"] & used["eval"], name
    plain = {split: {re.sub(r"^(User|Assistant): ", "", text) for text in texts} for split, texts in said.items()}
    assert not plain["train"] & plain["eval"]
    groups = [getattr(talk, name) for name in vars(talk) if name.startswith("ASK_")]
    groups += [talk.INTRODUCTIONS, talk.EVENTS, talk.OPENERS, talk.REPLIES]
    groups += [tuple(asked for asked, _ in talk.CHATTER), tuple(answered for _, answered in talk.CHATTER)]
    for attribute in ATTRIBUTES:
        groups += [attribute.mine, attribute.changed, attribute.theirs, attribute.changed_theirs]
        groups += [attribute.ask, attribute.before, attribute.ask_theirs]
    for options in groups:
        for split, other in (("train", "eval"), ("eval", "train")):
            for option in phrasings(options, split):
                assert not any(template(option).fullmatch(text) for text in plain[other]), option


@pytest.mark.long
def test_seeds_and_independence_of_the_count() -> None:
    assert streams(5, seed=3)[:2] == streams(2, seed=3)
    assert streams(1, seed=3)[0].chunks != streams(1, seed=4)[0].chunks  # ids differ anyway
    assert streams(2, seed=3)[0].chunks != streams(2, seed=3)[1].chunks
    endless = open_source("dialogues", {"seed": 3, "sessions": 40, "questions": 60})
    assert list(islice(endless, 2)) == streams(2, seed=3)


def test_a_teacher_finds_each_note_as_a_sentence_of_its_chunk(some: list[Stream]) -> None:
    for stream in some:
        before: set[str] = set()
        for chunk, notes in zip(stream.chunks, stream.metadata["notes"], strict=True):
            held = sentences(chunk.text)
            for note in notes:
                assert note["text"] in held and note["store"] in {"semantic", "episodic"}
                assert note["replaces"] is None or note["replaces"] in before
                before.add(note["text"])
        for question in stream.questions:
            support = stream.metadata["support"][question.id]
            assert bool(support) == (question.kind not in {"count", "days-between", "order", "unanswerable"})
            assert not support or support in {
                note["text"] for place in question.evidence or () for note in stream.metadata["notes"][place]
            }


def test_a_stream_of_one_chatty_session_still_asks_something() -> None:
    for stream in streams(10, sessions=1, turns=1, chatter=0.99):
        assert stream.questions


@pytest.mark.long
@pytest.mark.parametrize("split", ["train", "eval"])
def test_a_long_stream_does_not_run_out_of_news(split: str) -> None:
    (stream,) = streams(1, sessions=3000, split=split)
    assert sum(count_tokens(chunk.text) for chunk in stream.chunks) > 300_000
    assert max(count_tokens(chunk.text) for chunk in stream.chunks) <= 256
    assert len({question.text for question in stream.questions}) == len(stream.questions)
    counts = [len(notes) for notes in stream.metadata["notes"]]
    quarter = len(counts) // 4
    assert sum(counts[-quarter:]) > 0.9 * sum(counts[:quarter])
    met = sum(matches(talk.INTRODUCTIONS, text) is not None for _, _, text in lines(stream))
    assert met > 8 + 200  # more than `people` come up
    first, last = (date.fromisoformat(chunk.time or "") for chunk in (stream.chunks[0], stream.chunks[-1]))
    assert 1000 < (last - first).days < 2000  # a few years, however long it is


def test_a_default_with_a_bound_is_told_as_what_it_is() -> None:
    assert SOURCE.options()["count"] is None, "else an evaluation takes an endless source for one that ends"
    assert SOURCE.options()["sessions"] == 24


def test_only_the_kinds_that_are_wanted_are_asked() -> None:
    streams = SOURCE.open({"count": 3, "kinds": ["latest", "who"]})
    assert {question.kind for stream in streams for question in stream.questions} <= {"latest", "who"}
