"""Made-up streams: the same for the same seed, true to their knobs, each question with one answer and its evidence."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import pytest

from memrl.envs.designs.stores import StoreMemory
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.sources.synthetic import EVENTS, FACTS, MONTHS, Relation, synthetic
from memrl.envs.stream import Chunk, Stream
from memrl.envs.tools import ResultCode, ToolCall

SETTINGS: list[dict[str, Any]] = [
    {},
    {"chatter": 0.25, "changes": 0.4, "events": 0.2},
    {"people": 2, "chunks": 15, "changes": 0.3},
    {"people": 60, "chunks": 12, "chatter": 0.0, "questions": 1000},
    {"chunks": 1, "sentences": 1},
]


@pytest.fixture(params=SETTINGS, ids=str)
def streams(request: pytest.FixtureRequest) -> list[Stream]:
    return list(synthetic(seed=5, count=30, **request.param))


def notes(stream: Stream) -> Iterator[tuple[int, dict[str, Any]]]:
    for chunk, noted in enumerate(stream.metadata["notes"]):
        for note in noted:
            yield chunk, note


def true_at_the_end(stream: Stream) -> list[tuple[int, str]]:
    replaced = {note["replaces"] for _, note in notes(stream)}
    return [(chunk, note["text"]) for chunk, note in notes(stream) if note["text"] not in replaced]


def readings(text: str) -> Iterator[tuple[Relation, str, str]]:
    """What a sentence says, read off the templates."""
    person = text.split()[0]
    for relation in (*FACTS, *EVENTS):
        for form in filter(None, (relation.told, relation.changed)):
            head, tail = form.format(n=person, v="|").split("|")
            value = text.removeprefix(head).removesuffix(tail)
            if form.format(n=person, v=value) == text and value in relation.value:
                yield relation, person, value


def right_answers(stream: Stream) -> dict[str, set[tuple[int, str]]]:
    """Question -> (chunk, answer) of everything that answers it, worked out from the noted sentences alone."""
    found: dict[str, set[tuple[int, str]]] = defaultdict(set)
    for chunk, text in true_at_the_end(stream):
        for relation, person, value in readings(text):
            answer = str(stream.chunks[chunk].time) if relation in EVENTS else value
            found[relation.ask.format(n=person, v=value)].add((chunk, answer))
            if relation.who:
                found[relation.who.format(n=person, v=value)].add((chunk, person))
    return found


def test_the_same_seed_gives_the_same_streams_and_another_does_not() -> None:
    assert list(synthetic(seed=3, count=5)) == list(synthetic(seed=3, count=5))
    assert next(synthetic(seed=3)).chunks != next(synthetic(seed=4)).chunks


def test_a_stream_does_not_depend_on_how_many_are_taken() -> None:
    many = list(synthetic(seed=3, count=12))
    assert list(synthetic(seed=3, count=4)) == many[:4]
    assert list(islice(synthetic(seed=3), 12)) == many
    assert len({stream.id for stream in many}) == len({stream.chunks for stream in many}) == 12
    assert list(synthetic(count=0)) == []


def test_a_stream_stays_what_it_was() -> None:
    """Trained models and saved figures depend on these very streams: changing them must be a decision."""
    first, *others = synthetic(seed=0, count=20)
    assert first.chunks[0] == Chunk(
        text="Ralf likes cheese. Gina likes toast. Ralf looked at the plain scarf. The quiet kite vanished again.",
        time="July 21",
    )
    lines = "".join(stream.model_dump_json() for stream in (first, *others))
    assert hashlib.sha256(lines.encode()).hexdigest()[:16] == "c359b31702be5b46"


def test_evidence_holds_the_answer(streams: list[Stream]) -> None:
    for stream in streams:
        assert stream.questions
        for question in stream.questions:
            assert question.evidence is not None
            (place,) = question.evidence
            (answer,) = question.answers
            chunk = stream.chunks[place]
            support = stream.metadata["support"][question.id]
            assert support in chunk.text
            assert support in [note["text"] for note in stream.metadata["notes"][place]]
            if question.kind == "when":
                assert answer == chunk.time
            else:
                assert answer in support


def test_every_question_has_one_answer_at_the_end(streams: list[Stream]) -> None:
    for stream in streams:
        assert len({question.text for question in stream.questions}) == len(stream.questions)
        right = right_answers(stream)
        for question in stream.questions:
            assert question.evidence is not None
            assert right[question.text] == {(question.evidence[0], question.answers[0])}


def test_every_kind_is_asked() -> None:
    kinds = [question.kind for stream in synthetic(count=50) for question in stream.questions]
    assert set(kinds) == {"fact", "latest", "when", "who"}
    assert min(kinds.count(kind) for kind in set(kinds)) > 0.02 * len(kinds)


def test_latest_asks_for_what_was_changed_and_nothing_else() -> None:
    for stream in synthetic(count=50, changes=0.4):
        changed = {note["text"] for _, note in notes(stream) if note["replaces"]}
        for question in stream.questions:
            if question.kind in ("fact", "latest"):
                assert (stream.metadata["support"][question.id] in changed) == (question.kind == "latest")


@pytest.mark.long
def test_a_change_replaces_a_sentence_of_an_earlier_chunk(streams: list[Stream]) -> None:
    for stream in streams:
        told: dict[str, int] = {}
        for chunk, note in notes(stream):
            assert note["text"] not in told
            if note["replaces"]:
                assert told[note["replaces"]] < chunk
                assert note["text"].split()[0] == note["replaces"].split()[0]
            told[note["text"]] = chunk


@pytest.mark.parametrize("chatter", [0.0, 0.25, 0.6])
@pytest.mark.parametrize(("changes", "events"), [(0.0, 0.0), (0.15, 0.25), (0.3, 0.5), (0.0, 1.0)])
def test_shares_are_close_to_the_knobs(chatter: float, changes: float, events: float) -> None:
    streams = list(synthetic(count=60, chunks=8, people=12, chatter=chatter, changes=changes, events=events))
    noted = [note for stream in streams for _, note in notes(stream)]
    for stream in streams:
        assert len(list(notes(stream))) == round(32 * (1 - chatter))
    assert sum(note["store"] == "episodic" for note in noted) / len(noted) == pytest.approx(events, abs=0.05)
    # The first chunk has nothing to change, so the share stays a little under its knob.
    shared = sum(bool(note["replaces"]) for note in noted) / len(noted)
    assert 0.6 * changes - 0.02 <= shared <= changes + 0.03


def test_each_chunk_has_the_stated_number_of_sentences() -> None:
    for stream in synthetic(count=20, chunks=5, sentences=7):
        assert [chunk.text.count(".") for chunk in stream.chunks] == [7] * 5


def stored(stream: Stream, chosen: list[list[str]], budget: int) -> list[ResultCode]:
    memory = StoreMemory(budget, 10)
    return [
        memory.execute(
            ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": text}), time=chunk.time
        ).code
        for chunk, texts in zip(stream.chunks, chosen, strict=True)
        for text in texts
    ]


def test_storing_everything_fails_a_budget_that_storing_the_noteworthy_keeps() -> None:
    for stream in synthetic(count=50):
        everything = [[f"{text}." for text in chunk.text.split(".") if text] for chunk in stream.chunks]
        noteworthy = [[note["text"] for note in noted] for noted in stream.metadata["notes"]]
        budget = 90
        assert ResultCode.OVER_BUDGET in stored(stream, everything, budget)
        assert set(stored(stream, noteworthy, budget)) == {ResultCode.OK}


def test_chatter_names_the_same_people_and_things() -> None:
    chatter, noted = "", ""
    for stream in synthetic(count=50):
        for chunk, listed in zip(stream.chunks, stream.metadata["notes"], strict=True):
            texts = [note["text"] for note in listed]
            noted += " ".join(texts) + " "
            chatter += " ".join(part for part in chunk.text.split(".") if f"{part.strip()}." not in texts) + " "
    shared = {word for word in noted.replace(".", " ").split() if word[0].isupper()} & set(chatter.split())
    assert len(shared) > 50


def test_dates_of_long_streams_are_dates_and_follow_each_other() -> None:
    for stream in synthetic(count=30, chunks=100, sentences=1):
        days = [
            MONTHS.index(month) * 28 + int(day) for month, day in (str(chunk.time).split() for chunk in stream.chunks)
        ]
        assert all(1 <= int(str(chunk.time).split()[1]) <= 28 for chunk in stream.chunks)
        assert all((later - earlier) % (12 * 28) == 1 for earlier, later in pairwise(days))


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ({"chunks": 0}, "chunks=0"),
        ({"sentences": 0}, "sentences=0"),
        ({"questions": 0}, "questions=0"),
        ({"people": 0}, "people=0"),
        ({"people": 10_000}, "people=10000"),
        ({"chatter": 1.0}, "chatter=1.0"),
        ({"chatter": -0.1}, "chatter=-0.1"),
        ({"chatter": float("nan")}, "chatter=nan"),
        ({"changes": 0.7, "events": 0.4}, "changes=0.7, events=0.4"),
        ({"events": 1.1}, "events=1.1"),
        ({"count": -1}, "count=-1"),
        ({"chunks": "many"}, "chunks"),
        ({"chunkz": 3}, "did you mean 'chunks'"),
    ],
)
def test_a_bad_knob_is_named_before_the_first_stream(knobs: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source("synthetic", knobs)
