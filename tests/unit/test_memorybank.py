"""MemoryBank: days of talk in order, questions about which of two things the user said came first."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from memrl.envs.sources import open_source
from memrl.envs.stream import Question, Stream
from tests.raw.memorybank import write
from tests.shared import SHARED, needs_shared

REAL = SHARED / "data" / "memorybank_en"


def build(path: Path, **options: Any) -> dict[str, Stream]:
    streams = open_source("memorybank", {"path": path, **options})
    return {stream.metadata["documents"][0]: stream for stream in streams}


def check_order(stream: Stream, question: Question) -> None:
    """Both passages are the user's, stand in the evidence, and the one named comes first."""
    a, b = re.findall(r"^[AB]: (.*)$", question.text, re.MULTILINE)
    told = "\n".join(chunk.text for chunk in stream.chunks)
    assert question.answers == (("A",) if told.index(a) < told.index(b) else ("B",))
    shown = "\n".join(stream.chunks[place].text for place in question.evidence or ())
    assert a in shown and b in shown


def test_days_are_chunks_in_order(tmp_path: Path) -> None:
    stream = build(write(tmp_path))["Nora"]
    assert [chunk.time for chunk in stream.chunks] == ["2023-04-27", "2023-05-01", "2023-05-02"]
    assert stream.chunks[0].text.split("\n") == [
        "Nora: On 2023-04-27 I saw 2 herons in the park.",
        "AI: What did the herons do?",
        "Nora: On 2023-04-27 I saw 3 herons in the park.",
        "AI: What did the herons do?",
    ]


def test_questions_ask_for_the_order_of_what_the_user_said(tmp_path: Path) -> None:
    path = write(tmp_path)
    for stream in build(path).values():
        assert len(stream.questions) == 12  # all pairs of six turns, of which two stand on each of three days
        for question in stream.questions:
            assert question.metric == "choice"
            check_order(stream, question)
    few = build(path, order=4)["Otto"].questions
    assert len(few) == 4 and few != build(path, order=4, seed=1)["Otto"].questions


def test_probing_questions_are_metadata(tmp_path: Path) -> None:
    streams = build(write(tmp_path))
    assert streams["Nora"].metadata["probing_questions"] == ["What did I see?", "When?"]
    assert streams["Otto"].metadata["probing_questions"] == ["Which birds?"]


@needs_shared("data", "memorybank_en")
def test_real_files() -> None:
    streams = build(REAL)
    assert len(streams) == 15
    assert sum(len(stream.metadata["probing_questions"]) for stream in streams.values()) == 100
    for stream in streams.values():
        times = [chunk.time or "" for chunk in stream.chunks]
        assert times == sorted(times) and len(set(times)) in (9, 10)
        for question in stream.questions:
            check_order(stream, question)
