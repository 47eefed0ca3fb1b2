"""Planted leaks are found, for what they are, and clean sets are clean: on the published files too."""

from __future__ import annotations

import csv
import io
import os
import random
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from memrl.data.leaks import Overlap, Pair, Thresholds, find_overlap
from memrl.data.passages import asked_passages, passages
from memrl.envs.building.documents import Packing
from memrl.envs.building.labels import Labelled, Labelling
from memrl.envs.building.tokens import count_tokens
from memrl.envs.sources import SOURCES, open_source
from memrl.envs.stream import Chunk, Question, Stream
from tests.shared import shared

ROOT = Path(__file__).resolve().parents[2]
VOCABULARY = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in ("a", "e", "i", "o", "u") for c in "bdgklmnprst"]


def prose(seed: int | str, sentences: int = 12) -> str:
    """Sentences that nobody else has."""
    draw = random.Random(f"prose/{seed}")
    return " ".join(" ".join(draw.choices(VOCABULARY, k=10)).capitalize() + "." for _ in range(sentences))


def asking(text: str, answer: str, **more: str) -> Question:
    return Question(id=f"q-{text[:20]}", text=text, answers=(answer,), **more)  # type: ignore[arg-type]


def stream(
    name: str,
    chunks: Sequence[str],
    questions: Sequence[Question] = (),
    source: str = "stories",
    documents: Sequence[str] = (),
) -> Stream:
    return Stream(
        id=name,
        source=source,
        chunks=tuple(Chunk(text=text) for text in chunks),
        questions=tuple(questions) or (asking(f"What is {name} about?", f"about {name}"),),
        metadata={"documents": list(documents)} if documents else {},
    )


def tales(prefix: str, count: int = 5, chunks: int = 10) -> list[Stream]:
    return [
        stream(f"{prefix}{n}", [prose(f"{prefix}/{n}/{c}") for c in range(chunks)], documents=[f"{prefix}{n}"])
        for n in range(count)
    ]


def only(overlap: Overlap) -> Pair:
    [pair] = overlap.pairs
    return pair


# What is planted ----------------------------------------------------------------------------------------------------


def test_streams_that_share_nothing_are_no_pair() -> None:
    overlap = find_overlap(tales("train"), tales("eval"))
    assert overlap.pairs == ()
    assert (overlap.train, overlap.evaluation) == ({"stories": 5}, {"stories": 5})


def test_one_equal_chunk_is_found_whatever_its_case_signs_and_spacing() -> None:
    train, held_out = tales("train"), tales("eval")
    copied = held_out[3].chunks[7].text.upper().replace(" ", "  \n").replace(".", " !")
    train[1] = stream("train1", [*(chunk.text for chunk in train[1].chunks), copied])
    pair = only(find_overlap(train, held_out))
    assert pair.leaks[0] == "chunk"
    assert (pair.equal_chunks, pair.near_chunks, pair.leaking, pair.streams) == (1, 0, 1, 5)
    [example] = [example for example in pair.examples if example.what == "chunk"]
    assert (example.train, example.evaluation) == ("train1", "eval3")
    assert "1 of 5 streams affected: 1 chunk word for word" in pair.line()


def change(text: str, every: int) -> str:
    words = text.split()
    return " ".join("otherwise" if place % every == 0 else word for place, word in enumerate(words))


@pytest.mark.parametrize(("every", "found"), [(30, True), (2, False)])
def test_a_chunk_with_some_words_changed_is_nearly_the_same(every: int, found: bool) -> None:
    train, held_out = tales("train"), tales("eval")
    changed = change(held_out[0].chunks[0].text, every)
    overlap = find_overlap([*train, stream("copy", [prose(1), changed])], held_out)
    assert bool(overlap.pairs) is found
    if found:
        pair = only(overlap)
        assert pair.leaks == ("chunk",)
        assert (pair.equal_chunks, pair.near_chunks) == (0, 1)
        [example] = [example for example in pair.examples if example.what == "chunk"]
        assert 0.7 <= example.similarity < 1


def test_how_near_is_near_can_be_set() -> None:
    held_out = tales("eval")
    train = [stream("copy", [change(held_out[0].chunks[0].text, 30)])]
    assert find_overlap(train, held_out, Thresholds(similarity=0.5)).leaks
    assert not [pair for pair in find_overlap(train, held_out, Thresholds(similarity=0.99)).pairs if pair.near_chunks]


