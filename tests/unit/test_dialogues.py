"""Synthetic dialogues: one right answer for each question, evidence that holds it, and splits that share no words."""

from __future__ import annotations

import re
from datetime import date
from itertools import islice
from typing import Any

import pytest

from envs.building.dialogue import ABSTAIN
from envs.building.talk import ASK_COUNT, ASK_DAYS, ATTRIBUTES, CITIES, EVENTS, NAMES, phrasings
from envs.building.tokens import count_tokens
from envs.sources import open_source
from envs.stream import Stream
from rewards.metrics import METRICS

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
    """(chunk, date, what the user says)."""
    return [
        (place, chunk.time or "", line.removeprefix("User: "))
        for place, chunk in enumerate(stream.chunks)
        for line in chunk.text.split("\n")
        if line.startswith("User: ")
    ]


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
    """The words in a sentence of one of these phrasings; the shortest."""
    readings = []
    for option in options:
        pattern = re.escape(option[0].upper() + option[1:] if option[0] != "{" else option)
        found = re.fullmatch(re.sub(r"\\\{(\w)\\\}", r"(?P<\1>.+)", pattern), text)
        if found:
            readings.append(found.groupdict())
    return min(readings, key=lambda words: sum(map(len, words.values())), default=None)


def test_an_independent_reading_of_the_text_gives_the_same_answers(some: list[Stream]) -> None:
    checked = set()
    for stream in some:
        told = lines(stream)
        mine: dict[str, list[str]] = {attribute.key: [] for attribute in ATTRIBUTES}
        outings: dict[str, tuple[str, str]] = {}
        for _, day, text in told:
            for attribute in ATTRIBUTES:
                if found := matches(attribute.mine + attribute.changed, text):
                    mine[attribute.key].append(found["v"])
            if found := matches(EVENTS, text):
                assert found["v"] not in outings
                outings[found["v"]] = (day, found["n"])
        for question in stream.questions:
            gold = question.answers[0]
            for attribute in ATTRIBUTES:
                if question.text in attribute.ask:
                    assert gold == mine[attribute.key][-1]
                    assert question.kind == ("latest" if len(mine[attribute.key]) > 1 else attribute.kind)
                elif question.text in attribute.before:
                    assert gold == mine[attribute.key][-2] != mine[attribute.key][-1]
                else:
                    continue
                checked.add(question.kind)
            place = next((name for name in outings if f"the {name}" in question.text), None)
            if question.kind in {"temporal", "who"}:
                assert place is not None and gold == outings[place][0 if question.kind == "temporal" else 1]
            elif found := matches(ASK_COUNT, question.text):
                assert gold == str(sum(person == found["n"] for _, person in outings.values()))
            elif found := matches(ASK_DAYS, question.text):
                days = [date.fromisoformat(outings[found[key]][0]) for key in ("v", "w")]
                assert gold == str((days[1] - days[0]).days)
            elif question.kind == "order":
                pair = re.search(r"A: the (.+?)\. B: the (.+?)\.", question.text)
                assert pair is not None
                first = outings[pair[1]][0] < outings[pair[2]][0]
                assert gold == ("A" if first else "B")
            else:
                continue
            checked.add(question.kind)
    assert checked >= {"latest", "previous", "temporal", "who", "count", "days-between", "order"}


def test_nobody_shares_a_pet_so_that_its_owner_is_one(some: list[Stream]) -> None:
    pets = next(attribute for attribute in ATTRIBUTES if attribute.key == "pet")
    for stream in some:
        kept = [found["v"] for _, _, text in lines(stream) if (found := matches(pets.mine + pets.theirs, text))]
        assert len(kept) == len(set(kept))


def test_splits_share_no_name_value_or_phrasing() -> None:
    train, held_out = (
        " ".join(str(stream.model_dump()) for stream in streams(6, split=split)) for split in ("train", "eval")
    )
    for word in (*NAMES, *CITIES):
        assert not (re.search(rf"\b{word}\b", train) and re.search(rf"\b{word}\b", held_out)), word
    for attribute in ATTRIBUTES:
        for options in (attribute.mine, attribute.ask):
            assert not set(phrasings(options, "train")) & set(phrasings(options, "eval"))
        assert not any(ask in held_out for ask in phrasings(attribute.ask, "train"))
        assert not any(ask in train for ask in phrasings(attribute.ask, "eval"))


def test_seeds_and_independence_of_the_count() -> None:
    assert streams(5, seed=3)[:2] == streams(2, seed=3)
    assert streams(1, seed=3) != streams(1, seed=4)
    endless = open_source("dialogues", {"seed": 3, "sessions": 40, "questions": 60})
    assert list(islice(endless, 2)) == streams(2, seed=3)


def test_notes_tell_what_is_worth_keeping_and_what_it_replaces(some: list[Stream]) -> None:
    for stream in some:
        before: set[str] = set()
        for chunk, notes in zip(stream.chunks, stream.metadata["notes"], strict=True):
            for note in notes:
                assert note["text"] in chunk.text and note["store"] in {"semantic", "episodic"}
                assert note["replaces"] is None or note["replaces"] in before
                before.add(note["text"])
        for question in stream.questions:
            support = stream.metadata["support"][question.id]
            assert not support or any(support in stream.chunks[place].text for place in question.evidence or ())


def test_any_length() -> None:
    (stream,) = streams(1, sessions=1500, people=40)
    assert sum(count_tokens(chunk.text) for chunk in stream.chunks) > 150_000
    assert max(count_tokens(chunk.text) for chunk in stream.chunks) <= 256
    assert len({question.text for question in stream.questions}) == len(stream.questions)
