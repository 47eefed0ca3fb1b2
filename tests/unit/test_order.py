"""Questions on order: from any text files, and from the units of any source."""

from __future__ import annotations

import gzip
import random
from pathlib import Path

import pytest

from memrl.envs.building.chunking import Unit, cut
from memrl.envs.building.dialogue import Turn, session
from memrl.envs.building.order import order_asks
from memrl.envs.building.prose import paragraphs
from memrl.envs.errors import DataError
from memrl.envs.sources import SOURCES, open_source
from memrl.envs.stream import Question, Stream

WORDS = ("river", "lamp", "bridge", "tall", "old", "green", "house", "walk", "slowly", "cold", "bright", "stone")


def sentence(number: int) -> str:
    rng = random.Random(number)
    return f"Number {number} is a {' '.join(rng.choices(WORDS, k=10))}."


def book(parts: int, first: int = 0) -> str:
    """Paragraphs of five sentences, hard-wrapped."""
    return "\n\n".join(
        "\n".join(sentence(first + part * 5 + line) for line in range(5)) + "\n" for part in range(parts)
    )


def build(path: Path, **options: object) -> list[Stream]:
    return list(open_source("order", {"path": path, "chunk_tokens": 200, **options}))


def shown(question: Question) -> tuple[str, str]:
    """The passages, the one that came first by the gold before the other."""
    _, a, b = question.text.split("\n\n")[:3]
    pair = a.removeprefix("A: "), b.removeprefix("B: ")
    return pair if question.answers == ("A",) else pair[::-1]


@pytest.fixture
def novel(tmp_path: Path) -> Path:
    path = tmp_path / "novel.txt"
    path.write_text(book(60))
    return path


def test_the_gold_came_first_and_in_another_chunk(novel: Path) -> None:
    (stream,) = build(novel, per_document=30)
    assert len(stream.questions) == 30
    for question in stream.questions:
        assert (question.metric, question.kind) == ("choice", "order")
        first, second = (
            next(n for n, chunk in enumerate(stream.chunks) if passage in chunk.text) for passage in shown(question)
        )
        assert first < second
        assert question.evidence == (first, second)
    assert len({question.text for question in stream.questions}) == 30
    assert {question.answers for question in stream.questions} == {("A",), ("B",)}


def test_a_passage_has_so_many_sentences(novel: Path) -> None:
    (stream,) = build(novel, length=2)
    for question in stream.questions:
        assert [passage.count("Number") for passage in shown(question)] == [2, 2]


def test_the_seed_chooses_and_nothing_else_does(tmp_path: Path, novel: Path) -> None:
    texts = [question.text for question in build(novel)[0].questions]
    (tmp_path / "another.txt").write_text(book(60, first=1000))
    again = {stream.id: stream for stream in build(tmp_path)}
    assert [question.text for question in again["order-novel.txt"].questions] == texts
    assert [question.text for question in build(novel, seed=1)[0].questions] != texts


def test_a_folder_of_plain_and_packed_files(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/a.txt").write_text(book(40))
    (tmp_path / "b.md.gz").write_bytes(gzip.compress(book(40, first=500).encode()))
    (tmp_path / "c.json").write_text("{}")
    streams = {stream.id: stream for stream in build(tmp_path)}
    assert set(streams) == {"order-deep/a.txt", "order-b.md.gz"}
    assert ".\nNumber" in streams["order-b.md.gz"].chunks[0].text  # the lines of Markdown stay
    assert ".\nNumber" not in streams["order-deep/a.txt"].chunks[0].text


def test_windows_of_a_long_text_ask_what_they_hold(novel: Path) -> None:
    streams = build(novel, per_document=200, chunks=5)
    assert len(streams) > 1
    for stream in streams:
        for question in stream.questions:
            for passage in shown(question):
                assert any(passage in chunk.text for chunk in stream.chunks)


def test_too_short_a_text_is_told(tmp_path: Path) -> None:
    path = tmp_path / "short.txt"
    path.write_text(book(1))
    with pytest.raises(DataError, match="no stream can be built"):
        build(path)


@pytest.mark.parametrize(
    ("content", "message"), [(b"\n \n", "holds no text"), (b"\xff\xfe\xff", "not UTF-8"), (None, "does not exist")]
)
def test_bad_files_are_named(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "odd.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"odd\.txt.*{message}"):
        build(path)


def test_a_folder_without_text_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="holds no text file"):
        build(tmp_path)


def test_no_folder_of_text_is_taken_for_it() -> None:
    assert SOURCES["order"].locate is None


def test_the_turns_of_a_dialogue_can_be_asked_for() -> None:
    units = [
        unit
        for day in range(6)
        for unit in session(f"D{day}", [Turn("Ann", sentence(day * 4 + n), f"D{day}:{n}") for n in range(4)])
    ]
    units.insert(2, Unit("Ann: Yes.", ("D0", "D0:9"), section="D0", turn=True))
    asks = order_asks("talk", units, 12, 0)
    assert len(asks) == 12
    for ask in asks:
        assert ask.evidence is not None
        first, second = ask.evidence
        assert first.split(":")[0] < second.split(":")[0]  # sessions are short: one chunk each
        assert "Yes." not in ask.text
    assert order_asks("talk", units, 12, 0) == asks != order_asks("talk", units, 12, 1)


def test_what_stands_twice_is_not_asked_for() -> None:
    units = [Unit(sentence(n % 5), (str(n),), section=str(n)) for n in range(10)]
    assert order_asks("twice", units, 5, 0) == []


def test_units_that_a_chunk_may_join_are_not_compared() -> None:
    units = [Unit(sentence(n), (str(n),)) for n in range(40)]
    chunk_of = {key: n for n, piece in enumerate(cut(units, 100)) for key in piece.keys}
    asks = order_asks("plain", units, 300, 0, chunk_tokens=100)
    assert len(asks) == 300
    for ask in asks:
        assert ask.evidence and chunk_of[ask.evidence[0]] < chunk_of[ask.evidence[1]]


def test_paragraphs() -> None:
    assert paragraphs("\n\nOne\n  line.\n \t \n\n Two. \n") == ["One line.", "Two."]
    assert paragraphs("- a\n- b\n\nc", unwrap=False) == ["- a\n- b", "c"]
    assert paragraphs(" \n ") == []
