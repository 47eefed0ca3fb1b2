"""What a set of streams is measured by, the report on two sides, and the look at the data before a run."""

from __future__ import annotations

import json
import logging
import time
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from memrl.cli import main as cli
from memrl.config import DataConfig, EvalConfig, load_config
from memrl.data import guard as guarding
from memrl.data.card import Card, Output, held_out_file
from memrl.data.check import Part, check, part_of_file, parts_of_run
from memrl.data.feed import StreamFeed, first_passes
from memrl.data.guard import guard
from memrl.data.quality import LONG_CHUNK, measure
from memrl.envs.building.tokens import count_tokens
from memrl.envs.sources import open_source
from memrl.envs.stream import Chunk, Question, Stream, write_jsonl
from memrl.envs.text import stands_in
from memrl.errors import ConfigError, DataError
from tests.raw import squad as raw_squad

ROOT = Path(__file__).parents[2]


def question(name: str, text: str, *answers: str, **more: Any) -> Question:
    return Question(id=name, text=text, answers=answers, **more)


def stream(name: str = "s", **more: Any) -> Stream:
    chunks = ("Ada lives in New\n  York.", "Ben likes tea.")
    asked = (
        question("a", "Where does Ada live?", "nowhere", "new york", evidence=(0,)),
        question("b", "What does Ben like?", "Tea", evidence=(0,), kind="taste"),
        question("c", "Who is Cora?", "a nurse", metric="exact_match"),
    )
    return Stream(
        **{
            "id": name,
            "source": "mine",
            "chunks": tuple(Chunk(text=text, time="May 3") for text in chunks),
            "questions": asked,
            **more,
        }
    )


# Quality ------------------------------------------------------------------------------------------------------------


def test_a_set_is_counted() -> None:
    found = measure([stream("one"), stream("two", metadata={"evidence_lost": ["a", "c"]})])
    assert (found.streams, found.chunks, found.questions) == (2, 4, 6)
    sizes = [count_tokens(chunk.text) for chunk in stream().chunks]
    assert (found.tokens, found.longest_chunk_tokens) == (2 * sum(sizes), max(sizes))
    assert (found.answers_found, found.evidence, found.answers_in_evidence, found.evidence_lost) == (4, 4, 2, 2)
    assert found.kinds == {"fact": 4, "taste": 2}
    assert found.metrics == {"exact_match": 2, "token_f1": 4}
    assert found.answers_found_by_metric == {"exact_match": 0, "token_f1": 4}
    assert [(missing.stream, missing.question, missing.answers) for missing in found.missing] == [
        ("one", "c", ("a nurse",)),
        ("two", "c", ("a nurse",)),
    ]
    assert found.faults == []


def test_nothing_is_measured_too() -> None:
    assert measure([]).streams == 0


def test_a_chunks_date_is_an_answer() -> None:
    assert measure([stream(questions=(question("a", "When?", "may 3", evidence=(1,)),))]).answers_in_evidence == 1


def test_an_answer_that_no_text_holds_is_no_example_where_none_is_expected() -> None:
    asked = (question("a", "Why?", "unknown", metric="abstention"), question("b", "Sum up.", "Much.", metric="rouge_l"))
    assert measure([stream(questions=asked)]).missing == ()


def test_what_is_wrong_is_counted() -> None:
    asked = (
        question("a", "Where is Ada?", "Rome", metric="telepathy"),
        question("b", "where is  ada?", "Rome"),
    )
    chunks = (Chunk(text="... -- !"), Chunk(text="word " * (LONG_CHUNK + 1)))
    found = measure([stream("one", questions=asked), stream("one", chunks=chunks, questions=asked[1:])])
    assert (found.unknown_metrics, found.repeated_questions, found.repeated_streams) == (1, 1, 1)
    assert (found.wordless_chunks, found.long_chunks) == (1, 1)
    assert len(found.faults) == 3
    of_other_sources = measure([stream("one"), stream("one", source="theirs")])
    assert of_other_sources.repeated_streams == 0


