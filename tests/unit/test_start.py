"""`memrl start`: what is answered becomes a config that trains, by options, through a pipe and on a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from memrl.cli import main as cli
from memrl.config import load_config
from memrl.config.starting import HARDWARE, PURPOSES
from tests.raw import exports

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def start(data: str, model: str, hardware: str, purpose: str = "try", out: str = "mine.yaml") -> int:
    options = {"data": data, "model": model, "hardware": hardware, "purpose": purpose, "out": out}
    return cli.main(["start", *(word for name, value in options.items() for word in (f"--{name}", value))])


MODELS = [("tiny", "cpu"), ("HuggingFaceTB/SmolLM2-135M-Instruct", "cpu")] + [
    ("Qwen/Qwen3-1.7B", hardware) for hardware in HARDWARE if hardware != "cpu"
]


@pytest.mark.long
@pytest.mark.parametrize("purpose", PURPOSES)
@pytest.mark.parametrize(("model", "hardware"), MODELS)
@pytest.mark.parametrize("data", ["synthetic", "memalpha", "mine.zip"])
def test_what_is_written_passes_a_dry_run(
    data: str, model: str, hardware: str, purpose: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if (data, hardware) == ("memalpha", "cpu"):
        pytest.skip("longer chunks than a CPU is for; refused, see below")
    if data == "mine.zip":
        exports.chatgpt(Path(data), exports.person())
    assert start(data, model, hardware, purpose) == 0
    told = capsys.readouterr()
    assert "memory: " in told.out
    assert ("hours: " in told.out) == (hardware != "cpu")
    assert "train: memrl train mine.yaml\n" in told.err
    assert cli.main(["train", "mine.yaml", "--dry-run"]) == 0
    assert "WARNING" not in capsys.readouterr().out


def test_each_answer_stands_in_the_config(capsys: pytest.CaptureFixture[str]) -> None:
    assert start("synthetic", "tiny", "cpu") == 0
    text = Path("mine.yaml").read_text()
    plain = yaml.safe_load(text)
    assert plain["model"]["path"] == "tiny" and plain["data"]["train"][0]["source"] == "synthetic"
    assert text.count("  # ") > 10, "it says why"
    config = load_config("mine.yaml")
    assert config.advantage.mode == "evidence" and config.train.steps == 2
    assert start("synthetic", "tiny", "cpu", "train", "other.yaml") == 0
    assert load_config("other.yaml").train.steps == 40
    assert "time: about 8 minutes" in capsys.readouterr().out


def test_nothing_is_overwritten(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.yaml").write_text("mine: true\n")
    assert start("synthetic", "tiny", "cpu") == 2
    assert "nothing is overwritten" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "mine: true\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("synthetic", "tiny", "80gb"), "the embedded model is for a CPU"),
        (("memalpha", "tiny", "cpu"), "memalpha is for a GPU"),
        (("sinthetic", "tiny", "cpu"), "did you mean 'synthetic'"),
        (("synthetic", "tiny", "24 gb"), "choose from cpu, 24gb"),
        (("synthetic", "tiny", "cpu", "now"), "choose from try, train"),
        (("synthetic", "tiny", "cpu", "try", "mine"), "must end in .yaml"),
        (("empty", "tiny", "cpu"), "empty"),
    ],
)
def test_wrong_answers_are_told_and_write_nothing(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("empty").mkdir()
    assert start(*words) == 2
    assert said in capsys.readouterr().err
    assert not list(Path().glob("mine*"))


def test_answers_come_through_a_pipe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("1\n\nsynthetic\n2\n"))
    assert cli.main(["start"]) == 0
    asked = capsys.readouterr().err
    assert [asked.index(word) for word in ("run on?", "Which model?", "learn from?", "What for?")] == sorted(
        asked.index(word) for word in ("run on?", "Which model?", "learn from?", "What for?")
    )
    assert load_config("start.yaml").train.steps == 40


def test_who_is_not_there_is_told_the_option(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    assert cli.main(["start", "--hardware", "cpu"]) == 2
    assert "give --model" in capsys.readouterr().err


@pytest.mark.long
def test_a_person_is_asked_on_a_terminal() -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-m", "memrl", "start"], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
    ) as child:
        os.close(theirs)
        os.write(ours, b"\n\n\n\n")
        seen = b""
        while True:
            try:
                seen += os.read(ours, 65536) or b""
            except OSError:  # the terminal's other side is closed
                break
    os.close(ours)
    assert child.returncode == 0, seen
    assert b"written: start.yaml" in seen and b"train: memrl train start.yaml" in seen


@pytest.mark.slow
def test_logs_of_ones_own_are_trained_on(capsys: pytest.CaptureFixture[str]) -> None:
    exports.chatgpt(Path("mine.zip"), exports.person(120))
    assert start("mine.zip", "tiny", "cpu") == 0
    assert cli.main(["train", "mine.yaml"]) == 0
    assert cli.main(["export", "runs/mine", "--out", "exported/mine"]) == 0
    assert Path("exported/mine/memory_agent.json").is_file()
    assert "serve it: memrl serve exported/mine" in capsys.readouterr().err
