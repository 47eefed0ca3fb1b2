"""BEAM: three layouts of a chat, evidence by ids of turns, golds by rubric."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.building.dialogue import ABSTAIN
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Question, Stream
from tests.raw import beam


def build(path: Path, **options: Any) -> list[Stream]:
    return sorted(open_source("beam", {"path": path, **options}), key=lambda stream: stream.id)


def asked(stream: Stream) -> dict[str, Question]:
    return {question.kind: question for question in stream.questions}


def test_sessions_are_dated_and_what_belongs_to_the_plan_is_not_told(tmp_path: Path) -> None:
    first, second = build(beam.write(tmp_path / "100K"))
    assert (first.id, second.id) == ("beam-100K-1", "beam-100K-2")
    assert [(chunk.time, chunk.text) for chunk in first.chunks] == [
        (
            "March-15-2024",
            "User: My sprint ends on March 29.\nAssistant: Good.\n"
            "User: Always give version numbers.\nAssistant: I will.",
        ),
        ("April-01-2024", "User: It ends on April 2 now.\nI use Flask.\nAssistant: Noted."),
    ]


def test_evidence_is_the_turns_named_in_lists_or_objects(tmp_path: Path) -> None:
    questions = asked(build(beam.write(tmp_path), chunk_tokens=1)[0])
    assert {kind: question.evidence for kind, question in questions.items()} == {
        "abstention": None,
        "knowledge-update": (0, 4),
        "event-ordering": (0, 2),
        "instruction-following": (2,),
        "information-extraction": None,
        "summarization": (0, 4),
    }


def test_golds_are_the_points_of_the_rubric_and_a_summary_is_its_own(tmp_path: Path) -> None:
    questions = asked(build(beam.write(tmp_path))[0])
    assert {kind: (question.metric, question.answers) for kind, question in questions.items()} == {
        "abstention": ("abstention", ABSTAIN),
        "knowledge-update": ("token_f1", ("April 2",)),
        "event-ordering": ("token_f1", ("Sprint; Versions",)),
        "instruction-following": ("token_f1", ("version numbers; Flask",)),
        "information-extraction": ("token_f1", ("Flask",)),
        "summarization": ("rouge_l", ("A sprint moved to April.",)),
    }


def test_all_layouts_of_a_chat_read_the_same(tmp_path: Path) -> None:
    first, second = beam.batches()
    flat = [[turn for group in session for turn in group] for session in beam.groups()]
    plans = [{"plan-1": [first], "plan-2": None}, {"plan-1": None, "plan-2": [second]}]
    for name, chat in {"1": beam.batches(), "2": flat, "3": plans}.items():
        beam.put(tmp_path / name, chat, beam.probes())
    batched, listed, planned = build(tmp_path)
    assert batched.chunks == listed.chunks == planned.chunks


def test_a_shortened_chat_goes_first(tmp_path: Path) -> None:
    path = beam.write(tmp_path)
    (path / "1" / "chat_trunecated.json").write_text(json.dumps(beam.batches()[1:]), encoding="utf-8")
    assert [len(stream.chunks) for stream in build(path)] == [1, 2]


def test_a_turn_id_that_comes_twice_names_both(tmp_path: Path) -> None:
    chat = [[beam.turn(0, "A", "May-01-2024")], [beam.turn(0, "B", "May-02-2024")]]
    beam.put(tmp_path / "1", chat, {"temporal_reasoning": [beam.probe("When?", {"first_event": [0]}, "May")]})
    assert build(tmp_path)[0].questions[0].evidence == (0, 1)


def test_a_question_without_gold_is_named(tmp_path: Path) -> None:
    beam.put(tmp_path / "1", beam.batches(), {"temporal_reasoning": [beam.probe("When?", [0])]})
    with pytest.raises(DataError, match=r"probing_questions\.json, temporal_reasoning 0"):
        build(tmp_path)


def test_a_chat_that_is_missing_is_named(tmp_path: Path) -> None:
    (beam.write(tmp_path) / "2" / "chat.json").unlink()
    with pytest.raises(DataError, match=r"2 has no file chat\.json"):
        build(tmp_path)
