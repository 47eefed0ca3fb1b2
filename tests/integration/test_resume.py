"""Law 7 and law 8: two runs of a seed agree to the bit, and a run that was killed anywhere and resumed is that run."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from memrl.cli import main as cli
from memrl.config import load_config
from memrl.errors import CheckpointError, ConfigError
from memrl.storage.checkpoints import find_checkpoint
from memrl.storage.files import find_damage, write_manifest
from memrl.training.trainer import Trainer
from tests.support import CONFIG, ROOT, overrides, quiet, rows, run_all, small_config

DIE = "os.kill(os.getpid(), signal.SIGKILL)"
WAYS_TO_DIE = {
    "in the first evaluation": f"""
import os, signal
from memrl.engines.transformers_engine import TransformersEngine
TransformersEngine._work = lambda *_: {DIE}
""",
    "in a rollout": f"""
import os, signal
from memrl.rollout.pool import InProcessPool
from memrl.engines.transformers_engine import TransformersEngine
play, generate = InProcessPool.play_groups, TransformersEngine._work
def played(self, *arguments, step, **options):
    calls = []
    def dying(self, *given):
        calls.append(1)
        if step == 1 and len(calls) == 2:
            {DIE}
        return generate(self, *given)
    TransformersEngine._work = dying
    return play(self, *arguments, step=step, **options)
InProcessPool.play_groups = played
""",
    "between a row and its checkpoint": f"""
import os, signal
from memrl.storage.rundir import MetricsFile
append = MetricsFile.append
def appended(self, row):
    append(self, row)
    if row["step"] == 2:
        {DIE}
MetricsFile.append = appended
""",
    "in the middle of a checkpoint": f"""
import os, signal
from memrl.training import state
write = state.write_bytes_atomic
def written(path, data):
    write(path, data)
    if "step_00002" in str(path):
        state.write_bytes_atomic = write  # once
        path.write_bytes(data[:1000])
        {DIE}
state.write_bytes_atomic = written
""",
    "in the middle of a metrics row": f"""
import os, signal
from memrl.storage.rundir import MetricsFile
append = MetricsFile.append
def appended(self, row):
    if row["step"] == 3:
        with self.path.open("a") as file:
            file.write('{{"step": 3, "reward/to')
        {DIE}
    append(self, row)
MetricsFile.append = appended
""",
}
LAST_CHECKPOINT = dict(zip(WAYS_TO_DIE, (None, 1, 1, 1, 2), strict=True))
INTERRUPTED = WAYS_TO_DIE["in a rollout"].replace("SIGKILL", "SIGINT")
"""Ctrl-C in the middle of a batch."""
TERMINATED = WAYS_TO_DIE["in a rollout"].replace("SIGKILL", "SIGTERM")
"""The same word from a scheduler."""


@pytest.fixture(scope="module")
def whole(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    Trainer(small_config(quick_model, folder), name="tiny", resume=False, console=quiet()).run()
    return folder


@pytest.fixture(scope="module")
def ended(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The same run, dead in every way: {way: (folder, exit code, stderr)}."""
    root = tmp_path_factory.mktemp("ended")
    ways = {**WAYS_TO_DIE, "Ctrl-C": INTERRUPTED}
    folders = {way: root / way.replace(" ", "-") for way in ways}
    jobs = {
        way: (before, ["train", str(ROOT / CONFIG), *overrides(quick_model, folders[way])], root / f"{way}.log")
        for way, before in ways.items()
    }
    return {way: (folders[way], *end) for way, end in run_all(jobs).items()}


def resume(model: Path, folder: Path) -> Trainer:
    return Trainer(small_config(model, folder), name="tiny", resume=True, console=quiet())


