"""Labelled utterances as streams: what is shown, what is asked, and that no two of these share an utterance."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memrl.envs.building.labels import HEAD, QUESTION, Labelled, Labelling
from memrl.envs.building.tokens import count_tokens
from memrl.envs.errors import DataError
from memrl.envs.stream import Stream
from memrl.rewards.metrics import score


def normal(text: str) -> str:
    return " ".join(text.casefold().split())


def shown(stream: Stream) -> list[tuple[str, str, int]]:
    """Text, number and chunk of each example of a stream, read back from its chunks."""
    found = []
    for place, chunk in enumerate(stream.chunks):
        head, *examples = chunk.text.split("\n\n")
        assert head == HEAD
        for example in examples:
            text, number = example.split("\nlabel: ")
            found.append((text, number, place))
    return found


def asked(stream: Stream) -> list[tuple[str, str]]:
    start = QUESTION.format(text="")
    assert all(question.text.startswith(start) for question in stream.questions)
    return [(question.text.removeprefix(start), question.answers[0]) for question in stream.questions]


def utterances(streams: list[Stream]) -> set[str]:
    return {normal(text) for stream in streams for text, *_ in [*shown(stream), *asked(stream)]}


def build(examples: list[Labelled], **options: object) -> list[Stream]:
    stage = Labelling.model_validate({"chunks": 4, "chunk_tokens": 120, "questions": 8, **options})
    return list(stage.streams(lambda: examples, "made"))


LABELS = [f"intent {n}" for n in range(6)]
TRAIN = [Labelled(f"wish {n} about {LABELS[n % 6]}", LABELS[n % 6]) for n in range(900)]
TEST = [Labelled(f"tested wish {n} about {LABELS[n % 6]}", LABELS[n % 6], "test") for n in range(60)]
LABEL_OF = {example.text: example.label for example in TRAIN + TEST}


@pytest.mark.parametrize("split", [None, "train", "eval"])
@pytest.mark.parametrize("examples", [TRAIN, TRAIN + TEST], ids=["no test part", "test part"])
def test_a_stream_keeps_to_one_numbering_and_its_questions_to_what_it_shows(
    examples: list[Labelled], split: str | None
) -> None:
    streams = build(examples, split=split)
    assert len(streams) > 1
    for stream in streams:
        names = stream.metadata["labels"]
        assert sorted(names.values()) == LABELS
        chunks: dict[str, set[int]] = {}
        for text, number, place in shown(stream):
            assert names[number] == LABEL_OF[text]
            chunks.setdefault(number, set()).add(place)
        assert len(stream.questions) == 8 and len(set(asked(stream))) == 8
        for question, (text, number) in zip(stream.questions, asked(stream), strict=True):
            assert names[number] == LABEL_OF[text]
            assert question.evidence == tuple(sorted(chunks[number]))
            assert score(question.metric, f"It is \\boxed{{{number}}}.", question.answers) == 1.0
        assert {normal(text) for text, *_ in shown(stream)}.isdisjoint(normal(text) for text, _ in asked(stream))
        assert len(stream.chunks) == 4
        assert all(count_tokens(chunk.text) <= 120 for chunk in stream.chunks)


def test_numbers_are_drawn_for_each_stream_or_fixed() -> None:
    drawn = [tuple(stream.metadata["labels"].values()) for stream in build(TRAIN, split="train", count=20)]
    assert len(set(drawn)) > 15
    assert drawn != [tuple(s.metadata["labels"].values()) for s in build(TRAIN, split="train", count=20, seed=1)]
    for stream in build(TRAIN, numbers="fixed", count=3):
        assert list(stream.metadata["labels"].values()) == LABELS


def test_the_test_part_is_asked_about_in_eval_alone() -> None:
    train, evaluation = build(TRAIN + TEST, split="train"), build(TRAIN + TEST, split="eval")
    assert utterances(train).isdisjoint(utterances(evaluation))
    assert not any("tested" in text for text in utterances(train))
    assert all("tested" in text for stream in evaluation for text, _ in asked(stream))
    assert not any("tested" in text for stream in evaluation for text, *_ in shown(stream))


def test_no_label_is_asked_about_that_is_not_shown() -> None:
    rare = [Labelled(f"rare {n}", "rare", "test") for n in range(100)]
    for stream in build(TRAIN + TEST + rare):
        assert "rare" in stream.metadata["labels"].values()
        assert not any("rare" in text for text, _ in asked(stream))
    with pytest.raises(DataError, match="no stream can be built"):
        build(TRAIN + rare, split="eval")


def test_an_utterance_of_both_parts_is_never_shown() -> None:
    again = [Labelled(example.text.upper() + " ", example.label) for example in TEST]
    for split in (None, "train", "eval"):
        streams = build(again + TRAIN + TEST, split=split)
        assert not any(normal(text).startswith("tested") for stream in streams for text, *_ in shown(stream))


def test_an_utterance_comes_once_and_not_at_all_with_two_labels() -> None:
    twice = [Labelled(f"Wish {n}  about intent {n % 6}", LABELS[n % 6]) for n in range(300)]
    torn = [Labelled("wish 7 about intent 1", "intent 2"), Labelled(" \n", "intent 3")]
    streams = build(TRAIN + twice + torn, chunk_tokens=400)
    counts = Counter(normal(text) for stream in streams for text, *_ in shown(stream))
    assert max(counts.values()) == 1
    assert "wish 7 about intent 1" not in utterances(streams)
    assert len(counts) > 150


def abstracts() -> list[Labelled]:
    """Documents of five sentences, with one that all have and one that each has with the next."""
    return [
        Labelled(text, label, group=f"doc {n}")
        for n in range(120)
        for text, label in (
            ("All rights reserved.", "other"),
            (f"Shared by {n // 2} and another.", "aim"),
            (f"What {n} is about.", "aim"),
            (f"What {n} does.", "method"),
            (f"What {n} found.", "result"),
        )
    ]


@pytest.mark.long
def test_documents_are_not_torn_and_what_several_say_is_on_one_side() -> None:
    sides = [build(abstracts(), split=split, eval_share=0.5, count=40) for split in ("train", "eval")]
    assert utterances(sides[0]).isdisjoint(utterances(sides[1]))
    own = [{text.split()[1] for text in utterances(side) if text.startswith("what ")} for side in sides]
    assert own[0].isdisjoint(own[1]) and len(own[0] | own[1]) == 120
    for stream in sides[0] + sides[1]:
        assert {normal(text) for text, *_ in shown(stream)}.isdisjoint(normal(text) for text, _ in asked(stream))


def test_stream_k_is_the_same_whatever_was_taken() -> None:
    one_pass = len(build(TRAIN, split="train"))
    many = build(TRAIN, split="train", count=3 * one_pass + 1)
    assert len({stream.id for stream in many}) == len(many) == 3 * one_pass + 1
    assert build(TRAIN, split="train", count=2) == many[:2]
    assert build(TRAIN, split="train") == many[:one_pass]
    assert many[0].chunks != many[one_pass].chunks
    assert build(TRAIN, split="train", count=2, seed=1)[0].chunks != many[0].chunks


def test_what_is_built_does_not_depend_on_the_order_of_the_records() -> None:
    records = [*TRAIN, *TEST, *(Labelled(example.text.upper(), example.label) for example in TRAIN)]
    assert build(records) == build(records[::-1])


def test_who_is_in_eval_does_not_depend_on_the_seed() -> None:
    train = utterances(build(TRAIN, split="train", count=30))
    for seed in range(3):
        assert train.isdisjoint(utterances(build(TRAIN, split="eval", seed=seed, count=5)))


def test_too_little_for_one_stream_is_a_shorter_stream() -> None:
    (stream,) = build(TRAIN[:40])
    assert 1 <= len(stream.chunks) <= 4 and stream.questions
    with pytest.raises(DataError, match="no stream can be built"):
        build([])


def test_texts_of_several_lines_and_braces_stay_what_they_are() -> None:
    examples = [Labelled(f"line {n}\n\nlabel: 9 {{x}} \\boxed{{1}}", LABELS[n % 2]) for n in range(200)]
    for stream in build(examples):
        for text, number in [*((text, number) for text, number, _ in shown(stream)), *asked(stream)]:
            assert text.startswith("line ") and text.endswith("label: 9 {x} \\boxed{1}")
            assert stream.metadata["labels"][number] == LABELS[int(text.split()[1]) % 2]


parts = st.sampled_from(["train", "train", "train", "test"])
records = st.builds(
    Labelled,
    st.text("ab \x00é", min_size=0, max_size=4),
    st.sampled_from("xyz"),
    parts,
    st.one_of(st.none(), st.sampled_from(["one", "two", "three"])),
)


@pytest.mark.long
@settings(max_examples=150, deadline=None)
@given(st.lists(records, max_size=60), st.integers(0, 3))
def test_nothing_leaks_whatever_the_records(examples: list[Labelled], seed: int) -> None:
    sides = []
    for split in ("train", "eval", None):
        try:
            streams = build(examples, split=split, eval_share=0.5, seed=seed, chunk_tokens=30, count=4)
        except DataError:
            streams = []
        for stream in streams:
            told = {normal(text): stream.metadata["labels"][number] for text, number, _ in shown(stream)}
            questions = {normal(text): stream.metadata["labels"][number] for text, number in asked(stream)}
            assert told.keys().isdisjoint(questions) and set(questions.values()) <= set(told.values())
            for text, label in (told | questions).items():
                assert {example.label for example in examples if normal(example.text) == text} == {label}
        sides.append(utterances(streams))
    assert sides[0].isdisjoint(sides[1])


STREAMING = """
import json, sys
from pathlib import Path
from memrl.envs.sources import open_source
streams = sum(1 for _ in open_source("banking77", {"path": Path(sys.argv[1]), "split": "train", "count": 100}))
peak = next(line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line)
print(json.dumps([streams, int(peak) / 1024]))
"""


def peak(folder: Path, count: int) -> float:
    """MB that a process needed at most to build streams from a CSV of `count` utterances."""
    folder.mkdir()

    def rows() -> Iterator[str]:
        yield "text,category\n"
        for n in range(count):
            yield f"customer {n} asks about the card with the number {n * 7919 % 1000003},intent {n % 77}\n"

    with (folder / "train.csv").open("w") as file:
        file.writelines(rows())
    (folder / "test.csv").write_text("text,category\nwhere is my card?,intent 1\n", encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", STREAMING, folder], capture_output=True, text=True, check=True)
    streams, most = json.loads(done.stdout)
    assert streams == 100
    return float(most)


@pytest.mark.slow
def test_a_million_utterances_need_no_more_memory_than_ten_thousand(tmp_path: Path) -> None:
    assert peak(tmp_path / "many", 1_000_000) < peak(tmp_path / "few", 10_000) + 20
