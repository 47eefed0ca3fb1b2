"""Figures of memory designs: several commands write one file, the page is made from it, the scripted table goes on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import designs
from benchmarks.design_page import PAGE, page
from benchmarks.design_rows import FIGURES, KEY, NEEDED, STAGES, merge_rows, read_rows
from memrl.envs.building.prose import sentences
from memrl.envs.designs import DESIGNS, count_words
from memrl.envs.designs.keeping import holder
from memrl.envs.sources import open_source
from memrl.envs.stream import Chunk, Question, Stream


def a_row(stage: str = "scripted", **more: Any) -> dict[str, Any]:
    score = {"value": 0.5, "low": 0.4, "high": 0.6}
    row = {"design": "stores", "retrieval": "bm25", "stage": stage, "set": "squad", "score": score}
    return {**row, "memory_tokens": 100, "p": None, **more}


def test_each_command_keeps_the_rows_of_the_others(tmp_path: Path) -> None:
    path = tmp_path / "results" / "designs.json"
    assert read_rows(path) == []
    merge_rows([a_row(), a_row(design="text")], path)
    merge_rows([a_row("grpo"), a_row("sft")], path)
    merge_rows([a_row(memory_tokens=90, seconds=3)], path)
    rows = read_rows(path)
    assert [(row["stage"], row["design"], row["memory_tokens"]) for row in rows] == [
        ("scripted", "stores", 90), ("scripted", "text", 100), ("sft", "stores", 100), ("grpo", "stores", 100),
    ]  # fmt: skip
    assert all(row["machine"] and row["date"] for row in rows)
    assert [file.name for file in path.parent.iterdir()] == ["designs.json"]
    shown = page(rows)
    assert shown.count("| `stores` |") == 3 and "| `text` | 0.500 [0.400, 0.600] | 100 |" in shown


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({name: value for name, value in a_row().items() if name != "p"}, "lacks p; it needs design"),
        (a_row("trained"), "has the stage 'trained'"),
    ],
)
def test_a_row_that_others_could_not_read_is_refused(row: dict[str, Any], told: str, tmp_path: Path) -> None:
    merge_rows([a_row()], tmp_path / "designs.json")
    with pytest.raises(ValueError, match=told):
        merge_rows([row], tmp_path / "designs.json")
    assert len(read_rows(tmp_path / "designs.json")) == 1


def test_the_shipped_page_is_made_from_the_shipped_figures() -> None:
    rows = read_rows()
    assert {row["set"] for row in rows if row["stage"] == "scripted"} == set(designs.SETS)
    assert {row["design"] for row in rows if row["stage"] == "scripted"} >= set(DESIGNS.shipped)
    for row in rows:
        assert set(NEEDED) <= row.keys() and row["stage"] in STAGES
        assert row["score"]["low"] <= row["score"]["value"] <= row["score"]["high"]
        assert row["stage"] != "scripted" or row["memory_tokens"] <= row["budget"]
    assert len({tuple(row[name] for name in KEY) for row in rows}) == len(rows)
    assert PAGE.read_text(encoding="utf-8") == page(rows), "run: python -m benchmarks.design_page"
    assert json.loads(FIGURES.read_text(encoding="utf-8"))["machine"]


def test_the_writer_sees_no_question_and_keeps_within_half_of_the_text() -> None:
    [stream] = open_source("dialogues", {"count": 1, "sessions": 6})
    other = stream.model_copy(
        update={"questions": (Question(id="q", text="Who is it?", answers=("Ann",), evidence=(0,)),)}
    )
    text = sum(count_words(chunk.text) for chunk in stream.chunks)
    for design in DESIGNS.shipped:
        memory, again = (designs.memory_of(design, "bm25", text // 2) for _ in range(2))
        designs.write(memory, stream)
        designs.write(again, other)
        assert memory.snapshot() == again.snapshot()
        assert 0.3 * text < memory.token_count() <= text // 2, design
        last = [sentence for unit in designs.units(stream.chunks[-1].text) for sentence in sentences(unit)]
        assert any(holder(memory.items, sentence) for sentence in last), f"the end is kept too: {design}"


def test_only_questions_that_a_span_answers_are_asked() -> None:
    asked = {
        "span": ("Rome", "exact_match", (0,)),
        "date": ("2024-05-01", "exact_match", (0,)),
        "elsewhere": ("Rome", "exact_match", (1,)),
        "short": ("7", "exact_match", (0,)),
        "choice": ("A", "choice", (0,)),
        "nothing": ("unknown", "abstention", (0,)),
        "unlabelled": ("Rome", "exact_match", None),
    }
    stream = Stream(
        id="s",
        source="s",
        chunks=(Chunk(text="Ann: I live in Rome, at 7 A street.", time="2024-05-01"), Chunk(text="Ann: It rains.")),
        questions=tuple(
            Question(id=name, text="?", answers=(gold,), metric=metric, evidence=evidence)
            for name, (gold, metric, evidence) in asked.items()
        ),
    )
    found = designs.with_spans(stream)
    assert found and [question.id for question in found.questions] == ["span", "date"]
    assert designs.with_spans(stream.model_copy(update={"questions": stream.questions[3:]})) is None
    assert designs.units("Ann: I live here. It rains.\nIt is old. So it is.") == [
        "Ann: I live here. It rains.", "It is old.", "So it is.",
    ]  # fmt: skip


def test_the_table_is_not_measured_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--sets", "dialogues", "--designs", "text", "--streams", "3", "--out", str(tmp_path / "cells")]
    words += ["--figures", str(tmp_path / "designs.json"), "--page", str(tmp_path / "page.md")]
    merge_rows([a_row("grpo")], tmp_path / "designs.json")
    designs.main(words)
    rows = read_rows(tmp_path / "designs.json")
    assert [(row["design"], row["stage"], row["p"] is None) for row in rows] == [
        ("stores", "scripted", True), ("text", "scripted", False), ("stores", "grpo", True),
    ]  # fmt: skip
    assert "**dialogues**: 3 streams" in (tmp_path / "page.md").read_text()

    def fails(*_: Any) -> Any:
        raise AssertionError("measured again")

    monkeypatch.setattr(designs, "measured", fails)
    designs.main(words)
    assert read_rows(tmp_path / "designs.json") == rows
    with pytest.raises(AssertionError, match="measured again"):
        designs.main([*words, "--shown", "64"])
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--designs", "storess"], "did you mean 'stores'"),
        (["--retrievals", "bm52"], "invalid choice: 'bm52'"),
        (["--data", "no/folder"], "no/folder does not exist"),
        (["--streams", "0"], "--streams and --shown must be at least 1, got 0 and 128"),
        (["--retrieval-options", "dense=x"], "are written NAME:KEY=VALUE, not 'dense=x'"),
        (["--sets", "squad"], "squad is read from files; name their folder by --data"),
    ],
)
def test_what_is_unknown_is_refused(
    words: list[str], told: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    here = ["--out", str(tmp_path / "cells"), "--figures", str(tmp_path / "rows.json"), "--streams", "1"]
    with pytest.raises(SystemExit) as ended:
        designs.main([*here, *words])
    assert ended.value.code == 2
    assert told in " ".join(capsys.readouterr().err.split())
