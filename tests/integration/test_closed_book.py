"""Questions that a reader answers from nothing, asked of a real HTTP server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memrl.config import ReaderConfig
from memrl.envs.stream import Chunk, Question, Stream
from memrl.errors import ReaderError
from memrl.frozen.closed_book import closed_book
from tests.openai_server import OpenAIServer

CAPITALS = {"France": "Paris", "Italy": "Rome"}


def from_nothing(memory: str, question: str) -> str:
    """Knows two capitals, and has been given nothing to read."""
    assert memory == "| (empty)"
    return next((city for land, city in CAPITALS.items() if land in question), "unknown")


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    running = OpenAIServer(from_nothing)
    yield running
    running.stop()


def reader_at(server: OpenAIServer, cache: Path | None = None) -> ReaderConfig:
    reader = ReaderConfig(type="endpoint")
    endpoint = reader.endpoint
    endpoint.url, endpoint.model, endpoint.retries = server.url, server.model, 0
    endpoint.cache, endpoint.cache_dir = cache is not None, str(cache)
    return reader


def stream(name: str, source: str, *questions: Question) -> Stream:
    return Stream(id=name, source=source, chunks=(Chunk(text="Paris is the capital of France."),), questions=questions)


def capital(land: str, answer: str) -> Question:
    return Question(id=land, text=f"What is the capital of {land}?", answers=(answer,), kind="capital")


STREAMS = [
    stream("s1", "atlas", capital("France", "Paris"), capital("Chad", "N'Djamena")),
    stream("s2", "atlas", capital("Italy", "Rome"), Question(id="x", text="Who?", answers=("Ada",), kind="who")),
    stream("s3", "diary", Question(id="x", text="Where?", answers=("unknown",), metric="abstention", kind="none")),
]


def test_what_is_known_without_a_memory_is_counted_by_source_and_kind(server: OpenAIServer) -> None:
    found = closed_book(STREAMS, reader_at(server), None)
    assert [(row.source, row.kind, row.asked, row.right, round(row.score, 2)) for row in found.rows] == [
        ("atlas", "capital", 3, 2, 0.67),
        ("atlas", "who", 1, 0, 0.0),
        ("diary", "none", 1, 1, 1.0),
    ]
    assert {(guess.stream, guess.question, guess.answer) for guess in found.examples} == {
        ("s1", "France", "Paris"),
        ("s2", "Italy", "Rome"),
        ("s3", "x", "unknown"),
    }
    assert found.model == server.model
    assert len(server.requests) == 5


def test_a_sample_of_each_source_is_asked_the_same_one_whatever_the_order(server: OpenAIServer, tmp_path: Path) -> None:
    reader = reader_at(server, tmp_path / "answers")
    first = closed_book(STREAMS, reader, None, most=2, seed=1)
    assert [sum(row.asked for row in first.rows if row.source == name) for name in ("atlas", "diary")] == [2, 1]
    asked = len(server.requests)
    assert asked == 3
    assert closed_book(reversed(STREAMS), reader, None, most=2, seed=1) == first
    assert len(server.requests) == asked  # from the cache
    closed_book([*STREAMS, *STREAMS], reader_at(server), None, most=10)  # the same stream twice


def test_no_failure_becomes_an_answer(server: OpenAIServer) -> None:
    server.always = "500"
    with pytest.raises(ReaderError, match="answered 500"):
        closed_book(STREAMS, reader_at(server), None)
