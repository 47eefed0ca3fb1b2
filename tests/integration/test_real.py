"""`make train-real` and what measures it, the whole way on the quick model: so that hours are spent on what runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import real, real_train
from memrl.storage.files import write_json_atomic
from tests.raw import squad

SMALL_MODEL = [
    "rollout.dialect=hermes_content_first",
    "rollout.example=false",
    "rollout.max_prompt_tokens=1024",
    "train.max_idle_steps=0",
    "sft.max_length=2048",
]


@pytest.mark.slow
def test_the_whole_way_and_its_figures(quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = squad.write(tmp_path, titles=[f"Town{number}" for number in range(12)])
    words = ["--model", str(quick_model), "--data", str(data), "--out", str(tmp_path / "run"), "--smoke", *SMALL_MODEL]
    real_train.main(words)
    assert (tmp_path / "run" / "grpo" / "summary.json").is_file()
    assert json.loads((tmp_path / "run" / "pipeline.json").read_text())["dtype"] in real_train.DTYPES
    written = (tmp_path / "run" / "sft" / "model.safetensors").stat().st_mtime_ns
    real_train.main(words)  # what is finished is left as it is
    assert (tmp_path / "run" / "sft" / "model.safetensors").stat().st_mtime_ns == written
    capsys.readouterr()
    results = tmp_path / "real.json"
    asked = [str(tmp_path / "run"), "--streams", "2", "--results", str(results)]
    real.main(asked)
    told = json.loads(results.read_text())
    cells = {(row["set"], row["method"]): row for row in told["results"]}
    assert cells.keys() == {
        (name, method) for name in ("squad", "dialogues") for method in ("untrained", "sft", "grpo", "verbatim", "bm25")
    }
    assert all(set(row["score"]) >= {"value", "low", "high"} and row["seed"] == 0 for row in told["results"])
    assert {"memory_tokens", "streams"} <= cells["squad", "grpo"].keys()
    assert "tool_success" in cells["squad", "sft"]
    assert {(pair["a"], pair["b"]) for pair in told["paired"]} == set(real.PAIRS)
    assert all({"difference", "low", "high", "p", "seed", "set"} <= pair.keys() for pair in told["paired"])
    real.main(asked)
    assert json.loads(results.read_text())["results"] == told["results"], "what was measured is not measured again"


def test_a_folder_keeps_to_the_model_that_it_was_begun_with(tmp_path: Path) -> None:
    write_json_atomic(tmp_path / real_train.PIPELINE, {"model": "/a", "dtype": "float32", "seconds": {}})
    assert real_train.begun_with("/a", tmp_path)["dtype"] == "float32"
    with pytest.raises(SystemExit, match="was begun with --model /a"):
        real_train.begun_with("/b", tmp_path)


def test_what_is_not_there_is_said_before_anything_slow(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        real_train.main(["--model", str(tmp_path / "gone"), "--out", str(tmp_path / "run")])
    assert "does not exist; name the folder of SmolLM2" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
