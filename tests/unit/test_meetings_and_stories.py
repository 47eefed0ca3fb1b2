"""QMSum and SQuALITY: one document a stream, summaries for answers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Stream
from tests.raw import qmsum, squality
from tests.shared import SHARED, needs_shared

MEETINGS, STORIES = ("data", "qmsum_val", "val.jsonl.gz"), ("data", "squality_train", "train.jsonl.gz")


def build(name: str, path: Path, **options: object) -> list[Stream]:
    return list(open_source(name, {"path": path, **options}))


def test_a_meeting_keeps_its_turns_and_loses_its_noise(tmp_path: Path) -> None:
    for stream in build("qmsum", qmsum.write(tmp_path)):
        lines = "\n".join(chunk.text for chunk in stream.chunks).splitlines()
        numbers = [int(line.split()[2]) for line in lines]
        assert numbers == [n for n in range(40) if n != 3]  # turn 3 was nothing but noise
        assert all(line.startswith("Ann: Turn") for line in lines)


def test_the_evidence_is_the_chunks_of_the_spans(tmp_path: Path) -> None:
    for stream in build("qmsum", qmsum.write(tmp_path), chunk_tokens=40):
        general, specific = sorted(stream.questions, key=lambda question: question.kind)
        assert (general.kind, general.evidence, specific.kind) == ("general", None, "specific")
        wanted = {f"Turn {n} is" for n in (34, 35, 36, 38, 39)}  # the second span ends past the meeting
        holding = [n for n, chunk in enumerate(stream.chunks) if any(text in chunk.text for text in wanted)]
        assert specific.evidence == tuple(holding) and len(holding) < len(stream.chunks) / 2
        assert {question.metric for question in stream.questions} == {"rouge_l"}


def test_a_meeting_has_its_name_from_what_is_said(tmp_path: Path) -> None:
    path = qmsum.write(tmp_path)
    before = {stream.id for stream in build("qmsum", path)}
    path.write_text("".join(reversed(path.read_text().splitlines(keepends=True))))
    assert {stream.id for stream in build("qmsum", path)} == before and len(before) == 2


def test_a_story_is_unwrapped_into_paragraphs(tmp_path: Path) -> None:
    for stream in build("squality", squality.write(tmp_path)):
        hero = "Ada" if stream.id.endswith("101") else "Ben"
        assert stream.chunks[0].text == (
            f"THE LAMP\n\nIt was dark when {hero}\n\ncame home.\n\n{hero} fell over a lamp and kept it."
        )


def test_every_reference_is_an_answer(tmp_path: Path) -> None:
    for stream in build("squality", squality.write(tmp_path)):
        assert [(question.kind, len(question.answers)) for question in stream.questions] == [
            ("general", 2),
            ("specific", 2),
        ]


def test_a_question_without_a_reference_is_named(tmp_path: Path) -> None:
    path = squality.write(tmp_path)
    stories = [json.loads(line) for line in path.read_text().splitlines()]
    stories[1]["questions"][0]["responses"] = []
    path.write_text("".join(json.dumps(story) + "\n" for story in stories))
    with pytest.raises(DataError, match=r"102-1.*no answer"):
        build("squality", path)


@needs_shared(*MEETINGS)
def test_real_meetings() -> None:
    streams = build("qmsum", SHARED.joinpath(*MEETINGS))
    questions = [question for stream in streams for question in stream.questions]
    assert len(streams) == 35
    assert sum(question.kind == "general" for question in questions) == 35
    assert sum(bool(question.evidence) for question in questions if question.kind == "specific") == 237
    assert len({question.id for question in questions}) == 272
    assert not any("{vocalsound}" in chunk.text for stream in streams for chunk in stream.chunks)


@needs_shared(*STORIES)
def test_real_stories() -> None:
    streams = build("squality", SHARED.joinpath(*STORIES))
    questions = [question for stream in streams for question in stream.questions]
    assert (len(streams), len(questions)) == (50, 250)
    assert {len(question.answers) for question in questions} == {4}
    for stream in streams:
        parts = [part for chunk in stream.chunks for part in chunk.text.split("\n\n")]
        assert len(parts) > 20
        assert not any("\n" in part or "  " in part for part in parts)