def without_time(folder: Path) -> dict[str, Any]:
    summary = json.loads((folder / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key != "wall_seconds"}


def copy(ends: dict[str, Any], way: str, to: Path) -> Path:
    return Path(shutil.copytree(ends[way][0], to / "run", symlinks=True))


# To the bit ---------------------------------------------------------------------------------------------------------


def test_two_runs_of_a_seed_agree_and_another_seed_differs(quick_model: Path, whole: Path, tmp_path: Path) -> None:
    for name, seed in (("twin", 0), ("other", 1)):
        config = small_config(quick_model, tmp_path / name, {"seed": seed, "train.steps": 3})
        Trainer(config, name="tiny", resume=False, console=quiet()).run()
    assert rows(tmp_path / "twin") == rows(whole)
    assert without_time(tmp_path / "twin") == without_time(whole)
    assert all(first != second for first, second in zip(rows(whole)[1:], rows(tmp_path / "other")[1:], strict=True))
    assert all(row["advantage/samples"] > 0 for row in rows(whole)[1:])  # so there was something to agree about


@pytest.mark.parametrize("way", list(WAYS_TO_DIE))
def test_a_run_that_was_killed_and_resumed_is_the_run_that_never_was(
    quick_model: Path, whole: Path, ended: dict[str, Any], tmp_path: Path, way: str
) -> None:
    assert ended[way][1] == -signal.SIGKILL, ended[way][2]
    folder = copy(ended, way, tmp_path)
    found = find_checkpoint(folder / "checkpoints")
    assert (found and found[0]) == LAST_CHECKPOINT[way]
    trainer = resume(quick_model, folder)
    # What the killed process had written after its checkpoint is gone before anything is played.
    assert [row["step"] for row in rows(folder)] == list(range(trainer.step + 1 if found else 0))
    trainer.run()
    assert rows(folder) == rows(whole)
    assert without_time(folder) == without_time(whole)
    for name in ("adapters", "checkpoints", "episodes", "eval/episodes"):
        assert sorted(path.name for path in (folder / name).iterdir() if not path.name.endswith(".partial")) == sorted(
            path.name for path in (whole / name).iterdir()
        )
    kept = [*whole.glob("episodes/*"), *whole.glob("eval/episodes/*")]
    assert len(kept) > len(rows(whole))
    for file in (*kept, *sorted(whole.glob("adapters/*/adapter_model.safetensors"))):
        assert (folder / file.relative_to(whole)).read_bytes() == file.read_bytes()


def test_seconds_add_up_over_a_resumed_run(quick_model: Path, ended: dict[str, Any], tmp_path: Path) -> None:
    folder = copy(ended, "between a row and its checkpoint", tmp_path)
    state = json.loads((folder / "checkpoints" / "step_00001" / "trainer.json").read_text())
    seconds = resume(quick_model, folder).run()["wall_seconds"]
    assert seconds["total"] > state["seconds"]
    assert seconds["build"] > state["wall"]["build"]  # the model was loaded twice
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for phase in ("build", "rollout", "learn"):
        assert sum(line.get(f"time/{phase}", 0.0) for line in lines) == pytest.approx(seconds[phase])


def test_a_finished_run_resumes_to_its_end(quick_model: Path, whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(whole, folder, symlinks=True)
    resume(quick_model, folder).run()
    assert rows(folder) == rows(whole)
    assert without_time(folder) == without_time(whole)


# Ctrl-C -------------------------------------------------------------------------------------------------------------


def test_ctrl_c_says_how_to_go_on_and_going_on_works(
    quick_model: Path, whole: Path, ended: dict[str, Any], tmp_path: Path
) -> None:
    _, code, errors = ended["Ctrl-C"]
    assert code == 130
    assert "Interrupted. Every finished step is saved; go on with: " in errors
    assert errors.strip().endswith("--resume")
    assert "Traceback" not in errors
    assert "never retrieved" not in errors
    folder = copy(ended, "Ctrl-C", tmp_path)
    assert find_checkpoint(folder / "checkpoints") == (1, folder / "checkpoints" / "step_00001")
    resume(quick_model, folder).run()
    assert rows(folder) == rows(whole)


def test_sigterm_saves_every_finished_step_and_one_command_serves_each_start(
    quick_model: Path, whole: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    words = ["train", str(ROOT / CONFIG), *overrides(quick_model, folder, {"run.save_every": 50}), "--resume", "auto"]
    code, errors = run_all({"SIGTERM": (TERMINATED, words, tmp_path / "log")})["SIGTERM"]
    assert code == 143
    assert "Ended by SIGTERM. Every finished step is saved; go on with: memrl train" in errors
    assert errors.strip().endswith("--resume auto")
    assert "Traceback" not in errors
    assert find_checkpoint(folder / "checkpoints") == (1, folder / "checkpoints" / "step_00001")
    assert not (folder / "lock").exists()
    assert cli.main(words) == 0
    assert rows(folder) == rows(whole)


ENDS_AROUND_A_STEP = {
    "before its row": f"""
import os, signal
from memrl.storage.rundir import MetricsFile
append, met = MetricsFile.append, []
def appended(self, row):
    if row["step"] == 2 and self.path.name == "metrics.jsonl" and not met:
        met.append(row)
        {DIE}
    append(self, row)
MetricsFile.append = appended
""",
    "before its checkpoint": f"""
import os, signal
from memrl.storage.rundir import MetricsFile
append = MetricsFile.append
def appended(self, row):
    append(self, row)
    if row["step"] == 2 and self.path.name == "metrics.jsonl":
        {DIE}
MetricsFile.append = appended
""",
    "in its checkpoint": WAYS_TO_DIE["in the middle of a checkpoint"],
}


def test_a_step_whose_end_meets_sigterm_or_whose_next_fails_is_saved(
    quick_model: Path, whole: Path, tmp_path: Path
) -> None:
    ways = {way: before.replace("SIGKILL", "SIGTERM") for way, before in ENDS_AROUND_A_STEP.items()}
    ways["the next fails"] = """
from memrl.errors import LearnerError
from memrl.learner.learner import Learner
step = Learner.step
def stepped(self, *arguments):
    if self.version == 2:
        raise LearnerError("out of memory, say")
    return step(self, *arguments)
Learner.step = stepped
"""
    words = {
        way: ["train", str(ROOT / CONFIG), *overrides(quick_model, tmp_path / way, {"run.save_every": every})]
        for way, every in zip(ways, (1, 1, 2, 50), strict=True)
    }
    ends = run_all({way: (ways[way], words[way], tmp_path / f"{way}.log") for way in ways})
    for way, (code, errors) in ends.items():
        assert code == (1 if way == "the next fails" else 143), (way, errors)
        assert "Traceback" not in errors
        found = find_checkpoint(tmp_path / way / "checkpoints")
        assert found is not None and found[0] == 2, way
        assert [row["step"] for row in rows(tmp_path / way)] == [0, 1, 2], way
        resume(quick_model, tmp_path / way).run()
        assert rows(tmp_path / way) == rows(whole), way


def test_a_run_goes_on_by_its_own_config_where_none_is_named(
    quick_model: Path, whole: Path, ended: dict[str, Any], tmp_path: Path
) -> None:
    folder = copy(ended, "in a rollout", tmp_path)
    assert cli.main(["train", "--resume", f"run.dir={folder}"]) == 0  # not those of tiny.yaml
    assert rows(folder) == rows(whole)
    assert without_time(folder) == without_time(whole)


# Damage -------------------------------------------------------------------------------------------------------------


def test_a_damaged_checkpoint_is_named_and_the_one_before_it_is_used(
    quick_model: Path, whole: Path, ended: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = copy(ended, "between a row and its checkpoint", tmp_path)
    newest = folder / "checkpoints" / "step_00001"
    state = newest / "learner" / "learner.pt"
    state.write_bytes(state.read_bytes()[:-1])
    trainer = resume(quick_model, folder)
    assert trainer.step == 0
    assert f"checkpoint {newest} is damaged and skipped: learner/learner.pt is not what was written" in caplog.text
    trainer.run()
    assert rows(folder) == rows(whole)
    for path in (folder / "checkpoints").glob("step_*"):
        assert find_damage(path) is None


def test_without_a_good_checkpoint_nothing_is_touched(
    quick_model: Path, ended: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(ended, "between a row and its checkpoint", tmp_path)
    before = (folder / "metrics.jsonl").read_bytes()
    for path in (folder / "checkpoints").glob("step_*"):
        (path / "trainer.json").unlink()
    with pytest.raises(CheckpointError, match="no good checkpoint to resume from"):
        resume(quick_model, folder)
    assert (folder / "metrics.jsonl").read_bytes() == before


def test_other_settings_are_refused_by_name(
    quick_model: Path, ended: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(ended, "in a rollout", tmp_path)
    before = (folder / "metrics.jsonl").read_bytes()
    words = overrides(quick_model, folder, {"train.lr": 0.5, "memory.budget": 70, "run.keep_checkpoints": 5})
    assert cli.main(["train", str(ROOT / CONFIG), *words, "--resume"]) == 2
    message = capsys.readouterr().err
    assert "memory.budget: " in message
    assert "train.lr: 8e-05 then, 0.5 now" in message
    assert "keep_checkpoints" not in message  # decides no number
    assert "another run.dir" in message
    assert (folder / "metrics.jsonl").read_bytes() == before


# Another version ----------------------------------------------------------------------------------------------------


def rewrite(checkpoint: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Change a checkpoint's state as if it had been written so."""
    file = checkpoint / "trainer.json"
    state = json.loads(file.read_text())
    change(state)
    file.write_text(json.dumps(state))
    write_manifest(checkpoint)


def nested(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings by section, as checkpoints held them before there were format versions."""
    found: dict[str, Any] = {}
    for key, value in settings.items():
        place = found
        *sections, name = key.split(".")
        for section in sections:
            place = place.setdefault(section, {})
        place[name] = value
    return found


def test_a_run_of_an_earlier_version_goes_on(
    quick_model: Path, whole: Path, ended: dict[str, Any], tmp_path: Path
) -> None:
    """Its checkpoint knows fewer settings and another name, and neither it nor the folder has a format."""
    folder = copy(ended, "between a row and its checkpoint", tmp_path)
    (folder / "run.json").unlink()
    new = ("reader.instruction", "advantage.min_spread", "judge.votes", "loss.kl", "data.path")

    def older(state: dict[str, Any]) -> None:
        del state["format_version"], state["set"]
        settings = {key: value for key, value in state["config"].items() if key not in ("content", *new)}
        assert all(key in state["config"] for key in new)
        kept = nested({key: value for key, value in settings.items() if not key.startswith("data.")})
        kept["rollout"]["min_group"] = "min_viable"
        sources = [{"source": "synthetic", "chunks": 2}]
        state["config"] = {**kept, "data": {"train": sources, "eval": sources}}

    for path in (folder / "checkpoints").glob("step_*"):
        rewrite(path, older)
    trainer = resume(quick_model, folder)
    assert trainer.step == 1
    trainer.run()
    assert rows(folder) == rows(whole)
    assert json.loads((folder / "run.json").read_text())["format_version"] == 1


def test_a_checkpoint_of_a_newer_version_is_refused_untouched(
    quick_model: Path, ended: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(ended, "between a row and its checkpoint", tmp_path)
    rewrite(folder / "checkpoints" / "step_00001", lambda state: state.update(format_version=2))
    (folder / "lock").unlink()  # the killed run's; it holds nothing
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert cli.main(["train", str(ROOT / CONFIG), *overrides(quick_model, folder), "--resume"]) == 2
    message = capsys.readouterr().err
    assert f"{folder}/checkpoints/step_00001 was written by a newer memrl: it is a checkpoint of format 2" in message
    assert "Update memrl" in message
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


# A longer run -------------------------------------------------------------------------------------------------------


def test_a_run_is_made_longer_where_the_schedule_allows_it(quick_model: Path, tmp_path: Path) -> None:
    def run(folder: Path, steps: int, resume: bool = False) -> None:
        changes = {"train.schedule": "constant_with_warmup", "train.steps": steps}
        Trainer(small_config(quick_model, folder, changes), name="tiny", resume=resume, console=quiet()).run()

    longer, at_once = tmp_path / "longer", tmp_path / "at-once"
    run(at_once, 4)
    run(longer, 2)
    assert [row["step"] for row in rows(longer)] == [0, 1, 2]
    run(longer, 4, resume=True)
    assert rows(longer) == rows(at_once)
    assert without_time(longer) == without_time(at_once)
    for file in sorted(at_once.glob("adapters/*/adapter_model.safetensors")):
        assert (longer / file.relative_to(at_once)).read_bytes() == file.read_bytes()
    assert load_config(longer / "config.yaml").train.steps == 4
    with pytest.raises(ConfigError, match=r"train\.steps: 4 then, 2 now"):
        run(longer, 2, resume=True)


def test_a_run_whose_learning_rates_knew_its_end_is_not_made_longer(
    quick_model: Path, ended: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = copy(ended, "in a rollout", tmp_path)
    words = overrides(quick_model, folder, {"train.steps": 9})
    assert cli.main(["train", str(ROOT / CONFIG), *words, "--resume"]) == 2
    message = capsys.readouterr().err
    assert "train.steps: 3 then, 9 now, which train.schedule=linear does not allow: the learning rates" in message
    assert "constant_with_warmup" in message


# Two at once --------------------------------------------------------------------------------------------------------

STALLS = """
import sys, time
from memrl.rollout.pool import InProcessPool
play = InProcessPool.play_groups
def played(self, *arguments, step, **options):
    if step == 1:
        time.sleep(600)
    return play(self, *arguments, step=step, **options)
InProcessPool.play_groups = played
from memrl.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_two_do_not_train_in_one_folder_and_a_killed_one_does_not_keep_it(
    quick_model: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "run"
    words = ["train", str(ROOT / CONFIG), *overrides(quick_model, folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    first = subprocess.Popen([sys.executable, "-c", STALLS, *words], env=environment, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 300
        while not (folder / "checkpoints" / "step_00001").is_dir():
            assert first.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        for more in ([], ["--resume"]):
            assert cli.main([*words, *more]) == 2
            assert f"{folder} is in use: process {first.pid} on " in capsys.readouterr().err
        assert cli.main(["eval", str(folder), "--streams", "1", "--baselines", "none"]) == 0, "readers need no lock"
        assert first.poll() is None
    finally:
        first.kill()
        first.wait()
    assert cli.main([*words, "--resume"]) == 0
    assert rows(folder) == rows(whole)
    assert not (folder / "lock").exists()


# A full disk --------------------------------------------------------------------------------------------------------


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_checkpoint_that_cannot_be_written_leaves_the_last_good_one(
    quick_model: Path, whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first checkpoint has no optimizer state and fits; the second does not."""
    folder = tmp_path / "run"
    words = overrides(quick_model, folder)
    first = (whole / "adapters" / "v00000" / "adapter_model.safetensors").stat().st_size
    with file_size_limit(2 * first):
        assert cli.main(["train", str(ROOT / CONFIG), *words]) == 1
    message = " ".join(capsys.readouterr().err.split())
    assert f"cannot save {folder}/checkpoints/step_00001" in message
    assert f"the last good checkpoint is {folder}/checkpoints/step_00000" in message
    assert "--resume" in message
    assert "Traceback" not in message
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["latest", "step_00000"]
    assert cli.main(["train", str(ROOT / CONFIG), *words, "--resume"]) == 0
    assert rows(folder) == rows(whole)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if mount is None or subprocess.run([mount, "-t", "tmpfs", "-o", "size=8m", "tmpfs", disk]).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("room_kib", [0, 20, 700, 1600])
def test_a_full_disk_is_a_message_wherever_it_happens(
    quick_model: Path, ended: dict[str, Any], small_disk: Path, capsys: pytest.CaptureFixture[str], room_kib: int
) -> None:
    folder = copy(ended, "in a rollout", small_disk)
    free = shutil.disk_usage(small_disk).free - room_kib * 1024
    assert free > 0
    (small_disk / "ballast").write_bytes(b"\1" * free)
    assert cli.main(["train", str(ROOT / CONFIG), *overrides(quick_model, folder), "--resume"]) == 1
    message = capsys.readouterr().err
    assert "No space left on device" in message or "the disk is full" in message
    assert "Traceback" not in message
    assert find_checkpoint(folder / "checkpoints") is not None
    (small_disk / "ballast").unlink()
    assert resume(quick_model, folder).step >= 1
