"""MADial-Bench: a child's events by month, and talks that call one to mind, cut before the assistant says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Stream
from tests.raw.madial import write
from tests.shared import SHARED, needs_shared

PLACE = ("data", "madial_en")
REAL = SHARED.joinpath(*PLACE)


def build(path: Path, **options: Any) -> dict[str, Stream]:
    streams = open_source("madial", {"path": path, **options})
    return {stream.metadata["documents"][0]: stream for stream in streams}


def test_events_of_a_person_stand_in_order_of_time(tmp_path: Path) -> None:
    streams = build(write(tmp_path))
    assert [(chunk.time, chunk.text) for chunk in streams["Tom"].chunks] == [
        ("2022-01", "2022-01-07: Tom lost his left glove and was sad."),
        ("2023-05", "2023-05-02: Tom flew a red kite and was happy.\n2023-05-20: Tom baked a cake with his aunt."),
    ]
    # An event that names nobody is of whom a talk reminds of it.
    assert [chunk.time for chunk in streams["Ida"].chunks] == ["2023-03", "2023-04"]


def test_a_talk_is_asked_up_to_the_turn_that_recalls(tmp_path: Path) -> None:
    windy, cold = build(write(tmp_path))["Tom"].questions
    assert windy.text.split("\n")[1:] == [
        "Tom: It is so windy!",
        "Assistant: A fine day to be outside.",
        "Tom: What could I do?",
    ]
    assert windy.answers == ("Tom flew a red kite and was happy.",) and windy.evidence == (1,)
    assert cold.text.split("\n")[1:] == ["Tom: It is cold.", "Assistant: Take care of your hands!", "Tom: Why?"]
    assert cold.answers == ("Tom lost his left glove and was sad.", "Tom baked a cake with his aunt.")
    assert cold.evidence == (0, 1) and (cold.metric, cold.kind) == ("token_f1", "reminder")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("relevant-id", [1, 55], r"relevant-id names \[55\]"),
        ("test-turn", [7], "test-turn 7 is no turn"),
        ("test-turn", [1], "test-turn 1 is no turn after the first of a person"),
        ("test-turn", [], "test-turn"),
    ],
)
def test_what_is_not_there_is_named(field: str, value: list[int], message: str, tmp_path: Path) -> None:
    file = write(tmp_path) / "MADial-Bench-en-dialogue.json"
    first, *rest = file.read_text().splitlines()
    file.write_text("\n".join([json.dumps({**json.loads(first), field: value}), *rest]))
    with pytest.raises(DataError, match=rf"dialogue\.json, line 1: {message}"):
        build(tmp_path)


@needs_shared(*PLACE)
def test_real_files() -> None:
    streams = build(REAL)
    assert set(streams) == {"Bart", "Lisa"}
    assert sum(len(stream.questions) for stream in streams.values()) == 160
    assert sum(chunk.text.count("\n") + 1 for stream in streams.values() for chunk in stream.chunks) == 160
    for stream in streams.values():
        for question in stream.questions:
            told = "\n".join(stream.chunks[place].text for place in question.evidence or ())
            assert all(answer in told for answer in question.answers)
            assert all(line.startswith(("Bart: ", "Lisa: ", "Assistant: ")) for line in question.text.split("\n")[1:])
            assert not question.text.split("\n")[-1].startswith("Assistant: ")