@pytest.mark.parametrize(
    ("gold", "text", "stands"),
    [
        ("no", "we know", False),
        ("no", "we know no bounds", True),
        ("1", "label: 12", False),
        ("12", "label: 12", True),
        ("c++", "in c++, mostly", True),
        ("東京", "私は東京に行った", True),
        ("e", "", False),
    ],
)
def test_answers_stand_in_a_text_as_whole_words(gold: str, text: str, stands: bool) -> None:
    assert stands_in(gold, text) is stands


# The report ---------------------------------------------------------------------------------------------------------


def synthetic(seed: int, count: int = 20) -> list[Stream]:
    return list(open_source("synthetic", {"seed": seed, "count": count}))


def printed(report: Any) -> str:
    console = Console(file=StringIO(), width=200)
    report.show(console)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def test_a_report_on_two_sides(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", [*synthetic(1), stream("theirs")])
    write_jsonl(tmp_path / "eval.jsonl", synthetic(2))
    (tmp_path / "card.json").write_text('{"name": "a set", "licence": "CC0"}')
    report = check([part_of_file(tmp_path / "train.jsonl")], [part_of_file(tmp_path / "eval.jsonl")])
    assert report.ok
    assert [(found.side, found.source, found.licence, found.quality.streams) for found in report.sets] == [
        ("train", "mine", "CC0", 1),
        ("train", "synthetic", "Apache-2.0", 20),
        ("evaluation", "synthetic", "Apache-2.0", 20),
    ]
    assert report.cards[str(tmp_path / "train.jsonl")]["name"] == "a set"
    plain = json.loads(json.dumps(report.plain()))
    assert plain["ok"] is True
    assert plain["overlap"]["train"] == {"synthetic": 20, "mine": 1}
    assert "Training holds nothing that evaluation is about" in printed(report)


def test_a_report_of_leaks_and_faults() -> None:
    train = [*synthetic(1), stream("x"), stream("x")]
    report = check([Part("a", train)], [Part("b", synthetic(1))])
    assert not report.ok
    assert report.plain()["ok"] is False
    assert report.faults == ["a, mine: streams with the id of another one: 1"]
    text = printed(report)
    assert "LEAK synthetic, trained on synthetic: 20 of 20 streams affected" in text
    assert "no answer in the text: 'Who is Cora?'" in text
    assert "leaks: chunk" in text


def test_one_side_alone_is_measured() -> None:
    report = check([Part("a", synthetic(1))])
    assert report.ok
    assert report.overlap.pairs == ()
    assert "Training holds" not in printed(report)


def test_sets_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"x\.csv ends in '\.csv'"):
        part_of_file(tmp_path / "x.csv")
    for damage in ("{", "[]"):
        (tmp_path / "card.json").write_text(damage)
        with pytest.raises(DataError, match=r"card\.json"):
            part_of_file(tmp_path / "x.jsonl")
    (tmp_path / "card.json").unlink()
    with pytest.raises(DataError, match=r"x\.jsonl does not exist"):
        check([part_of_file(tmp_path / "x.jsonl")])


# Before a run -------------------------------------------------------------------------------------------------------


def guarded(train: list[dict[str, Any]], held_out: list[dict[str, Any]], **data: Any) -> None:
    guard(DataConfig(train=train, eval=held_out, **data), EvalConfig(), 0)


SAME = {"source": "synthetic", "seed": 5}


@pytest.mark.long
def test_the_sides_of_a_config() -> None:
    data = DataConfig(train=[SAME, {"source": "synthetic", "count": 3}], eval=[{"source": "synthetic"}])
    train, held_out = parts_of_run(data, EvalConfig(), 0)
    report = check(train, held_out)
    assert report.ok
    assert [(found.part, found.quality.streams) for found in report.sets] == [
        ("data.train[0]", guarding.MOST_GENERATED),
        ("data.train[1]", guarding.MOST_GENERATED),  # its later passes bring others
        ("data.eval", 64),
    ]


@pytest.mark.long
def test_a_run_on_its_own_evaluation_is_refused() -> None:
    with pytest.raises(DataError) as caught:
        guarded([{"source": "synthetic"}, SAME], [SAME])
    message = str(caught.value)
    assert "synthetic, trained on synthetic: 64 of 64 streams affected: 384 chunks word for word" in message
    assert "e.g. the chunk '" in message
    assert "data.overlap=warn" in message
    assert "memrl data check" in message


