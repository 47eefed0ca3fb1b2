"""The command line: exit codes, messages, and that nothing heavy happens before the input is sound."""

import json
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from memrl.cli import main as cli
from memrl.cli import signals
from memrl.cli.train import resume_command
from memrl.errors import EngineError

SOURCES = (
    "data: {train: [{source: synthetic}], eval: [{source: synthetic}]}\n"
    "rollout: {max_completion_tokens: 512}\nmemory: {render_budget: 512}\nreader: {type: lexical}\n"
)


@pytest.fixture(autouse=True)
def _in_tmp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SOURCES)


def fake_trainer(monkeypatch: pytest.MonkeyPatch, error: BaseException | None = None) -> list[dict[str, object]]:
    """Put a trainer in place that records how it was made and then ends as told."""
    made: list[dict[str, object]] = []

    class Trainer:
        def __init__(self, config: object, **options: object) -> None:
            made.append({"config": config, **options})

        def run(self) -> dict[str, object]:
            if error is not None:
                raise error
            return {}

    module = types.ModuleType("memrl.training.trainer")
    module.Trainer = Trainer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "memrl.training.trainer", module)
    return made


def usage_error(words: list[str]) -> int:
    with pytest.raises(SystemExit) as caught:
        cli.main(words)
    assert isinstance(caught.value.code, int)
    return caught.value.code


