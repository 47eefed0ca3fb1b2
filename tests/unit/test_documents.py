"""Documents into streams: evidence, windows, mixtures, splits, sampling, seeds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from memrl.envs.building.chunking import Unit
from memrl.envs.building.documents import Document, DocumentQuestion, Packing
from memrl.envs.errors import DataError, NoStream
from memrl.envs.stream import Stream


def document(name: str, paragraphs: int, **more: Any) -> Document:
    """Paragraph n of `name` holds the answer to question n."""
    return Document(
        name,
        tuple(Unit(f"{name} says word{n}.", (str(n),)) for n in range(paragraphs)),
        tuple(
            DocumentQuestion(f"{name}-{n}", f"What says {name}?", (f"word{n}",), "exact_match", (str(n),))
            for n in range(paragraphs)
        ),
        **more,
    )


def streams(documents: list[Document], **options: Any) -> list[Stream]:
    def read() -> Iterator[Document]:
        yield from documents

    return list(Packing(**{"chunk_tokens": 5, **options}).streams(read, "test"))


def check_evidence(stream: Stream) -> None:
    for question in stream.questions:
        name, place = question.id.split("-")
        assert question.evidence is not None
        assert [stream.chunks[index].text for index in question.evidence] == [f"{name} says word{place}."]


def test_each_document_is_a_stream_unless_told_otherwise() -> None:
    made = streams([document("Ada", 3, metadata={"job": "baker"}), document("Ben", 1)])
    assert {stream.id: len(stream.chunks) for stream in made} == {"test-Ada": 3, "test-Ben": 1}
    assert {stream.metadata.get("job") for stream in made} == {"baker", None}
    for stream in made:
        check_evidence(stream)


def test_windows_follow_on_and_ask_only_what_they_hold() -> None:
    made = streams([document("Ada", 5), document("Ben", 4)], chunks=3)
    assert [len(stream.chunks) for stream in made] == [3, 3, 3]
    assert sum(len(stream.questions) for stream in made) == 9
    for stream in made:
        check_evidence(stream)


def test_a_question_without_evidence_needs_the_whole_document() -> None:
    long = Document("Ada", document("Ada", 4).units, (DocumentQuestion("sum", "What of it?", ("it",), "rouge_l"),))
    assert len(streams([long], chunks=4)[0].questions) == 1
    with pytest.raises(NoStream):
        streams([long], chunks=2)


def test_what_stands_together_is_not_torn() -> None:
    made = streams([document(name, 3) for name in ("Ada", "Ben", "Cid")], chunks=4, together=True)
    assert [len(stream.chunks) for stream in made] == [3, 3, 3]


def test_mixed_documents_share_their_texts() -> None:
    shared = Unit("Both say hello.", ("9",))
    pair = []
    for name in ("Ada", "Ben"):
        asked = DocumentQuestion(f"both-{name}", "What do both say?", ("hello",), "exact_match", ("9", "0"))
        plain = document(name, 3)
        pair.append(Document(name, (*plain.units, shared), (*plain.asks, asked)))
    (stream,) = streams(pair, chunks=20, mix=True)
    texts = [chunk.text for chunk in stream.chunks]
    assert len(texts) == 7 and texts.count("Both say hello.") == 1
    for question in stream.questions:
        found = {texts[index] for index in question.evidence or ()}
        name, place = question.id.split("-")
        shared_too = {"Both say hello.", f"{place} says word0."}
        assert found == (shared_too if name == "both" else {f"{name} says word{place}."})
    assert sorted(stream.metadata["documents"]) == ["Ada", "Ben"]
    orders = {tuple(c.text for c in streams(pair, chunks=20, mix=True, seed=seed)[0].chunks) for seed in range(5)}
    assert len(orders) == 5


def test_evidence_of_a_unit_that_was_cut_is_where_the_answer_is() -> None:
    unit = Unit("It is old here. It has seven hills. It is wet there.", ("p",))
    asks = (
        DocumentQuestion("hills", "How many hills?", ("seven",), "exact_match", ("p",)),
        DocumentQuestion("mood", "What is it like?", ("great",), "exact_match", ("p",)),
    )
    (stream,) = streams([Document("Rome", (unit,), asks)])
    assert {question.id: question.evidence for question in stream.questions} == {"hills": (1,), "mood": (0, 1, 2)}
    windows = streams([Document("Rome", (unit,), asks)], chunks=2, count=1)
    assert [question.id for question in windows[0].questions] == ["hills"]


def test_evidence_that_is_nowhere_is_told() -> None:
    asked = DocumentQuestion("lost", "Where?", ("there",), "exact_match", ("no such key",))
    (stream,) = streams([Document("Ada", document("Ada", 2).units, (asked,))])
    assert stream.questions[0].evidence is None
    assert stream.metadata["evidence_lost"] == ["lost"]


def test_splits_are_disjoint_and_lose_none() -> None:
    documents = [document(f"D{n}", 2) for n in range(50)]
    splits = ("train", "eval", None)
    parts = {split: {s.id for s in streams(documents, split=split, eval_share=0.3)} for split in splits}
    assert parts["train"] | parts["eval"] == parts[None]
    assert parts["train"].isdisjoint(parts["eval"])
    assert 5 <= len(parts["eval"]) <= 25


def test_seeds_counts_and_sampling() -> None:
    documents = [document(f"D{n}", 4) for n in range(6)]
    first = streams(documents, chunks=4, questions=2, seed=3)
    assert first == streams(documents, chunks=4, questions=2, seed=3)
    assert first != streams(documents, chunks=4, questions=2, seed=4)
    assert all(len(stream.questions) == 2 for stream in first)
    many = streams(documents, chunks=4, count=20)
    assert len(many) == len({stream.id for stream in many}) == 20
    assert many[:7] == streams(documents, chunks=4, count=7)
    assert streams(documents, count=0) == []


def test_undated_chunks_get_a_day_each() -> None:
    (stream,) = streams([document("Ada", 3)], dated=True)
    assert [chunk.time for chunk in stream.chunks] == ["2024-01-01", "2024-01-02", "2024-01-03"]


def test_a_document_that_is_no_stream_is_named() -> None:
    twice = DocumentQuestion("q", "What?", ("word0",), "exact_match")
    with pytest.raises(DataError, match=r"source 'test', documents Ada: .*two questions with the id 'q'"):
        streams([Document("Ada", document("Ada", 1).units, (twice, twice))])
    with pytest.raises(DataError, match="document 'Ada': question 'q' has no text"):
        streams([Document("Ada", document("Ada", 1).units, (DocumentQuestion("q", " ", ("a",), "exact_match"),))])
