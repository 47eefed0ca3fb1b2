"""Bad input, by the command line: exit code 2, a message with thing, place, remedy; nothing slow or written."""

from __future__ import annotations

import gzip
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

import memrl.learner.build
import memrl.rollout.build
import memrl.rollout.pool
import memrl.training.trainer
from memrl.cli import main as cli
from memrl.envs.building.tokens import count_tokens
from memrl.envs.sources import open_source
from tests.support import CONFIG, ROOT, overrides

Refused = Callable[..., str]
STREAM = {
    "id": "s1",
    "source": "mine",
    "chunks": [{"text": "Ada lives in Paris."}],
    "questions": [{"id": "q1", "text": "Where does Ada live?", "answers": ["Paris"], "metric": "exact_match"}],
}


@pytest.fixture
def refused(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """Run `memrl train` with changed settings, see that it refuses before it plays, and return its message."""

    def played(*_: Any, **__: Any) -> Any:
        raise AssertionError("the run began")

    monkeypatch.setattr(memrl.rollout.pool.InProcessPool, "play_groups", played)
    monkeypatch.setattr(memrl.rollout.pool.InProcessPool, "play_greedy", played)

    def run(changes: Mapping[str, Any], *, command: str = "train", slow: bool = False, more: Sequence[str] = ()) -> str:
        if not slow:
            monkeypatch.setattr(memrl.learner.build, "load_model", played)
        folder = tmp_path / "run"
        held = sorted(folder.rglob("*")) if folder.exists() else None
        assert cli.main([command, str(ROOT / CONFIG), *overrides(quick_model, folder, changes), *more]) == 2
        assert (sorted(folder.rglob("*")) if folder.exists() else None) == held  # nothing was written
        message = capsys.readouterr().err
        assert "Traceback" not in message
        return " ".join(message.split())

    return run


def write_lines(path: Path, *streams: Any) -> str:
    path.write_text("".join(json.dumps(stream) + "\n" for stream in streams))
    return f"[{{source: jsonl, path: {path}}}]"


# The model ----------------------------------------------------------------------------------------------------------


def test_a_model_folder_that_is_missing_or_is_none(refused: Refused, tmp_path: Path) -> None:
    message = refused({"model.path": tmp_path / "gone"})
    assert f"model folder {tmp_path / 'gone'} does not exist; give model.path" in message
    (tmp_path / "empty").mkdir()
    assert "holds no config.json" in refused({"model.path": tmp_path / "empty"})


def test_a_model_without_a_chat_template(refused: Refused, quick_model: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    shutil.copytree(quick_model, bare)
    (bare / "chat_template.jinja").unlink()
    message = refused({"model.path": bare})
    assert f"model folder {bare} has no chat template" in message
    assert "use an instruction-tuned model or add the template" in message


@pytest.mark.parametrize(
    ("file", "what"),
    [("model.safetensors", "no model"), ("tokenizer.json", "no tokenizer"), ("config.json", "no ")],
)
def test_a_damaged_model(refused: Refused, quick_model: Path, tmp_path: Path, file: str, what: str) -> None:
    for number, damage in enumerate(("cut", "gone")):
        if (file, damage) == ("config.json", "gone"):
            continue  # see above
        broken = tmp_path / f"broken{number}"
        shutil.copytree(quick_model, broken)
        (broken / file).write_bytes((broken / file).read_bytes()[:-50])
        if damage == "gone":
            (broken / file).unlink()
        message = refused({"model.path": broken}, slow=file == "model.safetensors")
        assert f"{what}" in message
        assert f"can be loaded from model.path '{broken}'" in message


def test_a_missing_embedded_model(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("memrl.engines.models.TINY_MODEL", tmp_path / "gone")
    assert "Build it by: memrl tiny build" in refused({"model.path": "tiny"})


# Budgets ------------------------------------------------------------------------------------------------------------


def test_a_budget_smaller_than_the_prompt(refused: Refused) -> None:
    message = refused({"rollout.max_prompt_tokens": 40, "memory.render_budget": 36})
    assert "of synthetic, chunk" in message
    assert "rollout.max_prompt_tokens is 40. Raise it to" in message
    # The prompt fits while the memory is empty, and would not once it has filled.
    wanted = int(message.split("Raise it to ")[1].split(",")[0])
    assert f"Raise it to {wanted}" in refused({"rollout.max_prompt_tokens": wanted - 20, "memory.render_budget": 36})


def test_a_reader_budget_smaller_than_its_prompt(refused: Refused) -> None:
    message = refused({"reader.max_prompt_tokens": 30, "memory.retrieve_budget": 12})
    assert "question 'q" in message
    assert "reader.max_prompt_tokens is 30. Raise it to" in message


def test_more_tokens_than_the_model_can_see(refused: Refused) -> None:
    message = refused({"rollout.max_completion_tokens": 2040})
    assert "rollout.max_completion_tokens (2040) do not fit the model's context of 2048. Lower" in message


def test_budgets_that_contradict_each_other_are_all_listed(refused: Refused) -> None:
    message = refused({"memory.budget": 10, "memory.render_budget": 300, "train.group_size": 1, "train.lr": 0})
    assert "memory.core_budget (20) exceeds memory.budget (10)" in message
    assert "memory.render_budget (300) leaves no room for the chunk in rollout.max_prompt_tokens (256)" in message
    assert "train.group_size is 1: a group of one has no spread" in message
    assert "train.lr is 0.0; it must be above 0" in message
    assert "memory.budget is 0; it must be at least 1" in refused({"memory.budget": 0, "memory.core_budget": 0})


# The folder ---------------------------------------------------------------------------------------------------------


def test_a_folder_with_another_run(refused: Refused, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text('{"step": 0}\n')
    message = refused({})
    assert f"{folder} holds another run. Go on with it by --resume, or give a new name: run.dir={folder}-2" in message
    assert (folder / "metrics.jsonl").read_text() == '{"step": 0}\n'


# The data -----------------------------------------------------------------------------------------------------------


def test_a_missing_or_damaged_squad_file(refused: Refused, tmp_path: Path) -> None:
    specs = {"data.train": "[{source: squad}]", "data.eval": "[{source: squad}]"}
    missing = tmp_path / "gone.json"
    assert f"data file {missing} does not exist" in refused({**specs, "data.path": missing})
    whole = json.dumps({"version": "v2.0", "data": [{"title": "t", "paragraphs": []}]})
    files = {
        "cut.json": whole[:-20].encode(),
        "empty.json": b"",
        "other.json": b'{"rows": []}',
        "cut.json.gz": gzip.compress(whole.encode() * 50)[:-30],
        "text.json.gz": whole.encode(),
    }
    for name, content in files.items():
        path = tmp_path / name
        path.write_bytes(content)
        message = refused({**specs, "data.path": path})
        assert str(path) in message, name
        assert "data.train[0]" in message, name
        assert "data.eval[0]" in message, name  # both complaints at once


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"questions": []}, "has no questions"),
        ({"chunks": []}, "has no chunks"),
        ({"questions": [{"id": "q1", "text": "Where?", "answers": []}]}, "has no answer"),
        ({"questions": [{"id": "q1", "text": "Where?", "answers": ["a"], "evidence": [5]}]}, "5"),
    ],
)
def test_a_stream_that_asks_nothing_or_says_nothing(
    refused: Refused, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    spec = write_lines(tmp_path / "mine.jsonl", STREAM, {**STREAM, "id": "s2", **change})
    message = refused({"data.train": spec})
    assert str(tmp_path / "mine.jsonl") in message
    assert words in message
    assert "2" in message.split("mine.jsonl", 1)[1][:12]  # the line


def test_a_line_that_is_no_json_and_a_file_without_lines(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps(STREAM) + '\n{"id": "s2", "chu\n')
    assert "line 2" in refused({"data.train": f"[{{source: jsonl, path: {path}}}]"})
    path.write_text("")
    assert "holds no stream" in refused({"data.train": f"[{{source: jsonl, path: {path}}}]"})


def test_a_chunk_that_is_too_long_for_the_prompt(refused: Refused, tmp_path: Path) -> None:
    long = {**STREAM, "id": "long", "chunks": [STREAM["chunks"][0], {"text": "Ada lives in Paris. " * 80}]}
    spec = write_lines(tmp_path / "mine.jsonl", STREAM, long)
    assert "stream 'long' of mine, chunk 1: the prompt has" in refused({"data.train": spec})


def test_every_bad_record_of_a_set_is_named_before_the_model_is_loaded(refused: Refused, tmp_path: Path) -> None:
    """One of each sort: too long a chunk, behind 40 sound streams; too long a question; a metric that does not exist; a
    gold that earns nothing; a line that is no UTF-8; an id that comes twice."""
    asked = STREAM["questions"][0]  # type: ignore[index]
    lines = [json.dumps({**STREAM, "id": f"s{n}"}).encode() for n in range(40)]
    bad = {
        "long": {"chunks": [STREAM["chunks"][0], {"text": "Ada lives in Paris. " * 80}]},  # type: ignore[index]
        "wordy": {"questions": [{**asked, "text": "Where does Ada live? " * 80}]},
        "metric": {"questions": [{**asked, "metric": "exact_mach"}]},
        "label": {"questions": [{**asked, "metric": "boxed"}]},
        "letter": {"questions": [{**asked, "metric": "choice"}]},
        "s3": {},
    }
    lines += [json.dumps({**STREAM, "id": name, **change}).encode() for name, change in bad.items()]
    lines.append(json.dumps({**STREAM, "id": "coded"}).replace("Ada", "Ad\u00e8le").encode("latin-1"))
    path = tmp_path / "mine.jsonl"
    path.write_bytes(b"\n".join(lines))
    message = refused({"data.train": f"[{{source: jsonl, path: {path}}}]", "reader.type": "policy-base"})
    assert "7 records of the data cannot be used" in message
    where = f"data.train[0] ({path}), stream "
    assert f"{where}'long' of mine, chunk 1: the prompt has" in message
    assert f"{where}'wordy' of mine, question 'q1': the reader's prompt has" in message
    assert f"{where}'metric' of mine, question 'q1' has the unknown metric 'exact_mach'; did you mean" in message
    assert f"{where}'label' of mine, question 'q1': the metric 'boxed' needs integer golds, not 'Paris'" in message
    assert f"{where}'letter' of mine, question 'q1': the gold 'Paris' itself earns nothing by the metric" in message
    assert "holds two streams with the id 's3'" in message
    assert f"data.train[0]: {path}, line 47" in message
    assert "7 records" in refused({"data.train": f"[{{source: jsonl, path: {path}}}]", "reader.type": "policy-base"})


def test_the_dry_run_names_the_same_records(refused: Refused, tmp_path: Path) -> None:
    long = {**STREAM, "id": "long", "chunks": [{"text": "Ada lives in Paris. " * 80}]}
    spec = write_lines(tmp_path / "mine.jsonl", STREAM, long)
    assert "stream 'long' of mine, chunk 0: the prompt has" in refused({"data.train": spec}, more=["--dry-run"])


def test_a_long_turn_of_documents_is_refused_or_cut(refused: Refused, tmp_path: Path) -> None:
    rows = [
        {"id": f"d{n}", "text": f"Ann{n} lives in Oslo.", "questions": [{"question": "Where?", "answer": "Oslo"}]}
        for n in range(29)
    ]
    rows.append({**rows[0], "id": "d29", "text": "word" + " word" * 3000})
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    message = refused({"data.train": f"[{{source: documents, path: {path}}}]"})
    assert "stream 'documents-d29' of documents, chunk 0: the prompt has" in message
    assert "is cut by the source's option longest" in message
    streams = list(open_source("documents", {"path": path, "chunk_tokens": 60, "longest": 60}))
    cut = next(stream for stream in streams if stream.id == "documents-d29")
    assert max(count_tokens(chunk.text) for chunk in cut.chunks) <= 60
    assert " ".join(chunk.text for chunk in cut.chunks).split() == ["word"] * 3001


# sft ----------------------------------------------------------------------------------------------------------------


def test_sft_refuses_the_same(refused: Refused, tmp_path: Path) -> None:
    assert "does not exist" in refused({"model.path": tmp_path / "gone"}, command="sft")
    (tmp_path / "out").mkdir()
    message = refused({"sft.dir": tmp_path / "out"}, command="sft")
    assert f"{tmp_path / 'out'} exists. Name another folder by sft.dir=..., or remove it." in message