def test_a_document_both_sides_name_is_a_leak_even_where_they_hold_other_parts_of_it() -> None:
    train = [stream("a", [prose(1)], documents=["War_and_Peace"])]
    held_out = [stream("b", [prose(2)], documents=["Emma", "War_and_Peace"])]
    pair = only(find_overlap(train, held_out))
    assert (pair.leaks, pair.documents) == (("document",), 1)
    assert pair.examples[0].text == "War_and_Peace"
    of_another_source = [stream("a", [prose(1)], source="essays", documents=["War_and_Peace"])]
    assert find_overlap(of_another_source, held_out).pairs == ()


def test_the_same_document_under_another_name_and_cut_otherwise_is_found_by_its_passages() -> None:
    sentences = [prose(f"book/{n}", 1) for n in range(60)]
    train = [stream("a", [" ".join(sentences[n : n + 13]) for n in range(0, 60, 13)], documents=["old name"])]
    held_out = [stream("b", ["\n".join(sentences[n : n + 4]) for n in range(0, 60, 4)], documents=["new name"])]
    pair = only(find_overlap(train, held_out))
    assert (pair.leaks, pair.documents, pair.equal_chunks, pair.near_chunks) == (("passage",), 0, 0, 0)
    assert pair.seen_passages == 60
    assert pair.worst_passages > 0.9


def test_common_sentences_are_no_leak() -> None:
    polite = ["Thank you very much.", "How are you today?", "I do not know.", "See you next week."]
    train = [stream("a", [f"{prose(n)} {polite[n]}" for n in range(4)])]
    held_out = [stream("b", [f"{polite[n]} {prose(n + 10)}" for n in range(4)])]
    pair = only(find_overlap(train, held_out))
    assert (pair.leaks, pair.seen_passages) == ((), 4)
    short = [stream("c", ["Ada: Thank you very much. How are you today?"])]  # all of it, and still nothing
    assert find_overlap(train, short).leaks == ()


@pytest.mark.long
def test_the_limit_of_passages_counts_for_a_source_and_twice_for_a_stream() -> None:
    train, held_out = tales("train", 1), tales("eval", 20, chunks=1)

    def leaking(share: int, streams: int) -> int:
        """`share` of the 12 sentences (and the question) of each of some evaluation streams in training."""
        said = [" ".join(s.chunks[0].text.split(". ")[n] + "." for n in range(share)) for s in held_out[:streams]]
        [pair] = find_overlap(
            [*train, stream("copy", [f"{prose(n)} {text}" for n, text in enumerate(said)])], held_out
        ).pairs
        return pair.leaking

    assert leaking(2, 1) == 0  # 15 %, of two passages
    assert leaking(3, 1) == 1  # 23 % of one stream
    assert leaking(2, 20) == 0  # too few of each to tell
    tight = Thresholds(passages=0.3)
    said = [stream("copy", [held_out[0].chunks[0].text + prose(5)])]
    assert find_overlap(said, held_out, tight).leaks
    assert not find_overlap(said, held_out, Thresholds(passages=0.6)).leaks


def test_a_question_is_a_leak_only_with_its_answer_and_its_text() -> None:
    plot = asking("What is the plot?", "A theft.")
    train = [stream("a", [prose(1)], [plot])]
    other_text = only(find_overlap(train, [stream("b", [prose(2)], [plot])]))
    assert (other_text.leaks, other_text.repeated_questions, other_text.same_questions) == ((), 0, 1)
    cut_otherwise = stream("b", [f"{prose(3)} {prose(1, 6)}"], [plot])
    same_text = only(find_overlap(train, [cut_otherwise]))
    assert same_text.repeated_questions == 1
    assert "question" in same_text.leaks
    other_answer = only(
        find_overlap(train, [stream("b", [cut_otherwise.chunks[0].text], [asking(plot.text, "A murder.")])])
    )
    assert (other_answer.repeated_questions, other_answer.same_questions) == (0, 1)


def test_pairs_of_sources_are_judged_apart() -> None:
    stories, essays = tales("eval", 2), [stream("e", [prose("essay")], source="essays")]
    copy = stream("c", [essays[0].chunks[0].text], source="web")
    overlap = find_overlap([*tales("train"), copy], [*stories, *essays])
    assert [(pair.train, pair.evaluation) for pair in overlap.leaks] == [("web", "essays")]
    assert overlap.notes == ()


# Labelled utterances ------------------------------------------------------------------------------------------------


def utterances(count: int) -> list[Labelled]:
    return [Labelled(" ".join(random.Random(n).choices(VOCABULARY, k=7)), f"intent{n % 9}") for n in range(count)]


