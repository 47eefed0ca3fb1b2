"""All data of a run is looked at before its first step: every record of a set, of an endless source what is taken."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from memrl.config.schema import DataConfig, EvalConfig
from memrl.data.feed import StreamFeed, shares
from memrl.data.look import look, scorable
from memrl.envs.faults import MOST_FAULTS, SHOWN, explain_faults, gathering
from memrl.envs.sources import open_source
from memrl.envs.stream import Chunk, Question, Stream

SYNTHETIC = [{"source": "synthetic", "chunks": 2}]


def stream(name: str, metric: str = "exact_match", *golds: str) -> Stream:
    asked = Question(id="q", text="Where?", answers=golds or ("Oslo",), metric=metric)
    return Stream(id=name, source="mine", chunks=(Chunk(text="Ann lives in Oslo."),), questions=(asked,))


@pytest.mark.parametrize(
    ("metric", "golds", "wrong"),
    [
        ("exact_match", ("the",), ""),
        ("squad_em", ("The",), "itself earns nothing"),
        ("squad_em", ("The", "a cat"), ""),
        ("token_f1", ("5",), ""),
        ("boxed", ("3", "three"), "needs integer golds"),
        ("boxed", ("3",), ""),
        ("choice", ("B",), ""),
        ("choice", ("the second",), "Give it a letter"),
        ("rouge_l", ("...",), ""),
        ("code_rules", ("no json",), "no json"),
        ("abstention", ("unknown",), ""),
    ],
)
def test_a_gold_that_no_answer_can_meet_is_named(metric: str, golds: tuple[str, ...], wrong: str) -> None:
    found = list(scorable(stream("s", metric, *golds)))
    assert bool(found) == bool(wrong), found
    assert not wrong or wrong in found[0]


def test_every_record_of_a_set_is_looked_at_though_the_run_takes_few(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    rows = [stream(f"s{n}").model_dump_json() for n in range(50)]
    path.write_text("\n".join([*rows, stream("last", "no_metric").model_dump_json(), '{"id": ']))
    data = DataConfig(train=[{"source": "jsonl", "path": str(path)}], eval=SYNTHETIC)
    faults = look(data, EvalConfig(streams=2), seed=0, taken=1)
    assert len(faults) == 2
    assert "'last'" in faults[0] and "no_metric" in faults[0]
    assert "line 52" in faults[1]


def test_of_an_endless_source_what_the_run_takes_is_looked_at() -> None:
    seen: list[str] = []

    def note(one: Stream) -> list[str]:
        seen.append(one.id)
        return []

    data = DataConfig(train=[*SYNTHETIC, {"source": "synthetic", "chunks": 3, "weight": 3}], eval=SYNTHETIC)
    assert look(data, EvalConfig(streams=2), seed=5, taken=40, checks=[note]) == []
    taken = [one.id for one in StreamFeed(data.train, None, 5).take(40)]
    assert sorted(seen[:40]) == sorted(taken)
    assert sum(shares(data.train, None, 5, 40)) == 40
    assert len(seen) == 42


def test_the_look_is_quick() -> None:
    data = DataConfig(train=SYNTHETIC, eval=SYNTHETIC)
    began = time.perf_counter()
    look(data, EvalConfig(streams=8), seed=0, taken=640)
    assert time.perf_counter() - began < 5  # a quarter of a second on an idle machine


def test_a_source_that_cannot_be_read_at_all_does_not_hide_the_others(tmp_path: Path) -> None:
    data = DataConfig(
        train=[{"source": "jsonl", "path": str(tmp_path / "gone.jsonl")}, {"source": "synthetic", "chunks": 2}],
        eval=[{"source": "squad", "path": str(tmp_path / "gone.json")}],
    )
    faults = look(data, EvalConfig(streams=2), seed=0, taken=4)
    assert [fault.split(":")[0] for fault in faults] == ["data.train[0]", "data.eval[0]"]


def test_the_first_faults_are_told_and_all_are_counted() -> None:
    told = explain_faults([f"fault {n}" for n in range(25)])
    assert told.startswith("25 records of the data cannot be used:\n  - fault 0\n")
    assert told.count("\n  - ") == SHOWN
    assert told.endswith("... and 15 more")
    assert explain_faults(["one"]) == "one"
    assert explain_faults([str(n) for n in range(MOST_FAULTS)]).startswith(f"at least {MOST_FAULTS} records")


def test_gathered_faults_pass_their_records_over(tmp_path: Path) -> None:
    path = tmp_path / "docs.jsonl"
    good = {"id": "a", "text": "Ann lives in Oslo.", "questions": [{"question": "Where?", "answer": "Oslo"}]}
    rows = [good, {**good, "id": "b", "questions": []}, good, {"id": "c", "txt": "?"}, {**good, "id": "d"}]
    path.write_text("\n".join(json.dumps(row) for row in rows))
    with gathering() as faults:
        made = list(open_source("documents", {"path": path}))
    assert sorted(one.id for one in made) == ["documents-a", "documents-d"]
    assert len(faults) == 3
    assert all(f"line {n}" in fault for n, fault in zip((2, 3, 4), faults, strict=True))
