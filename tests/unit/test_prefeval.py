"""PrefEval: one user's preferences of different topics, asked as choices; nothing that is bound together is torn."""

from __future__ import annotations

import json
import re
import tarfile
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.sources.prefeval import Item, read
from memrl.envs.stream import Question, Stream
from memrl.rewards.metrics import score
from tests.raw.prefeval import TOPICS, write
from tests.shared import SHARED, needs_shared

PLACE = ("data", "prefeval_a", "prefeval_a.tar.gz")
REAL = SHARED.joinpath(*PLACE)
needs_real = needs_shared(*PLACE)


def build(path: Path, **options: Any) -> list[Stream]:
    return list(open_source("prefeval", {"path": path, **options}))


def chosen(question: Question) -> str:
    """The text of the option that is right."""
    found = re.search(rf"^{question.answers[0]}\. (.*)$", question.text, re.MULTILINE)
    assert found is not None
    return found[1]


def test_each_stream_asks_about_one_preference_of_each_topic(tmp_path: Path) -> None:
    streams = build(write(tmp_path), form="explicit")
    assert len(streams) == 6
    for stream in streams:
        topics = [question.id.rsplit("-", 2)[0] for question in stream.questions]
        assert sorted(topics) == sorted(TOPICS)
    assert len({question.id for stream in streams for question in stream.questions}) == 18


@pytest.mark.parametrize("form", ["explicit", "implicit", "both"])
def test_the_evidence_tells_the_preference_and_the_answer_is_the_option_that_suits(form: str, tmp_path: Path) -> None:
    kinds = set()
    for stream in build(write(tmp_path), form=form, chunk_tokens=10):
        for question in stream.questions:
            topic, number, kind = question.id.rsplit("-", 2)
            kinds.add(kind)
            assert question.kind == kind and question.metric == "choice"
            assert chosen(question) == f"A plain one for {topic} {number}."
            assert score("choice", question.answers[0], question.answers) == 1
            told = (
                f"I want nothing in colour {number} for {topic}."
                if kind == "explicit"
                else f"User: The plain {topic} {number}."
            )
            assert [place for place, chunk in enumerate(stream.chunks) if told in chunk.text] == list(
                question.evidence or ()
            )
    assert kinds == ({"explicit", "implicit"} if form == "both" else {form})


def test_filler_shows_no_preference_and_is_of_none_that_is_asked_about(tmp_path: Path) -> None:
    path = write(tmp_path)
    for stream in build(path, form="explicit", filler=100):
        told = "\n".join(chunk.text for chunk in stream.chunks)
        asked = {tuple(question.id.rsplit("-", 2)[:2]) for question in stream.questions}
        assert told.count("I want nothing") == len(asked) and "The plain" not in told
        filled = set(re.findall(r"Which (\S+) is good, case (\d)", told))
        assert len(filled) == 15 and filled.isdisjoint(asked)
    bare = build(path, form="explicit", filler=0)
    assert all("is good" not in chunk.text for stream in bare for chunk in stream.chunks)


def test_options_are_shuffled_by_item_and_seed_alone(tmp_path: Path) -> None:
    def options(**more: Any) -> dict[str, str]:
        streams = build(path, **more)
        return {question.id: question.text for stream in streams for question in stream.questions}

    path = write(tmp_path)
    first, fewer, other = options(), options(preferences=2, form="explicit"), options(seed=1)
    assert all(first[name] == text for name, text in fewer.items())
    assert first != other
    letters = {question.answers[0] for stream in build(path) for question in stream.questions}
    assert letters == {"A", "B", "C"}


def edited(path: Path, topic: str, number: int, **fields: Any) -> None:
    """Change fields of an item in both files of its topic."""
    for file in path.rglob(f"{topic}.json"):
        items = json.loads(file.read_text())
        items[number].update(fields)
        file.write_text(json.dumps(items))


@pytest.mark.long
def test_what_shares_a_preference_or_a_question_has_one_key_and_never_one_stream(tmp_path: Path) -> None:
    path = write(tmp_path)
    edited(path, TOPICS[0], 0, preference="Never blue.")
    edited(path, TOPICS[1], 1, preference="never  Blue.", question="What now?")
    edited(path, TOPICS[2], 2, question="what now?")
    items: dict[str, Item] = {item.id: item for item in read(path, form="explicit")}
    bound = {items[f"{topic}-{number}-explicit"].key for number, topic in enumerate(TOPICS)}
    assert len(bound) == 1
    assert len({item.key for item in items.values()}) == 16
    for seed in range(20):
        for stream in build(path, seed=seed):
            assert len(set(stream.metadata["documents"])) == len(stream.questions)


def test_archive_and_folder_give_the_same_streams(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    path = write(tmp_path / "raw")
    packed = tmp_path / "prefeval.tar.gz"
    with tarfile.open(packed, "w:gz") as archive:
        archive.add(path, "benchmark_dataset")
    assert build(packed) == build(path)


def test_files_that_do_not_belong_together_are_named(tmp_path: Path) -> None:
    path = write(tmp_path)
    talks = path / "implicit_preference" / "choice-based" / f"{TOPICS[0]}.json"
    items = json.loads(talks.read_text())
    talks.write_text(json.dumps(items[:-1]))
    with pytest.raises(DataError, match=rf"choice-based.{TOPICS[0]}\.json do not have the same questions"):
        build(path)
    talks.unlink()
    with pytest.raises(DataError, match=f"{TOPICS[0]} must have a file in both"):
        build(path)


@needs_real
def test_real_archive() -> None:
    streams = build(REAL)
    questions = [question for stream in streams for question in stream.questions]
    assert len(questions) >= 0.98 * 2 * 505  # a topic with most items may be left over at the end
    assert {len(stream.questions) for stream in streams} == {8}
    assert all(question.evidence and len(question.evidence) == 1 for question in questions)
    letters = [question.answers[0] for question in questions]
    assert all(0.2 < letters.count(letter) / len(letters) < 0.3 for letter in "ABCD")
    assert len({item.key for item in read(REAL)}) == 287  # many preferences, requests and talks are shared


@needs_real
def test_real_preferences_and_questions_are_of_one_split() -> None:
    sides = [build(REAL, split=split, form="explicit", filler=0) for split in ("train", "eval")]
    asked = [
        {question.text.split("\n")[0].casefold() for stream in streams for question in stream.questions}
        for streams in sides
    ]
    assert asked[0] and asked[1] and asked[0].isdisjoint(asked[1])
    stated = [
        {line for stream in streams for chunk in stream.chunks for line in chunk.text.split("\n")} for streams in sides
    ]
    assert stated[0].isdisjoint(stated[1])