def benchmark(examples: Sequence[Labelled], asked: Sequence[Labelled]) -> Stream:
    """In-context classification as benchmarks lay it out: numbers of their own, one line an utterance, one chunk."""
    numbers = {
        label: 40 + place for place, label in enumerate(sorted({example.label for example in (*examples, *asked)}))
    }
    shown = "\n".join(f"{example.text}\tlabel: {numbers[example.label]}" for example in examples)
    questions = [
        Question(
            id=f"q{n}", text=f"Sentence: {example.text}\nWhich label has it?", answers=(str(numbers[example.label]),)
        )
        for n, example in enumerate(asked)
    ]
    return stream("benchmark", [shown], questions, source="benchmark")


def training(examples: Sequence[Labelled]) -> list[Stream]:
    return list(Labelling(split="train", chunks=4, chunk_tokens=300, questions=20).streams(lambda: examples, "labels"))


def test_training_utterances_in_a_benchmark_are_found_though_no_chunk_is_alike() -> None:
    examples = utterances(600)
    pair = only(find_overlap(training(examples), [benchmark(examples[100:400], examples[400:450])]))
    assert (pair.leaks, pair.equal_chunks, pair.near_chunks) == (("passage",), 0, 0)
    assert pair.worst_passages > 0.5


def test_utterances_that_training_asks_about_are_found_in_shown_and_asked_text() -> None:
    examples = utterances(600)
    train = training(examples)
    asked = {question.text.split("Text: ")[1] for one in train for question in one.questions}
    shown = [example for example in examples if example.text not in asked][:30]
    questions = [example for example in examples if example.text in asked]
    assert len(questions) >= 20
    others = [Labelled(" ".join(random.Random(-n).choices(VOCABULARY, k=7)), f"intent{n % 9}") for n in range(1, 60)]
    in_questions = only(find_overlap(train, [benchmark(others, questions)]))
    assert in_questions.leaks == ("passage",)
    in_chunks = only(find_overlap(train, [benchmark([*others, *questions], shown[:1])]))
    assert in_chunks.leaks == ("passage",)


def test_the_splits_of_labelled_utterances_are_clean() -> None:
    examples = utterances(900)
    held_out = Labelling(split="eval", chunks=3, chunk_tokens=200, questions=20).streams(lambda: examples, "labels")
    overlap = find_overlap(training(examples), held_out)
    assert overlap.leaks == ()
    assert all(pair.seen_passages == 0 for pair in overlap.pairs)


# Generated sources --------------------------------------------------------------------------------------------------


def synthetic(seed: int, count: int, **options: int) -> list[Stream]:
    return list(open_source("synthetic", {"seed": seed, "count": count, **options}))


@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"sentences": 3, "people": 16}, {"chunks": 2}, {"chunks": 1, "sentences": 1}])
def test_sentences_of_templates_are_expected(options: dict[str, int]) -> None:
    pair = only(find_overlap(synthetic(1, 2000, **options), synthetic(2, 64, **options)))
    assert pair.templates
    assert pair.leaks == ()
    assert pair.seen_passages > 0
    assert pair.same_questions + pair.repeated_questions > 0


def test_a_generated_stream_that_comes_again_is_a_leak() -> None:
    pair = only(find_overlap(synthetic(1, 100), [*synthetic(2, 9), *synthetic(1, 1)]))
    assert (pair.leaks, pair.leaking, pair.streams) == (("chunk",), 1, 10)


def test_what_templates_say_is_a_leak_in_streams_of_another_source() -> None:
    """Only where both sides say that they are generated is it expected."""
    copies = [one.model_copy(update={"source": "mine"}) for one in synthetic(1, 20)]
    [pair] = find_overlap(copies, synthetic(1, 20)).pairs
    assert not pair.templates
    assert "passage" in pair.leaks


# What is compared ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "line",
    [
        "Play some jazz for me",
        "play  some jazz -- for me!",
        "Ada: Play some jazz for me.",
        "[2024-05-01 10:00] <user> Play some jazz for me",
        "Text: Play some jazz for me",
        "Play some jazz for me\tlabel: 12",
        "Play some jazz for me => 12",
        "Play some jazz for me label: 12",
        "Play some jazz for me (label: 7)",
    ],
)
def test_a_passage_is_the_same_whatever_frames_it(line: str) -> None:
    assert list(passages(f"{line}\nlabel: 12\nOh no.")) == ["play some jazz for me"]


def test_numbers_that_belong_to_a_text_stay() -> None:
    assert list(passages("He was born in 1912")) == ["he was born in 1912"]
    assert list(passages("At 10:30 we left. Then it rained for days!")) == [
        "at 10:30 we left",
        "then it rained for days",
    ]