@pytest.mark.long
def test_a_run_may_be_told_to_warn_or_not_to_look(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    guarded([SAME], [SAME], overlap="allow")
    assert not caplog.records
    guarded([SAME], [SAME], overlap="warn")
    assert "64 of 64 streams affected" in caplog.text
    with pytest.raises(ConfigError, match=r"data\.overlap is 'refse'; did you mean 'refuse'\?"):
        load_config(ROOT / "configs/tiny.yaml", ["data.overlap=refse"])


def test_documents_that_only_later_passes_of_a_run_get_to_are_looked_at(tmp_path: Path) -> None:
    path = str(raw_squad.write(tmp_path))
    whole = list(open_source("squad", {"path": path, "chunks": 1}))
    assert len(whole) > 1
    spec = {"source": "squad", "path": path, "chunks": 1}
    [(_, first)] = first_passes([{**spec, "count": 1}], None, 3)
    assert len(list(first)) == len(whole)
    [(_, fixed)] = first_passes([{**spec, "count": 1, "seed": 3}], None, 3)
    assert len(list(fixed)) == 1  # each pass brings the same one
    with pytest.raises(DataError, match="squad, trained on squad"):
        guarded([{**spec, "count": 1}], [spec])


def test_first_passes_are_what_a_feed_reads_first() -> None:
    specs = [{"source": "synthetic", "weight": 3}, {"source": "synthetic", "chunks": 2}]
    fed = StreamFeed(specs, None, 7).take(12)
    passes = [[next(streams) for _ in range(12)] for _, streams in first_passes(specs, None, 7)]
    assert len(fed) == 12
    assert all(one in [*passes[0], *passes[1]] for one in fed)


@pytest.mark.long
def test_a_large_file_is_looked_at_up_to_a_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    write_jsonl(tmp_path / "train.jsonl", synthetic(1, 200))
    monkeypatch.setattr(guarding, "MOST_CHARACTERS", 5000)
    guarded([{"source": "jsonl", "path": str(tmp_path / "train.jsonl")}], [{"source": "synthetic"}])
    assert "streams of jsonl were compared with data.eval; `memrl data check` compares all" in caplog.text


@pytest.mark.long
@pytest.mark.parametrize("name", ["tiny", "debug-1gpu"])
def test_shipped_configs_pass_and_it_takes_no_time(name: str) -> None:
    config = load_config(ROOT / f"configs/{name}.yaml", check=False)
    began = time.perf_counter()
    guard(config.data, config.eval, config.seed)
    assert time.perf_counter() - began < 5  # 0.2 s on an idle machine


@pytest.mark.long
def test_train_and_dry_run_refuse_before_anything_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(
        "data: {train: [{source: synthetic, seed: 5}], eval: [{source: synthetic, seed: 5}]}\n"
        "rollout: {max_completion_tokens: 512}\nreader: {type: lexical}\n"
    )
    for words in (["train", "mine.yaml"], ["train", "mine.yaml", "--dry-run"]):
        assert cli.main(words) == 2
        error = capsys.readouterr().err
        assert "data.train holds what data.eval is about" in error
        assert "Traceback" not in error
        assert not Path("runs").exists()
    assert cli.main(["train", "mine.yaml", "--dry-run", "data.overlap=warn"]) == 0
    assert "64 of 64 streams affected" in " ".join(capsys.readouterr().err.split())
    assert "overlap: warn" in Path("runs/mine/config.yaml").read_text()


@pytest.mark.parametrize(
    ("splits", "file"),
    [(["train", "eval"], "eval.jsonl"), (["train", "test"], "test.jsonl"), (["all"], "all.jsonl")],
)
def test_what_a_set_is_evaluated_on(splits: list[str], file: str) -> None:
    assert held_out_file(card_with(splits)) == file


def test_a_set_with_nothing_held_out_is_refused() -> None:
    with pytest.raises(DataError, match=r"the set s has no split that is held out \(train, more\)"):
        held_out_file(card_with(["train", "more"]))


def card_with(splits: list[str]) -> Card:
    outputs = {name: Output.model_construct(file=f"{name}.jsonl") for name in splits}
    return Card.model_construct(name="s", splits=outputs)
