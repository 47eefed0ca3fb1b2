"""RealMem: queries are asked, replies to them are not told, and memory points stand where they were said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Stream
from tests.raw.realmem import write
from tests.shared import SHARED, needs_shared

PLACE = ("data", "realmem_1", "Kenta_Tanaka_dialogues_256k.json.gz")
REAL = SHARED.joinpath(*PLACE)


def build(path: Path, **options: Any) -> Stream:
    (stream,) = open_source("realmem", {"path": path, **options})
    return stream


def test_replies_to_queries_are_references_and_not_told(tmp_path: Path) -> None:
    stream = build(write(tmp_path))
    told = "\n".join(chunk.text for chunk in stream.chunks)
    assert "Water them every second day." in told and "I will use a smaller can." in told
    assert "Assistant: Every second day" not in told and "With a smaller can." not in told
    first, second = stream.questions
    assert first.answers == ("Every second day; yellow means too much.",)
    assert second.answers == ("With a smaller can.",)
    assert first.text.endswith("on 2026-01-09 (Friday):\nThe leaves turn yellow. How often did you say?")
    assert (first.id, second.id) == ("Mia_Berg-Q-0001", "Mia_Berg-Q-0002")
    assert (first.metric, first.kind, second.kind) == ("rouge_l", "dynamic-incremental", "temporal-reasoning")


def test_what_the_user_says_in_a_query_is_told(tmp_path: Path) -> None:
    stream = build(write(tmp_path))
    assert stream.chunks[-1].text == "User: What did I want to water with?"


def test_evidence_is_the_chunks_of_the_sessions_named(tmp_path: Path) -> None:
    stream = build(write(tmp_path), chunk_tokens=1)
    times = [chunk.time for chunk in stream.chunks]
    assert times == ["2026-01-05 (Monday)"] * 2 + ["2026-01-09 (Friday)"] * 2 + ["2026-02-01 (Sunday)"]
    assert [question.evidence for question in stream.questions] == [(0, 1), (0, 1, 2, 3)]


def test_memory_points_stand_with_their_turns_and_none_comes_of_a_reply_left_out(tmp_path: Path) -> None:
    stream = build(write(tmp_path), chunk_tokens=1)
    assert stream.metadata["memory_points"] == [
        ["The user grows beans."],
        ["Watering: every second day.", "A schedule from nowhere."],
        ["The leaves turn yellow."],
        [],
        [],
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda turns: turns.pop(1), "no reply follows query 'Q-0001'"),
        (lambda turns: turns[0].update(query_id=None), "has no query_id"),
    ],
)
def test_a_query_without_reply_or_id_is_named(change: Any, message: str, tmp_path: Path) -> None:
    path = write(tmp_path)
    data = json.loads(path.read_text())
    turns = data["dialogues"][1]["dialogue_turns"]
    change(turns)
    path.write_text(json.dumps(data))
    with pytest.raises(DataError, match=rf"256k\.json, record 2 at dialogues.item, turn 0: .*{message}"):
        build(path)


@needs_shared(*PLACE)
def test_real_file() -> None:
    stream = build(REAL)
    assert len(stream.questions) == 153
    assert len({chunk.time for chunk in stream.chunks}) > 100
    assert all(question.evidence for question in stream.questions)
    told = "\n".join(chunk.text for chunk in stream.chunks)
    assert not [question.id for question in stream.questions if question.answers[0] in told]
    assert sum(map(len, stream.metadata["memory_points"])) > 300
