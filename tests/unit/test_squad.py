"""The SQuAD source: both versions, plain and gz, evidence, splits, and a clear message for each kind of damage."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from memrl.envs.building.splitting import in_split
from memrl.envs.errors import DataError
from memrl.envs.sources import open_source
from memrl.envs.sources.squad import UNANSWERABLE
from memrl.envs.stream import Stream
from tests.shared import SHARED, needs_shared

PLACE = ("data", "squad_cs224n_dev", "dev-v2.0.json.gz")
REAL = SHARED.joinpath(*PLACE)
needs_real = needs_shared(*PLACE)


def squad(**options: Any) -> list[Stream]:
    """Streams with one short paragraph a chunk, unless told otherwise."""
    return list(open_source("squad", {"chunk_tokens": 6, **options}))


def entry(name: str, answers: list[str], **more: Any) -> dict[str, Any]:
    return {"id": name, "question": f"What is {name}?", "answers": [{"text": text} for text in answers], **more}


def article(title: str, paragraphs: int, **more: Any) -> dict[str, Any]:
    return {
        "title": title,
        "paragraphs": [
            {"context": f"{title} says {place}.", "qas": [entry(f"{title}-{place}", [str(place)] * 3, **more)]}
            for place in range(paragraphs)
        ],
    }


def save(path: Path, articles: list[dict[str, Any]], version: str = "1.1") -> Path:
    path.write_text(json.dumps({"version": version, "data": articles}), encoding="utf-8")
    return path


@pytest.fixture
def v1(tmp_path: Path) -> Path:
    return save(tmp_path / "v1.json", [article("Rome", 5), article("Oslo", 4), article("Lima", 3)])


def test_v1_streams_have_chunks_questions_and_evidence(v1: Path) -> None:
    streams = squad(path=v1, chunks=4)
    assert [len(stream.chunks) for stream in streams] == [4, 4, 4]
    assert len({stream.id for stream in streams}) == 3
    for stream in streams:
        for question in stream.questions:
            assert question.evidence is not None
            assert question.answers == (question.id.split("-")[1],)  # three equal golds became one
            assert question.id.replace("-", " says ") + "." == stream.chunks[question.evidence[0]].text


def test_gz_and_plain_give_the_same_streams(v1: Path) -> None:
    packed = v1.with_name("v1.json.gz")
    packed.write_bytes(gzip.compress(v1.read_bytes()))
    assert squad(path=packed, seed=5) == squad(path=v1, seed=5)


def test_v2_leaves_unanswerable_questions_out_unless_asked(tmp_path: Path) -> None:
    mixed = article("Rome", 2)
    mixed["paragraphs"][0]["qas"].append(entry("trick", [], is_impossible=True, plausible_answers=[{"text": "x"}]))
    path = save(tmp_path / "v2.json", [mixed], "v2.0")
    (plain,) = squad(path=path)
    assert {question.id for question in plain.questions} == {"Rome-0", "Rome-1"}
    (all_of_them,) = squad(path=path, unanswerable=True)
    trick = next(question for question in all_of_them.questions if question.id == "trick")
    assert (trick.kind, trick.answers, trick.evidence) == ("unanswerable", UNANSWERABLE, None)


def test_seed_decides_the_order(v1: Path) -> None:
    first = [squad(path=v1, seed=seed, chunks=4) for seed in (0, 0, 1, 2, 3)]
    assert first[0] == first[1]
    assert len({tuple(chunk.text for stream in streams for chunk in stream.chunks) for streams in first}) > 1


def test_count_goes_past_one_pass_with_new_shuffles(v1: Path) -> None:
    streams = squad(path=v1, chunks=4, count=30)
    assert len(streams) == len({stream.id for stream in streams}) == 30
    assert len({stream.chunks for stream in streams}) > 3
    assert streams[:2] == squad(path=v1, chunks=4, count=2)
    assert squad(path=v1, count=0) == []


def test_questions_are_limited_and_stay_in_reading_order(v1: Path) -> None:
    for stream in squad(path=v1, chunks=6, questions=3):
        places = [question.evidence for question in stream.questions]
        assert len(places) == 3
        assert places == sorted(places, key=str)


def test_a_chunk_never_joins_two_articles(v1: Path) -> None:
    (stream,) = squad(path=v1, chunks=100, chunk_tokens=8)
    assert len(stream.chunks) == 3 + 2 + 2
    for chunk in stream.chunks:
        assert sum(title in chunk.text for title in ("Rome", "Oslo", "Lima")) == 1


def test_long_paragraphs_are_cut_between_sentences_and_evidence_follows(tmp_path: Path) -> None:
    tree = article("Rome", 1)
    tree["paragraphs"][0]["context"] = "It is old. It is by a river. Its hills are seven. Its bridges are many."
    tree["paragraphs"][0]["qas"] = [entry("hills", ["seven"]), entry("river", ["a river"])]
    (stream,) = squad(path=save(tmp_path / "a.json", [tree]), chunk_tokens=9)
    assert [chunk.text for chunk in stream.chunks] == [
        "It is old.",
        "It is by a river.",
        "Its hills are seven.",
        "Its bridges are many.",
    ]
    assert [question.evidence for question in stream.questions] == [(2,), (1,)]


def test_splits_share_no_article_and_lose_none(tmp_path: Path) -> None:
    titles = [f"Title {number}" for number in range(60)]
    path = save(tmp_path / "many.json", [article(title, 2) for title in titles])
    seen: dict[str, set[str]] = {}
    for split in ("train", "eval"):
        streams = open_source("squad", {"path": str(path), "split": split, "chunks": 2})
        seen[split] = {title for stream in streams for title in stream.metadata["documents"]}
    assert seen["train"].isdisjoint(seen["eval"])
    assert seen["train"] | seen["eval"] == set(titles)
    assert seen["eval"] == {title for title in titles if in_split(title, "eval", 0.2)}


def test_articles_are_chosen_by_title(v1: Path) -> None:
    assert {t for s in squad(path=v1, articles=["Oslo"]) for t in s.metadata["documents"]} == {"Oslo"}
    with pytest.raises(DataError, match=r"no article Paris\. It has: Lima, Oslo, Rome"):
        squad(path=v1, articles=["Paris"])


def spoil(change: Callable[[dict[str, Any]], Any]) -> bytes:
    tree = {"version": "1.1", "data": [article("Rome", 2), article("Oslo", 2)]}
    change(tree)
    return json.dumps(tree).encode()


GOOD = spoil(lambda tree: None)


@pytest.mark.parametrize(
    ("name", "raw", "messages"),
    [
        ("a.json", GOOD[:-40], ["a.json, after 1 records", "Download it again"]),
        ("a.json", b"", ["a.json, after 0 records"]),
        ("a.json", b"\n\n{nonsense}", ["a.json, after 0 records"]),
        ("a.json", b'{"data": "\xff"}', ["a.json, after 0 records"]),
        ("a.json", b"[" * 2_000, ["a.json"]),
        ("a.json", b"9" * 5000, ["a.json"]),
        ("a.json", b'{"rows": []}', ["is not SQuAD JSON: it holds no record at data.item"]),
        ("a.json", b"[]", ["is not SQuAD JSON"]),
        ("a.json", b'{"data": []}', ["is not SQuAD JSON"]),
        ("a.json.gz", gzip.compress(GOOD)[:-20], ["a.json.gz is damaged or cut short", "Download it again"]),
        ("a.json.gz", GOOD, ["a.json.gz is damaged or cut short", "Not a gzipped file"]),
        ("a.json.gz", b"", ["a.json.gz"]),
        ("a.json", spoil(lambda t: t["data"][1].pop("title")), ["record 2 at data.item: title: Field required"]),
        (
            "a.json",
            spoil(lambda t: t["data"][1]["paragraphs"][0].pop("context")),
            ["record 2 at data.item: paragraphs.0.context: Field required"],
        ),
        (
            "a.json",
            spoil(lambda t: t["data"][0]["paragraphs"][1]["qas"][0].pop("answers")),
            ["record 1 at data.item: paragraphs.1.qas.0.answers: Field required"],
        ),
        (
            "a.json",
            spoil(lambda t: t["data"][0]["paragraphs"][1]["qas"][0].update(answers=[])),
            ["record 1 at data.item ('Rome'): question 'Rome-1' has no answer", "is_impossible"],
        ),
        (
            "a.json",
            spoil(lambda t: t["data"][0]["paragraphs"][1]["qas"][0].update(question=" ")),
            ["question 'Rome-1' has no text"],
        ),
        (
            "a.json",
            spoil(lambda t: t["data"][0]["paragraphs"][1]["qas"][0].update(id="Rome-0")),
            ["two questions with the id 'Rome-0'"],
        ),
        (
            "a.json",
            spoil(lambda t: [p.update(qas=[]) for a in t["data"] for p in a["paragraphs"]]),
            ["no stream can be built"],
        ),
    ],
)
def test_damage_is_named_with_its_place(tmp_path: Path, name: str, raw: bytes, messages: list[str]) -> None:
    path = tmp_path / name
    path.write_bytes(raw)
    with pytest.raises(DataError) as caught:
        squad(path=path)
    for message in messages:
        assert message in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.json does not exist\. Check the path"):
        squad(path=tmp_path / "none.json")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chunks": 0}, "option chunks: Input should be greater than or equal to 1"),
        ({"questions": 0}, "option questions"),
        ({"count": -1}, "option count"),
        ({"eval_share": 2.0}, "option eval_share: Input should be less than or equal to 1"),
        ({"split": "eval", "eval_share": 0.0}, "no stream can be built with split='eval'"),
    ],
)
def test_bad_options_are_named(v1: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        squad(path=v1, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("squat", {}, "unknown source 'squat'; did you mean 'squad'"),
        ("squad", {"path": "x", "chunk": 3}, "has no option 'chunk'; did you mean 'chunks'"),
        ("squad", {"chunks": 3}, "source 'squad' needs the option 'path'"),
        ("squad", {"path": "x", "chunks": "ten"}, "source 'squad', option chunks: Input should be a valid integer"),
        ("squad", {"path": "x", "split": "test"}, "option split: Input should be 'train' or 'eval'"),
    ],
)
def test_open_source_checks_options_at_once(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        open_source(name, options)


@needs_real
def test_the_real_file_holds_its_evidence() -> None:
    streams = squad(path=REAL, split="train", eval_share=0.2, chunk_tokens=1000)
    assert len(streams) > 1
    assert {len(stream.chunks) for stream in streams[:-1]} == {10}
    for stream in streams:
        for question in stream.questions:
            assert question.evidence is not None
            assert question.answers[0] in stream.chunks[question.evidence[0]].text


@needs_real
def test_the_real_files_splits_share_no_article() -> None:
    train, held_out = (
        {title for stream in squad(path=REAL, split=split, eval_share=0.2) for title in stream.metadata["documents"]}
        for split in ("train", "eval")
    )
    assert train and held_out and train.isdisjoint(held_out)
