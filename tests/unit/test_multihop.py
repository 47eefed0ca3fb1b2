"""HotpotQA and MuSiQue: several questions' paragraphs mixed, each question's own found again."""

from __future__ import annotations

from pathlib import Path

import pytest

from memrl.envs.sources import open_source
from memrl.envs.stream import Question, Stream
from tests.raw import hotpotqa, musique
from tests.shared import SHARED, needs_shared

DATA = SHARED / "data" / "multihop_train100"
real = needs_shared("data", "multihop_train100")


def build(name: str, path: Path, **options: object) -> list[Stream]:
    return list(open_source(name, {"path": path, **options}))


def plain(text: str) -> str:
    return " ".join(text.casefold().split())


def asked(streams: list[Stream]) -> list[tuple[Stream, Question]]:
    return [(stream, question) for stream in streams for question in stream.questions]


@pytest.fixture
def hotpot(tmp_path: Path) -> Path:
    return hotpotqa.write(tmp_path)


def test_the_evidence_is_the_chunks_of_the_supporting_paragraphs(hotpot: Path) -> None:
    (stream,) = build("hotpotqa", hotpot, chunk_tokens=40, chunks=100)
    assert len(stream.questions) == len(hotpotqa.PLACES)
    for question in stream.questions:
        place = hotpotqa.PLACES[int(question.id[1:])]
        assert question.evidence is not None
        held = " ".join(stream.chunks[index].text for index in question.evidence)
        assert f"{place} river\nThe largest river" in held and f"{place} bridge\nThe {place} bridge spans" in held


def test_paragraphs_of_several_questions_lie_mixed(hotpot: Path) -> None:
    (stream,) = build("hotpotqa", hotpot, chunk_tokens=40, chunks=100)
    gaps = [question.evidence[-1] - question.evidence[0] for question in stream.questions if question.evidence]
    assert max(gaps) > 3


@pytest.mark.parametrize(("distractors", "paragraphs"), [(0, 2), (1, 3), (3, 5), (4, 6), (9, 6), (None, 6)])
def test_so_many_distractors_stay(hotpot: Path, distractors: int | None, paragraphs: int) -> None:
    (stream,) = build("hotpotqa", hotpot, distractors=distractors, chunks=100)
    text = "\n\n".join(chunk.text for chunk in stream.chunks)
    assert len(text.split("\n\n")) == paragraphs * len(hotpotqa.PLACES)
    assert all(question.evidence for question in stream.questions)


def test_the_distractors_depend_on_the_question_alone(hotpot: Path) -> None:
    kept = []
    for seed in (0, 1):
        (stream,) = build("hotpotqa", hotpot, distractors=1, chunks=100, seed=seed)
        kept.append({part for chunk in stream.chunks for part in chunk.text.split("\n\n")})
    assert kept[0] == kept[1]


def test_yes_and_no_are_a_kind_of_their_own(hotpot: Path) -> None:
    (stream,) = build("hotpotqa", hotpot, chunks=100)
    assert {(question.kind, question.answers[0] == "yes") for question in stream.questions} == {
        ("yes-no", True),
        ("bridge", False),
    }


def test_aliases_are_right_too(tmp_path: Path) -> None:
    (stream,) = build("musique", musique.write(tmp_path), chunks=100)
    assert {question.answers for question in stream.questions} == {
        (f"Ada {place}", f"A. {place}") for place in musique.PLACES
    }


def test_what_cannot_be_answered_is_asked_only_where_wanted(tmp_path: Path) -> None:
    path = musique.write(tmp_path)
    (without,) = build("musique", path, chunks=100)
    assert {question.kind for question in without.questions} == {"2hop"}
    (stream,) = build("musique", path, chunks=100, unanswerable=True, chunk_tokens=20)
    (twin,) = [question for question in stream.questions if question.kind == "unanswerable"]
    (answerable,) = [question for question in stream.questions if question.id == "2hop__4_Oslo"]
    assert (twin.metric, twin.evidence) == ("abstention", None)
    assert answerable.evidence is not None and len(answerable.evidence) == 2
    assert any("bridge of Ada Oslo" in stream.chunks[index].text for index in answerable.evidence)


def test_both_twins_are_of_one_split(tmp_path: Path) -> None:
    path = musique.write(tmp_path)
    for split in ("train", "eval"):
        streams = build("musique", path, split=split, eval_share=0.5, unanswerable=True, chunks=100)
        ids = {question.id for _, question in asked(streams)}
        assert ("2hop__4_Oslo" in ids) == ("2hop__4_Oslo-unanswerable" in ids)


@real
@pytest.mark.parametrize(("name", "questions"), [("hotpotqa", 100), ("musique", 99)])
def test_real_questions_have_evidence_that_holds_the_answer(name: str, questions: int) -> None:
    streams = build(name, DATA / f"{name}_train.json.gz")
    assert len(asked(streams)) >= questions
    for stream, question in asked(streams):
        assert question.evidence
        if question.kind != "yes-no":
            held = plain(" ".join(stream.chunks[index].text for index in question.evidence))
            assert any(plain(answer) in held for answer in question.answers), question.id


@real
def test_real_streams_are_as_dense_as_the_reference() -> None:
    streams = [stream for stream in build("hotpotqa", DATA / "hotpotqa_train.json.gz") if len(stream.chunks) >= 10]
    chunks = sum(len(stream.chunks) for stream in streams)
    assert sum(len(stream.questions) for stream in streams) / chunks == pytest.approx(17 / 9.7, rel=0.05)


@real
def test_no_source_takes_the_corpus_files() -> None:
    from memrl.envs.sources import SOURCES

    files = sorted(DATA.glob("*_corpus.json*"))
    assert len(files) == 2
    assert not any(source.locate(files) for source in SOURCES.values() if source.locate)
