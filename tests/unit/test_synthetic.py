"""Made-up streams: the same for the same seed, true to their knobs, each question with one answer and its evidence."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterator
from itertools import islice, pairwise
from typing import Any

import pytest

from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.building.lives import COUNTED, EVENTS, EXCEPTION, FACTS, HABIT, MONTHS, OCCASIONS, Relation
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.sources.synthetic import synthetic
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
    parts = [(stream.chunks, stream.questions, stream.metadata["notes"]) for stream in (first, *others)]
    assert hashlib.sha256(repr(parts).encode()).hexdigest()[:16] == "35993af13385a253"


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


# Kinds by option --------------------------------------------------------------------------------------------------


def asked(kind: str, **options: Any) -> list[tuple[Stream, Any]]:
    """The questions of one kind, with their streams."""
    streams = list(synthetic(seed=11, count=40, chunks=8, questions=1000, people=8, **options))
    found = [(stream, question) for stream in streams for question in stream.questions if question.kind == kind]
    assert len(found) > 20
    return found


def told_by(stream: Stream, form: str, **known: str) -> list[tuple[int, str]]:
    """(chunk, value) of the noted sentences of a form, in order."""
    head, tail = form.format(**known, v="|").split("|")
    return [
        (chunk, note["text"][len(head) : len(note["text"]) - len(tail)])
        for chunk, note in notes(stream)
        if note["text"].startswith(head) and note["text"].endswith(tail)
    ]


def test_a_correction_says_what_was_wrong_and_the_answer_is_what_is_right() -> None:
    for stream, question in asked("correction", corrections=0.3):
        (sentence,) = [stream.metadata["support"][question.id]]
        (note,) = [note for _, note in notes(stream) if note["text"] == sentence]
        wrong = next(value for _, _, value in readings_of_any(note["replaces"]))
        right = next(value for _, _, value in readings_of_any(sentence))
        assert sentence.removesuffix(".").endswith(f"{wrong}")
        assert ", not " in sentence
        assert question.answers == (right,) != (wrong,)
        assert [answer for _, answer in stream.metadata["versions"][question.id]][-2:] == [wrong, right]


def readings_of_any(text: str) -> Iterator[tuple[Relation, str, str]]:
    """What a told, changed or correcting sentence says."""
    plain = text.split(", not ")[0].removesuffix(".") + "."
    yield from readings(plain)


def test_after_a_retraction_nothing_is_known_and_nobody_is_asked_for() -> None:
    for stream, question in asked("retraction", retractions=0.3):
        assert question.answers == ABSTAIN
        assert question.metric == "abstention"
        sentence = stream.metadata["support"][question.id]
        (note,) = [note for _, note in notes(stream) if note["text"] == sentence]
        assert note["ends"] and " no longer " in sentence and note["replaces"]
        value = next(value for _, _, value in readings_of_any(note["replaces"]))
        assert not any(value in other.text for other in stream.questions if other.kind == "who")


def test_counts_add_up() -> None:
    several = 0
    for stream, question in asked("count", counts=0.4):
        person = question.text.split()[-2]
        entries = told_by(stream, COUNTED.told, n=person)
        assert question.answers == (str(sum(int(amount) for _, amount in entries)),)
        assert question.evidence == tuple(sorted({chunk for chunk, _ in entries}))
        several += len(entries) > 1
    assert several > 10


def test_an_exception_overrides_a_preference_on_its_occasion_alone() -> None:
    overridden = 0
    for stream, question in asked("preference", preferences=0.5):
        person = question.text.split()[3 - 1]
        occasion = next(when for when in OCCASIONS if question.text.endswith(f"{when}?"))
        general = [value for _, value in told_by(stream, HABIT.told, n=person) if " " not in value]
        own = [value for _, value in told_by(stream, EXCEPTION[0].replace("{when}", occasion), n=person)]
        assert question.answers == tuple(own or general)
        overridden += bool(own)
    assert overridden > 10


def test_as_of_asks_for_what_held_on_that_day() -> None:
    for stream, question in asked("as-of", changes=0.4, as_of=True):
        relation, person = next(
            (relation, question.text[len(head) :].split()[0])
            for relation in FACTS
            if relation.was and question.text.startswith(head := relation.was.split("{n}")[0])
            and relation.was.split("{n}")[1].split("{d}")[0] in question.text
        )  # fmt: skip
        day = question.text.split(" on ")[1].removesuffix("?")
        (place,) = [index for index, chunk in enumerate(stream.chunks) if chunk.time == day]
        assert relation.changed is not None
        said = sorted([*told_by(stream, relation.told, n=person), *told_by(stream, relation.changed, n=person)])
        assert question.answers == ([value for chunk, value in said if chunk <= place][-1],)
        assert question.evidence is not None and question.evidence[0] <= place < question.evidence[-1]


def test_a_multi_hop_question_names_the_person_by_another_fact() -> None:
    for stream, question in asked("multi-hop", multi_hop=True):
        job = question.text.split(" the ")[1].split()[0].removesuffix("?")
        true = {text: chunk for chunk, text in true_at_the_end(stream)}
        (holder,) = [text for text in true if text.endswith(f"works as a {job}.")]
        one, other = stream.metadata["support"][question.id]
        assert one == holder and other in true
        assert other.split()[0] == holder.split()[0]
        assert question.answers[0] in other
        assert question.evidence == tuple(sorted({true[one], true[other]}))


def test_namesakes_share_a_name_and_nothing_else() -> None:
    for stream, question in asked("namesake", namesakes=2):
        named = question.text.split(" the ")[1].split()[0].removesuffix("?")
        sentence = stream.metadata["support"][question.id]
        assert f" the {named} " in sentence and question.answers[0] in sentence
    streams = list(synthetic(seed=3, count=30, chunks=12, people=6, namesakes=2, questions=1000))
    told = {" ".join(note["text"].split()[:3]) for stream in streams for _, note in notes(stream)}
    assert sum(" the " in who for who in told) > 20


def test_options_do_not_move_each_other_s_streams() -> None:
    """What is asked beyond the default leaves the text alone."""
    plain, more = (list(synthetic(seed=2, count=10, changes=0.3, as_of=on, multi_hop=on)) for on in (False, True))
    assert [stream.chunks for stream in plain] == [stream.chunks for stream in more]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"corrections": 0.5, "changes": 0.4, "events": 0.2}, "corrections=0.5"),
        ({"retractions": -0.1}, "retractions=-0.1"),
        ({"namesakes": 4, "people": 6}, "0 to 3 with people=6"),
    ],
)
def test_knobs_out_of_range_are_named(options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        synthetic(**options)
