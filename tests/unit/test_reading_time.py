"""Texts of models are read in time linear in their length: hostile shapes that once took the square of it, and others.

`python -m tests.reading_time` tries 100,000 inputs.
"""

from __future__ import annotations

import pytest

from tests.reading_time import READERS, USUAL, Shape, examine, search

BLANKS = (" ", "\n", "\t")
HOSTILE = [
    *(("dialect memalpha", Shape(mark, (blank,), "x", None)) for blank in BLANKS for mark in ("✿FUNCTION✿", "✿ARGS✿")),
    ("dialect llama_json", Shape("", ('{"name": "f", "parameters": ',), "", None)),
    *(("extract_update", Shape(first, (blank,), "x", None)) for blank in BLANKS for first in ("1.", "1 ", "-")),
    ("extract_update", Shape("", ("1",), " ADD", None)),  # no integer of so many digits is read
    ("injection", Shape("", ("\n",), "", None)),
    ("injection", Shape("<", (" ",), "", None)),
    ("injection", Shape("verdict:", (" ",), "", None)),
    ("metric exact_match", Shape("", ("+",), "", None)),
    ("metric token_f1", Shape("A", ("#",), "", None)),
    ("metric choice", Shape("answer", (" ",), "1", None)),
    ("metric choice", Shape("", ("answer  ",), "", None)),
    ("metric boxed", Shape("\\boxed{", (" ",), "", None)),
]


@pytest.mark.long
@pytest.mark.parametrize(("reader", "shape"), HOSTILE)
def test_shapes_that_took_the_square_of_their_length_take_it_once(reader: str, shape: Shape) -> None:
    _, finding = examine(reader, shape, USUAL)
    assert finding is None


@pytest.mark.long
def test_no_reader_takes_more_than_in_proportion_to_what_it_reads() -> None:
    assert search(500, seed=21, longest=1 << 14) == []


def test_a_reader_that_takes_the_square_is_found() -> None:
    READERS["square"] = lambda text: [text.count(text[place]) for place in range(0, len(text), 16)]
    try:
        _, finding = examine("square", Shape("", ("ab",), "", None), 1 << 18)
        assert finding is not None and finding.reader == "square"
    finally:
        del READERS["square"]
