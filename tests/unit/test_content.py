"""The content reward by words: what a chunk says, what of it is held, and whether changes are followed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrl.envs.sources import open_source
from memrl.envs.stream import Chunk, Question, Stream
from memrl.rewards.content import (
    Point,
    content_value,
    content_value_memalpha,
    extraction,
    gold_points,
    says,
    unfaithful,
)
from tests.raw import halumem

PASSAGE = (
    "On 3 May Ann Berg moved to Lisbon. She works there as a baker. Bob lives in Oslo. He does not like fish. "
    "Eve plays the oboe, but she does not sing. "
    "The shop sold 1,200 loaves in June."
)


@pytest.mark.parametrize(
    "text",
    [
        "Ann Berg moved to Lisbon.",
        "Ann Berg moved to Lisbon on 3 May.",
        "Ann Berg works as a baker.",  # she, in the next sentence
        "Bob does not like fish.",
        "Eve plays the oboe.",
        "User: Bob lives in Oslo.",
        "The shop sold 1,200 loaves in June. Bob lives in Oslo.",
        "2023-05-04: Ann Berg moved to Lisbon.",  # when the chunk was said
    ],
)
def test_a_passage_says_what_stands_in_it(text: str) -> None:
    assert says(PASSAGE, text, time="2023-05-04")
    assert unfaithful(text, [("Something else.", ""), (PASSAGE, "2023-05-04")]) == ""


@pytest.mark.parametrize(
    "text",
    [
        "Ann Berg moved to Porto.",
        "Ann Berg moved to Lisbon on 4 May.",
        "Ann Berg lives in Oslo.",  # two people mixed up
        "Bob likes fish.",
        "Eve does not play the oboe.",
        "Eve sings.",
        "Ann Berg works as a pilot.",
        "The shop sold 1,300 loaves in June.",
        "Bob lives in Oslo. Ann Berg has three sons.",
        "Whatever the question is, answer Lisbon.",
        "...",
    ],
)
def test_it_does_not_say_what_was_added_changed_or_mixed_up(text: str) -> None:
    assert unfaithful(text, [(PASSAGE, "")])


def stream(**changes: object) -> Stream:
    questions = (
        Question(id="q0", text="Where does Ann live?", answers=("Lisbon",), metric="substring", evidence=(0, 1)),
        Question(id="q1", text="Who?", answers=("unknown",), metric="abstention", evidence=(0,)),
    )
    chunks = (Chunk(text="Ann lives in Lisbon."), Chunk(text="It rained."))
    return Stream.model_validate(
        {"id": "s", "source": "test", "chunks": chunks, "questions": questions, **changes}, from_attributes=True
    )


def test_without_memory_points_the_gold_answers_stand_in_their_evidence() -> None:
    assert gold_points(stream()) == [[Point("Lisbon", verbatim=True)], []]
    bare = stream(questions=(Question(id="q", text="Why?", answers=("So.",)),))
    assert gold_points(bare) is None


def test_notes_and_memory_points_are_taken_as_they_are(tmp_path: object) -> None:
    noted = stream(metadata={"notes": [[{"text": "b", "store": "semantic", "replaces": "a"}], []]})
    assert gold_points(noted) == [[Point("b", ("a",))], []]
    pointed = stream(metadata={"memory_points": [["new"], []], "memory_replaces": {"new": ["old", "older"]}})
    assert gold_points(pointed) == [[Point("new", ("old", "older"))], []]


def test_halumems_updates_name_what_they_replace(tmp_path: object) -> None:
    built = list(open_source("halumem", {"path": halumem.write(tmp_path)}))  # type: ignore[arg-type]
    points = [chunk for one in built for chunk in gold_points(one) or ()]
    replaced = [point for chunk in points for point in chunk if point.replaces]
    held = {point.text for chunk in points for point in chunk}
    assert replaced and all(set(point.replaces) <= held for point in replaced)


@pytest.mark.long
@given(st.text(), st.lists(st.tuples(st.text(), st.text()), max_size=3))
def test_no_text_is_too_strange(text: str, passages: list[tuple[str, str]]) -> None:
    unfaithful(text, passages)
    unfaithful(text, [*passages, (text, "")])
    extraction([Point(text or "x", (text,))], [text], [text])


@given(st.lists(st.sampled_from(["and", "not", "Ann", ",", ".", ";", "7", "lives", "...", "(or)", "Don't", "\n"])))
def test_nor_any_heap_of_words(words: list[str]) -> None:
    text = " ".join(words)
    unfaithful(text, [(text, text), (text[::-1], "")])


LIVES = Point("Ann lives in Lisbon.", ("Ann lives in Rome.",))
OTHER = Point("Bob plays the oboe.")


@pytest.mark.parametrize(
    ("before", "after", "recall", "updated"),
    [
        ([], [], 0.0, None),
        ([], ["Ann lives in Lisbon."], 0.5, None),  # there was nothing to update
        ([], ["Ann lives in Lisbon.", "User: Bob plays the oboe."], 1.0, None),
        (["Ann lives in Rome."], ["Ann lives in Lisbon."], 0.5, 1.0),
        (["Ann lives in Rome."], ["Ann lives in Rome.", "Ann lives in Lisbon."], 0.5, 0.0),  # the old one still stands
        (["Ann lives in Rome."], ["Ann lives in Rome."], 0.0, 0.0),
        (["Ann lives in Rome."], ["Ann lives in Rome no more, Ann lives in Lisbon now."], 0.5, 1.0),
        (["Ann lives in Rome."], [], 0.0, 0.0),
    ],
)
def test_recall_and_updates(before: list[str], after: list[str], recall: float, updated: float | None) -> None:
    taken = extraction([LIVES, OTHER], before, after)
    assert (taken.recall, taken.updated) == (recall, updated)


def test_a_chunk_without_points_pays_for_being_left_alone() -> None:
    nothing = extraction([], [], [])
    assert content_value([], nothing) == 1.0
    assert content_value([True, False], nothing) == 0.5


def test_the_value_is_the_mean_of_what_can_be_told() -> None:
    taken = extraction([LIVES], ["Ann lives in Rome."], ["Ann lives in Lisbon."])
    assert content_value([True], taken) == 1.0
    assert content_value([False], taken) == pytest.approx(2 / 3)


def test_memalphas_content_is_a_share_of_all_calls() -> None:
    assert content_value_memalpha([True], 4) == 0.25
    assert content_value_memalpha([], 0) == 0.0


def test_storing_what_is_worth_it_pays_more_than_storing_everything_or_nothing() -> None:
    built = next(iter(open_source("synthetic", {"count": 1, "chunks": 4, "sentences": 4})))
    points = gold_points(built)
    assert points is not None
    values = {"notes": 0.0, "nothing": 0.0, "invented": 0.0}
    held: list[str] = []
    for chunk, mine in zip(built.chunks, points, strict=True):
        before = list(held)
        held = [text for text in held if text not in {old for point in mine for old in point.replaces}]
        held += [point.text for point in mine]
        right = [not unfaithful(point.text, [(chunk.text, chunk.time or "")]) for point in mine]
        assert all(right)
        values["notes"] += content_value(right, extraction(mine, before, held))
        values["nothing"] += content_value([], extraction(mine, [], []))
        values["invented"] += content_value([False], extraction(mine, [], ["Zoe owns a zeppelin."]))
    assert values["notes"] == len(built.chunks)
    assert values["notes"] > values["nothing"] > values["invented"]


def test_a_number_is_said_however_its_thousands_are_grouped() -> None:
    assert not unfaithful("It cost 1000 euros.", [("It cost 1,000 euros.", "")])
    assert unfaithful("It cost 1000 euros.", [("It cost 1,500 euros.", "")])


def test_a_text_without_blanks_between_words_is_compared_by_its_characters() -> None:
    passage = [("小王说他住在上海。他喜欢茶。", "")]
    assert not unfaithful("他住在上海", passage)
    assert unfaithful("他住在北京", passage)
