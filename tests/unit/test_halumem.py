"""HaluMem: questions hold as of their session, updates retire them, and false facts are no memory points."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Question, Stream
from tests.raw import halumem


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    streams = open_source("halumem", {"path": halumem.write(tmp_path)})
    return next(stream for stream in streams if stream.id == "halumem-user-a")


@pytest.fixture
def asked(stream: Stream) -> dict[str, Question]:
    return {question.id.removeprefix("user-a-"): question for question in stream.questions}


def test_a_session_is_a_dated_chunk(stream: Stream) -> None:
    assert [chunk.time for chunk in stream.chunks] == [
        f"{day}, 2025, 09:00:00" for day in ("Sep 04", "Oct 01", "Nov 05", "Dec 01")
    ]
    assert stream.chunks[2].text == "User: I work as a pilot now.\nAssistant: Congratulations."


def test_false_facts_are_no_memory_points(stream: Stream) -> None:
    assert stream.metadata["memory_points"] == [
        ["Ada is a baker.", "Ada has a dog called Rex."],
        [],
        ["Ada is a pilot."],
        [],
    ]


def test_a_question_that_a_later_session_updates_is_left_out(asked: dict[str, Question]) -> None:
    assert list(asked) == ["0-1", "0-2", "0-3", "2-0", "2-1"]


def test_each_question_says_as_of_when(asked: dict[str, Question]) -> None:
    assert asked["0-1"].text == "As of Sep 04, 2025, 09:30:00: What is Ada's dog called?"


def test_evidence_is_the_sessions_of_the_points_else_the_one_it_is_asked_after(asked: dict[str, Question]) -> None:
    assert {name: question.evidence for name, question in asked.items()} == {
        "0-1": (0,),
        "0-2": None,
        "0-3": (0,),
        "2-0": (0, 2),
        "2-1": (2,),
    }


def test_only_what_is_unknown_is_to_be_declined(asked: dict[str, Question]) -> None:
    unknown, known = asked["0-2"], asked["0-3"]
    assert (unknown.metric, unknown.answers, unknown.kind) == ("abstention", ABSTAIN, "memory-boundary")
    assert (known.metric, known.answers, known.kind) == ("token_f1", ("No, she has a dog.",), "memory-boundary")
    assert asked["2-1"].kind == "generalization-application"


@pytest.mark.parametrize("answer", ["Unknown.", "This wasn't mentioned.", "The user did not provide this information."])
def test_ways_to_say_unknown(tmp_path: Path, answer: str) -> None:
    user = halumem.user("a")
    user["sessions"][0]["questions"] = [halumem.question("What is Ada's height?", answer, "Memory Boundary")]
    path = tmp_path / "HaluMem-Long.jsonl"
    path.write_text(json.dumps(user), encoding="utf-8")
    (stream,) = open_source("halumem", {"path": path})
    assert stream.questions[0].metric == "abstention"


def test_a_session_without_dialogue_is_named(tmp_path: Path) -> None:
    user = halumem.user("a")
    del user["sessions"][1]["dialogue"]
    path = tmp_path / "HaluMem-Long.jsonl"
    path.write_text(json.dumps(user), encoding="utf-8")
    with pytest.raises(DataError, match=r"HaluMem-Long\.jsonl, line 1.*dialogue"):
        list(open_source("halumem", {"path": path}))