def test_a_question_gives_what_it_quotes() -> None:
    asked = asking('Which label has "play some jazz for me"?', "3")
    assert "play some jazz for me" in set(asked_passages(asked))


def test_scripts_without_blanks_are_compared() -> None:
    text = "私は昨日東京に行きました。とても楽しかったです。そこで友達に会いました。一緒に夕食を食べました。"
    pair = only(find_overlap([stream("a", [f"{text}はい、そうです。"])], [stream("b", [text])]))
    assert pair.leaks


@pytest.mark.long
def test_the_report_is_the_same_in_every_process() -> None:
    """Python's own hashes differ from process to process; what is found does not."""
    script = (
        "from tests.unit.test_leaks import *\n"
        "held = tales('eval')\n"
        "train = [stream('a', [change(s.chunks[0].text, every) for s in held for every in (12, 20, 30)])]\n"
        "print(find_overlap(train, held).model_dump_json())"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert '"near_chunks":0' not in said.pop()


# The published files ------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_the_splits_of_banking77_are_clean_and_it_takes_seconds_at_most() -> None:
    options = {"path": shared("data", "banking77")}
    train = list(open_source("banking77", {**options, "split": "train", "count": 20}))
    held_out = list(open_source("banking77", {**options, "split": "eval", "count": 6}))
    tokens = sum(count_tokens(chunk.text) for one in (*train, *held_out) for chunk in one.chunks)
    began = time.perf_counter()
    overlap = find_overlap(train, held_out)
    seconds = time.perf_counter() - began
    assert overlap.leaks == ()
    assert only(overlap).worst_passages < 0.1
    assert tokens > 100_000
    assert seconds < 10, f"{tokens / seconds:.0f} tokens a second"  # under 1 on an idle machine


@pytest.mark.long
def test_streams_of_all_of_banking77_leak_into_its_eval_split() -> None:
    options = {"path": shared("data", "banking77")}
    held_out = list(open_source("banking77", {**options, "split": "eval", "count": 3}))
    pair = only(find_overlap(open_source("banking77", {**options, "seed": 4}), held_out))
    assert pair.leaks == ("passage",)
    assert pair.leaking == 3


@pytest.mark.long
def test_the_splits_of_squad_are_clean() -> None:
    options = {"path": next(shared("data", "squad_cs224n_dev").glob("*.json*")), "eval_share": 0.2}
    train = open_source("squad", {**options, "split": "train"})
    assert find_overlap(train, open_source("squad", {**options, "split": "eval"})).leaks == ()


@pytest.mark.long
def test_squad_under_other_names_leaks() -> None:
    options = {"path": next(shared("data", "squad_cs224n_dev").glob("*.json*")), "eval_share": 0.2}
    stage = SOURCES["squad"].stage
    assert isinstance(stage, Packing)
    train = (one.model_copy(update={"source": "mine", "metadata": {}}) for one in open_source("squad", options))
    held_out = open_source("squad", {**options, "split": "eval", "chunk_tokens": 300, "chunks": 4, "seed": 2})
    pair = only(find_overlap(train, held_out))
    assert (pair.documents, pair.leaking) == (0, pair.streams)
    assert {"passage", "question"} <= set(pair.leaks)


def nlu_rows(part: str) -> list[Labelled]:
    found = []
    with tarfile.open(shared("data", "nlu_hwu64", "hwu64_fold1.tar.gz")) as archive:
        for member in archive.getmembers():
            if member.name.startswith(part) and member.name.endswith(".csv"):
                file = archive.extractfile(member)
                assert file is not None
                for row in csv.DictReader(io.StringIO(file.read().decode()), delimiter=";"):
                    found.append(Labelled(row["answer_from_anno"], f"{row['scenario']}_{row['intent']}"))
    return found


@pytest.mark.long
def test_the_leak_of_the_reference_is_found_nlu_in_its_benchmark_column() -> None:
    """Mem-alpha trains on utterances that the NLU column of MemoryAgentBench shows and asks about."""
    rows = nlu_rows("trainset")
    random.Random(0).shuffle(rows)
    train = list(Labelling(split="train", count=20).streams(lambda: rows, "nlu"))
    pair = only(find_overlap(train, [benchmark(rows[:3000], rows[3000:3100])]))
    assert (pair.leaks, pair.equal_chunks, pair.near_chunks) == (("passage",), 0, 0)
    assert pair.worst_passages > 0.3
    tested = nlu_rows("testset")
    clean = find_overlap(train, [benchmark(tested[:900], tested[900:1000])])
    assert clean.leaks == ()
