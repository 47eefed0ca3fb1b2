"""Data of one's own: every form becomes a stream, the documented example builds, what is wrong is named."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from memrl.cli.main import main
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Stream
from tests.raw.documents import DOCUMENTS, write

ROOT = Path(__file__).resolve().parents[2]
DOC = ROOT / "docs" / "own-data.md"


def build(path: Path, **options: Any) -> dict[str, Stream]:
    return {stream.metadata["documents"][0]: stream for stream in open_source("documents", {"path": path, **options})}


def save(folder: Path, *documents: dict[str, Any]) -> Path:
    path = folder / "my.jsonl"
    path.write_text("".join(json.dumps(document) + "\n" for document in documents), encoding="utf-8")
    return path


def test_every_form_becomes_a_stream(tmp_path: Path) -> None:
    streams = build(write(tmp_path), chunk_tokens=12)
    trip, chat, weeks = streams["trip"], streams["chat"], streams["weeks"]
    assert [chunk.text for chunk in trip.chunks] == [
        "Ada went to Oslo in May. She took the train.",
        "In June she was in Rome, with her brother Ben.",
    ]
    assert [(q.answers, q.evidence, q.kind) for q in trip.questions] == [
        (("Rome",), (1,), "fact"),
        (("by train", "the train"), None, "how"),
    ]
    assert [(chunk.text, chunk.time) for chunk in chat.chunks] == [
        ("user: I am allergic to nuts.", "2025-03-01"),
        ("assistant: I will keep that in mind.", None),
    ]
    assert chat.questions[0].metric == "substring"
    assert [(chunk.text, chunk.time) for chunk in weeks.chunks] == [
        ("Ben: I live in Bern.", "2025-03-01"),
        ("Ben: I moved to Basel.", "2025-03-08"),
    ]
    assert weeks.questions[0].evidence == (1,)


@pytest.mark.long
def test_the_documented_example_builds(tmp_path: Path) -> None:
    example = re.search(r"```json\n(.*?)```", DOC.read_text(encoding="utf-8"), re.DOTALL)
    assert example is not None
    path = tmp_path / "my.jsonl"
    path.write_text(example[1], encoding="utf-8")
    assert main(["data", "build", "--from", str(path), "--out", str(tmp_path / "data")]) == 0
    card = json.loads((tmp_path / "data" / "documents" / "card.json").read_text())
    assert (card["streams"], card["questions"]) == (3, 3)
    assert main(["data", "check", str(tmp_path / "data" / "documents")]) == 0


def test_documents_without_questions_can_be_asked_for_their_order(tmp_path: Path) -> None:
    text = "\n\n".join(f"On day {n} of the long walk we came to the village number {n}." for n in range(40))
    path = save(tmp_path, {"id": "walk", "text": text})
    with pytest.raises(DataError, match=r"line 1: document 'walk' has no questions.*Add .*order_questions"):
        build(path)
    stream = build(path, order_questions=5, chunk_tokens=100)["walk"]
    assert len(stream.questions) == 5
    assert {question.metric for question in stream.questions} == {"choice"}


GOOD = DOCUMENTS[0]
ASK = {"question": "Who?", "answer": "Ada"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"messages": [{"role": "user", "content": "hi"}]},
            "give one of text, messages, sessions, not text and messages",
        ),
        ({"text": None}, "give one of text, messages, sessions, not none"),
        ({"text": " \n "}, "document 'trip' has no text"),
        ({"text": None, "messages": []}, "document 'trip' has no text"),
        ({"id": ""}, "id: String should have at least 1 character"),
        ({"id": 7}, "id: Input should be a valid string"),
        ({"title": "x"}, "title: Extra inputs are not permitted"),
        ({"questions": [{**ASK, "evidense": []}]}, "questions.0.evidense: Extra inputs"),
        ({"questions": [{"question": "Who?"}]}, 'question 0 has no answer: add "answer"'),
        ({"questions": [{**ASK, "question": " "}]}, "question 0 has no text"),
        ({"questions": [ASK, {**ASK, "evidence": ["she flew"]}]}, "question 1: the evidence 'she flew' stands nowhere"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    other = {"id": "first", "text": "Fine.", "questions": [ASK]}
    path = save(tmp_path, other, {key: value for key, value in {**GOOD, **change}.items() if value is not None})
    with pytest.raises(DataError) as caught:
        build(path)
    assert f"{path}, line 2" in str(caught.value)
    assert message in str(caught.value)


def test_ids_must_differ(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: the id 'trip' stands in an earlier line too"):
        build(save(tmp_path, GOOD, GOOD))
