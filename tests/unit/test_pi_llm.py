"""PI-LLM: keys updated again and again; the last value counts, and train and eval share no word."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.stream import Stream
from tests.raw.pi_llm import write
from tests.shared import SHARED, needs_shared

PLACE = ("data", "pi_llm_dict", "dict_category_double-word_46-400_v1-1.json")
REAL = SHARED.joinpath(*PLACE)
SMALL: dict[str, Any] = {"keys": 3, "updates": 5, "chunk_updates": 4}


def build(path: Path, **options: Any) -> list[Stream]:
    return list(open_source("pi_llm", {"path": path, "count": 10, **SMALL, **options}))


def updates(stream: Stream) -> list[tuple[str, str, int]]:
    lines = [(line, place) for place, chunk in enumerate(stream.chunks) for line in chunk.text.split("\n")]
    return [(*line.split(": "), place) for line, place in lines]  # type: ignore[misc]


def check(stream: Stream) -> None:
    """The gold is the value told last, in the chunk that is its evidence, and no value comes twice."""
    last = {key: (value, place) for key, value, place in updates(stream)}
    assert {question.text for question in stream.questions} == {f"What is the last value of {key}?" for key in last}
    for question in stream.questions:
        (key,) = [key for key in last if question.text == f"What is the last value of {key}?"]
        assert (question.answers, question.evidence) == ((last[key][0],), (last[key][1],))
        assert (question.metric, question.kind) == ("exact_match", "latest")
    values = [value for _, value, _ in updates(stream)]
    assert len(set(values)) == len(values)


def test_the_last_value_is_asked(tmp_path: Path) -> None:
    for stream in build(write(tmp_path)):
        check(stream)
        assert [len(chunk.text.split("\n")) for chunk in stream.chunks] == [4, 4, 4, 3]
        assert len(stream.questions) == 3


def test_keys_are_mixed_and_streams_differ(tmp_path: Path) -> None:
    streams = build(write(tmp_path), count=30)
    orders = {tuple(key for key, _, _ in updates(stream)) for stream in streams}
    assert len(orders) == 30
    assert len({tuple(sorted(stream.metadata["values"])) for stream in streams}) == 4  # three of four categories
    assert len({question.id for stream in streams for question in stream.questions}) == 90


def test_it_has_no_end_and_stream_k_does_not_depend_on_how_many_are_taken(tmp_path: Path) -> None:
    path = write(tmp_path)
    endless = open_source("pi_llm", {"path": path, **SMALL})
    assert list(islice(endless, 10)) == build(path)
    assert build(path, count=3) == build(path)[:3]
    assert build(path, seed=1) != build(path)


def test_at_most_so_many_questions(tmp_path: Path) -> None:
    assert {len(stream.questions) for stream in build(write(tmp_path), questions=2)} == {2}


def test_train_and_eval_share_no_word(tmp_path: Path) -> None:
    path = write(tmp_path)
    words = [
        {
            value.casefold()
            for stream in build(path, split=split, eval_share=0.4, count=200)
            for _, value, _ in updates(stream)
        }
        for split in ("train", "eval")
    ]
    assert words[0].isdisjoint(words[1])
    assert len(words[0] | words[1]) == 160  # all of them are used


@pytest.mark.parametrize("options", [{"keys": 5}, {"updates": 41}, {"split": "eval", "eval_share": 0.01}])
def test_what_the_file_is_too_small_for_is_named(options: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"v1-1\.json has \d categories with \d+ words"):
        build(write(tmp_path), **options)


@pytest.mark.parametrize("option", ["keys", "updates", "questions", "chunk_updates"])
def test_knobs_out_of_range_are_named_at_once(option: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"option {option}"):
        open_source("pi_llm", {"path": tmp_path / "none.json", option: 0})


@needs_shared(*PLACE)
@pytest.mark.parametrize("split", ["train", "eval"])
def test_real_dictionary(split: str) -> None:
    for stream in build(REAL, split=split, keys=46, updates=50, chunk_updates=100):
        check(stream)
        assert (len(stream.chunks), len(stream.questions)) == (23, 46)
