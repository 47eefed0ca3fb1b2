"""Cutting text: sentences stay whole, turns stay whole, times and sections stay apart, nothing is lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrl.envs.building.chunking import Unit, cut
from memrl.envs.building.dialogue import Turn, session
from memrl.envs.building.prose import sentences
from memrl.envs.building.tokens import count_tokens

TEXT = ["It", "rains", "in", "Oslo", "today.", "Is", "Ada", "there?", "No!", "Ben", "(65)", "left,"]
WORDS = st.lists(st.sampled_from(TEXT), min_size=1, max_size=60)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("It rains. It pours.", ["It rains.", "It pours."]),
        ("Dr. Who met Mr. T. at 5 p.m. on Sat. He left.", ["Dr. Who met Mr. T. at 5 p.m. on Sat.", "He left."]),
        ("He came, e.g. by J. R. Smith.", ["He came, e.g. by J. R. Smith."]),
        ('"Stop!" she said. "Why?" he asked.', ['"Stop!" she said.', '"Why?" he asked.']),
        ("A title\n\nIts first line\nand second.", ["A title", "Its first line\nand second."]),
        ("It costs 3.50 today. Good", ["It costs 3.50 today.", "Good"]),
        ("", []),
    ],
)
def test_sentences_end_where_they_clearly_end(text: str, wanted: list[str]) -> None:
    assert sentences(text) == wanted


@given(WORDS)
def test_sentences_lose_nothing(words: list[str]) -> None:
    assert " ".join(sentences(" ".join(words))).split() == words


@pytest.mark.long
@given(st.lists(WORDS, max_size=6), st.integers(1, 40))
def test_no_chunk_is_too_long_unless_one_sentence_is(texts: list[list[str]], limit: int) -> None:
    units = [Unit(" ".join(words), (str(n),)) for n, words in enumerate(texts)]
    pieces = cut(units, limit)
    assert " ".join(piece.text for piece in pieces).split() == [word for words in texts for word in words]
    for piece in pieces:
        assert piece.tokens <= limit or len(sentences(piece.text)) == 1
        assert piece.tokens == sum(count_tokens(sentence) for sentence in sentences(piece.text))
    assert {key for piece in pieces for key in piece.keys} == {unit.keys[0] for unit in units}


def test_chunks_are_as_full_as_they_can_be() -> None:
    assert [piece.text for piece in cut([Unit("One two."), Unit("Three."), Unit("Four.")], 5)] == [
        "One two.\n\nThree.",
        "Four.",
    ]


def test_turns_stay_whole_and_sessions_apart() -> None:
    talk = [
        *session("s1", [Turn("Ann", "Hi there. " * 20, "t1"), Turn("Bob", "Hello.", "t2")], "May 1"),
        *session("s2", [Turn("Ann", "Bye."), Turn("Bob", " ")], "May 2"),
    ]
    first, second, third = cut(talk, 10)
    assert first.text == f"Ann: {('Hi there. ' * 20).strip()}"
    assert (second.text, second.time, second.keys) == ("Bob: Hello.", "May 1", {"s1", "t2"})
    assert (third.text, third.time, third.keys) == ("Ann: Bye.", "May 2", {"s2"})


def test_points_come_once() -> None:
    units = [Unit("One two three. Four five six.", points=("a", "b")), Unit("Seven.", points=("c",))]
    assert [piece.points for piece in cut(units, 4)] == [["a", "b"], [], ["c"]]


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("Hello, world!", 4), ("a1b22", 5), ("internationalization", 3)])
def test_estimated_tokens(text: str, tokens: int) -> None:
    assert count_tokens(text) == tokens


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (
            "他住在上海。他喜欢茶！真的吗？「是的。」他说。",
            ["他住在上海。", "他喜欢茶！", "真的吗？", "「是的。」", "他说。"],
        ),
        ("هل تعرف؟ نعم.", ["هل تعرف؟", "نعم."]),
        ("वह दिल्ली में रहती है। वह पढ़ती है।", ["वह दिल्ली में रहती है।", "वह पढ़ती है।"]),
    ],
)
def test_sentences_end_in_every_script(text: str, wanted: list[str]) -> None:
    assert sentences(text) == wanted