@pytest.mark.long
def test_help_is_quick_and_shows_an_example() -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    for words in (["--help"], ["train", "--help"], ["sft", "--help"], ["tiny", "build", "--help"]):
        before = os.times()
        done = subprocess.run(
            [sys.executable, "-m", "memrl.cli", *words],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        assert "example: memrl" in done.stdout
        after = os.times()
        assert after.children_user - before.children_user < 5  # seconds of a processor; torch alone takes that long


def test_wrong_usage_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error([]) == 2
    assert usage_error(["trian"]) == 2
    assert usage_error(["train", "--resum"]) == 2
    assert "did you mean --resume?" in capsys.readouterr().err
    assert usage_error(["train", "tiny", "--seed", "4"]) == 2
    assert "--seeds" not in capsys.readouterr().err, "an option of another command"
    assert usage_error(["train", "one", "two"]) == 2
    assert usage_error(["tiny", "build", "stray"]) == 2


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert usage_error(["--version"]) == 0
    assert capsys.readouterr().out.startswith("memrl ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "nowhere.yaml"], "no config file 'nowhere.yaml'"),
        (["train", "mine.yaml", "train.stps=3"], "did you mean 'train.steps'?"),
        (["train", "mine.yaml", "train.group_size=1"], "a group of one has no spread"),
        (["train", "mine.yaml", "data.train=[{source: jsonl, path: gone.jsonl}]"], "gone.jsonl does not exist"),
        (["train", "mine.yaml", "data.train=[{source: synthetic, chunks: 0}]"], "data.train[0]:"),
        (["train", "mine.yaml", "--resume"], "nothing to resume"),
        (["sft", "mine.yaml", "model.path=models/gone"], "model folder models/gone does not exist"),
    ],
)
def test_bad_input_is_one_message_and_2(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("words", "resumes"),
    [
        (["--resume", "mine.yaml"], True),
        (["mine.yaml", "--resume"], True),
        (["mine.yaml", "--resume", "auto"], True),
        (["--resume", "auto", "mine.yaml", "seed=4"], True),
        (["--resume=auto", "mine.yaml"], True),
        (["mine.yaml"], False),
    ],
)
def test_resume_takes_auto_and_no_other_word(words: list[str], resumes: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake_trainer(monkeypatch)
    if resumes:
        Path("runs/mine").mkdir(parents=True)
        Path("runs/mine/run.json").write_text("{}")
        Path("runs/mine/config.yaml").write_text(SOURCES)
        Path("runs/mine/metrics.jsonl").touch()
    monkeypatch.setattr("memrl.storage.rundir.check_run", lambda folder: None)
    assert cli.main(["train", *words]) == 0
    assert (made[0]["name"], made[0]["resume"]) == ("mine", resumes)


def test_resume_auto_begins_where_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake_trainer(monkeypatch)
    assert cli.main(["train", "mine.yaml", "--resume", "auto"]) == 0
    assert made[0]["resume"] is False
    assert cli.main(["train", "mine.yaml", "--resume"]) == 2


@pytest.mark.parametrize("resume", [["--resume"], ["--resume", "auto"]])
def test_where_no_config_is_named_the_one_of_the_folder_decides(
    resume: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fake_trainer(monkeypatch)
    assert cli.main(["train", "--dry-run", "mine.yaml", "seed=77", "run.dir=x"]) == 0
    kept = Path("x/config.yaml").read_bytes()
    assert cli.main(["train", *resume, "run.dir=x"]) == 0
    assert made[0]["config"].seed == 77  # type: ignore[attr-defined]
    assert Path("x/config.yaml").read_bytes() == kept
    Path("x/config.yaml").rename("x/run.json")
    capsys.readouterr()
    assert cli.main(["train", *resume, "run.dir=x"]) == 2
    assert "x has a run's run.json and no config.yaml to go on by. Name the config" in capsys.readouterr().err
    assert len(made) == 1


def test_a_run_begins_on_a_mounted_disk_and_not_among_other_things(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fake_trainer(monkeypatch)
    Path("disk/lost+found").mkdir(parents=True)
    assert cli.main(["train", "mine.yaml", "--resume", "auto", "run.dir=disk"]) == 0
    assert made[0]["resume"] is False
    Path("disk/slurm-1.out").touch()
    assert cli.main(["train", "mine.yaml", "--resume", "auto", "run.dir=disk"]) == 2
    assert "name a subfolder: run.dir=disk/run" in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.parametrize(
    ("called", "told"),
    [("/opt/env/bin/memrl", "/opt/env/bin/memrl"), (".venv/bin/memrl", ".venv/bin/memrl"), ("-c", "memrl")],
)
def test_going_on_is_told_as_the_command_was_called(called: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", [called])
    assert resume_command(["train", "tiny"]) == f"{told} train tiny --resume"
    assert resume_command(["train", "tiny", "--resume", "auto"]) == f"{told} train tiny --resume auto"


def test_settings_may_stand_before_and_after_options(monkeypatch: pytest.MonkeyPatch) -> None:
    made = fake_trainer(monkeypatch)
    Path("runs/mine").mkdir(parents=True)
    assert cli.main(["train", "seed=4", "mine.yaml", "--resume", "train.steps=7"]) == 0
    config = made[0]["config"]
    assert (config.seed, config.train.steps, config.run.dir) == (4, 7, "runs/mine")  # type: ignore[attr-defined]
    assert (made[0]["name"], made[0]["resume"]) == ("mine", True)


@pytest.mark.long
def test_dry_run_writes_config_and_estimate_and_is_no_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fake_trainer(monkeypatch)
    assert cli.main(["train", "mine.yaml", "--dry-run", "train.steps=2"]) == 0
    assert "reader calls" in capsys.readouterr().out
    assert sorted(path.name for path in Path("runs/mine").iterdir()) == ["config.yaml", "estimate.json"]
    assert json.loads(Path("runs/mine/estimate.json").read_text())["run"]["optimizer_steps"] == 2
    assert "steps: 2" in Path("runs/mine/config.yaml").read_text()
    assert not made
    assert cli.main(["train", "mine.yaml"]) == 0
    assert len(made) == 1


@pytest.mark.long
def test_a_folder_with_another_run_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = fake_trainer(monkeypatch)
    Path("runs/mine").mkdir(parents=True)
    Path("runs/mine/metrics.jsonl").write_text("{}\n")
    assert cli.main(["train", "mine.yaml"]) == 2
    assert "--resume, or give a new name: run.dir=runs/mine-2" in capsys.readouterr().err
    assert cli.main(["train", "mine.yaml", "--dry-run"]) == 0
    assert not Path("runs/mine/config.yaml").exists()
    assert not made


@pytest.mark.long
def test_a_failed_run_is_1_and_shows_a_traceback_only_on_demand(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_trainer(monkeypatch, EngineError("out of memory [24 GB]"))
    assert cli.main(["train", "mine.yaml"]) == 1
    error = capsys.readouterr().err
    assert "out of memory [24 GB]" in error
    assert "Traceback" not in error
    assert cli.main(["train", "mine.yaml", "--debug"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.long
def test_ctrl_c_says_how_to_go_on(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_trainer(monkeypatch, KeyboardInterrupt())
    assert cli.main(["train", "mine.yaml", "seed=2"]) == 130
    assert "No checkpoint was written" in capsys.readouterr().err
    Path("runs/mine/checkpoints").mkdir(parents=True)
    Path("runs/mine/config.yaml").write_text(Path("mine.yaml").read_text())
    assert cli.main(["train", "mine.yaml", "seed=2", "--resume"]) == 130
    assert "go on with: memrl train mine.yaml seed=2 --resume" in capsys.readouterr().err


@pytest.mark.long
def test_a_full_disk_is_a_message(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    fake_trainer(monkeypatch, OSError(28, "No space left on device"))
    assert cli.main(["train", "mine.yaml"]) == 1
    assert "The disk is full" in capsys.readouterr().err


def test_a_missing_model_hides_no_complaint_about_the_data(capsys: pytest.CaptureFixture[str]) -> None:
    Path("torn.jsonl").write_text("{not json}\n")
    specs = "[{source: jsonl, path: torn.jsonl}]"
    words = ["model.path=models/gone", f"data.train={specs}", f"data.eval={specs}"]
    assert cli.main(["train", "mine.yaml", *words]) == 2
    told = capsys.readouterr().err
    assert "model folder models/gone does not exist" in told
    assert "torn.jsonl" in told


KILLED = """
import os, signal, sys
from memrl.cli.signals import last_word
with last_word("go on with: memrl train --resume"):
    if len(sys.argv) > 1:
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
print("ended well", file=sys.stderr)
"""


def test_a_last_word_does_not_wait_for_a_child_of_the_process(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    forks = KILLED.replace("if len", "child = os.fork()\n    child or __import__('time').sleep(60)\n    if len", 1)
    told = tmp_path / "told"
    with told.open("wb") as stderr:
        killed = subprocess.Popen(
            [sys.executable, "-c", forks, "SIGKILL"],
            env={**os.environ, "PYTHONPATH": str(root)},
            stderr=stderr,
            start_new_session=True,
        )
        try:
            killed.wait()
            deadline = time.monotonic() + 30
            while "go on with" not in told.read_text():
                assert time.monotonic() < deadline
                time.sleep(0.05)
            os.killpg(killed.pid, 0)  # the child still lives
        finally:
            os.killpg(killed.pid, signal.SIGKILL)


def test_another_sigterm_changes_nothing_until_the_grace_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signals, "GRACE", 0.3)
    with signals.terminable():
        with pytest.raises(signals.Terminated):
            signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        time.sleep(0.4)
        with pytest.raises(signals.Terminated):
            signal.raise_signal(signal.SIGTERM)


def test_a_refusal_that_names_no_file_is_a_fault_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    fake_trainer(monkeypatch, PermissionError(1, "Operation not permitted"))
    with pytest.raises(PermissionError):
        cli.main(["train", "mine.yaml"])


@pytest.mark.parametrize("how", ["SIGKILL", "SIGABRT", None])
def test_an_end_without_a_word_gets_a_last_one(how: str | None) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", KILLED, *([how] if how else [])]
    # What is captured ends only when the shell has ended too.
    done = subprocess.run(command, env=environment, stderr=subprocess.PIPE, text=True)
    assert done.stderr.splitlines()[-1] == ("go on with: memrl train --resume" if how else "ended well")
    assert how is None or done.returncode < 0
