"""MemoryCode: rules in force as golds, the sessions that gave them as evidence."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from memrl.envs.errors import DataError
from memrl.envs.sources import SOURCES, open_source
from memrl.envs.stream import Stream
from memrl.rewards.metrics import score
from tests.raw import memorycode
from tests.shared import SHARED, needs_shared

PLACE = ("data", "memorycode_short", "memorycode_short.tar.gz")
DATA = SHARED.joinpath(*PLACE)
GOOD = "# sorts\ndef b_sort(x):\n    return sorted(x)\n"
STALE = "# sorts\ndef sort_x(x):\n    return sorted(x)\n"


def build(path: Path, **options: object) -> list[Stream]:
    return list(open_source("memorycode", {"path": path, **options}))


@pytest.fixture
def stream(tmp_path: Path) -> Stream:
    return sorted(build(memorycode.write(tmp_path)), key=lambda stream: stream.id)[0]


def test_a_session_is_a_chunk_with_its_turns(stream: Stream) -> None:
    assert stream.id == "memorycode-dialogue_1"
    assert [chunk.text.splitlines() for chunk in stream.chunks] == [
        ["Ann: End function names with '_x'.", "Bob: I will.", "Ann: And add comments."],
        ["Ann: [They meet at lunch.]", "Bob: Nice soup.", "With bread."],
        ["Ann: Start function names with 'b_' from now on."],
    ]


def test_the_evidence_is_the_sessions_of_the_rules_in_force(stream: Stream) -> None:
    assert [question.evidence for question in stream.questions] == [(0, 2), (0, 2)]


def test_a_perfect_memory_would_store_the_rules(stream: Stream) -> None:
    assert stream.metadata["memory_points"] == [
        ["always end function names with '_x'", "always add comments in your code"],
        [],
        ["always start function names with 'b_'"],
    ]


def test_the_golds_are_the_rules_and_what_is_asked_for(stream: Stream) -> None:
    function, heap = stream.questions
    assert [json.loads(gold) for gold in function.answers] == [
        ["function", "^b_.*"],
        ["comment", True],
        ["function", None],
    ]
    assert [json.loads(gold) for gold in heap.answers][2:] == [["class", None], ["method", None]]
    assert "function that implements merge sort" in function.text and "Ann" in function.text


def test_code_by_the_rules_in_force_is_right_and_by_a_stale_rule_is_not(stream: Stream) -> None:
    question = stream.questions[0]
    assert score(question.metric, f"Here it is:\n```python\n{GOOD}```\nDone.", question.answers) == 1.0
    assert score(question.metric, STALE, question.answers) == 0.5
    assert score(question.metric, "I do not know.", question.answers) == 0.0


def test_an_archive_gives_what_its_folder_gives(tmp_path: Path) -> None:
    folder = tmp_path / "dataset"
    folder.mkdir()
    memorycode.write(folder)
    archive = tmp_path / "memorycode.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(folder, "dataset")
    assert build(archive) == build(folder)
    locate = SOURCES["memorycode"].locate
    assert locate is not None and locate([archive]) == [archive]


def test_a_wrong_field_is_named(tmp_path: Path) -> None:
    memorycode.write(tmp_path)
    spoilt = memorycode.dialogue()
    del spoilt["sessions"][1]["text"]
    (tmp_path / "dialogue_2.json").write_text(json.dumps(spoilt))
    with pytest.raises(DataError, match=r"dialogue_2\.json.*sessions\.1\.text"):
        build(tmp_path)


@needs_shared(*PLACE)
def test_real_dialogues() -> None:
    streams = build(DATA)
    questions = [question for stream in streams for question in stream.questions]
    assert (len(streams), len(questions)) == (180, 493)
    assert len({question.id for question in questions}) == 493
    for question in questions:
        assert question.evidence
        score("code_rules", GOOD, question.answers)  # every rule of the data is one that the metric knows
    for stream in streams:
        assert all("section" not in chunk.text.split(": ", 1)[0] for chunk in stream.chunks)
