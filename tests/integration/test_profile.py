"""`memrl profile`: a run's time and tokens add up to what the run says elsewhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from memrl.cli import main as cli
from memrl.storage.rundir import EpisodeWriter, MetricsFile
from memrl.training.profile import profile
from memrl.training.trainer import Trainer
from tests.support import quiet, small_config


@pytest.fixture(scope="module")
def run(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("profile") / "run"
    config = small_config(quick_model, folder, {"train.steps": 2})
    Trainer(config, name="small", resume=False, console=quiet()).run()
    return folder


def test_phases_sum_to_the_wall_time(run: Path) -> None:
    seconds = profile(run)["seconds"]
    assert {"build", "rollout", "learn", "eval", "canary", "publish", "save", "other", "wall"} == set(seconds)
    assert sum(seconds.values()) - seconds["wall"] == pytest.approx(seconds["wall"])
    summary = json.loads((run / "summary.json").read_text())
    assert 0 < seconds["wall"] <= summary["wall_seconds"]["total"]
    # What no phase accounts for is what is left of a step: figures and credit.
    assert -0.01 < seconds["other"] < 0.1 * seconds["wall"] + 0.2


def test_tokens_are_those_of_the_saved_episodes(run: Path) -> None:
    found = profile(run)
    episodes = [episode for step in (1, 2) for episode in EpisodeWriter(run / "episodes").read(step)]
    steps = [step for episode in episodes for step in episode.steps]
    answers = [answer for episode in episodes for answer in episode.answers]
    tokens = found["tokens"]
    assert tokens["prompt"] == sum(len(step.prompt_ids) for step in steps) > 0
    assert tokens["completion"] == sum(len(step.completion.ids) for step in steps) > 0
    assert tokens["reader"] == sum(answer.prompt_tokens + answer.completion_tokens for answer in answers)
    assert tokens["dropped"] == tokens["completion"] - tokens["trained"]
    # The engine has had each distinct beginning of a prompt once, at least.
    engine = found["engine"]
    assert 0 < engine["read"] < engine["prompt"]
    assert engine["shared"] == engine["prompt"] - engine["read"]
    assert engine["positions"] == engine["read"] + engine["decoded"]
    assert [row["step"] for row in found["by_step"]] == [0, 1, 2]
    assert sum(row["engine"].get("read", 0) for row in found["by_step"]) == engine["read"]


def test_the_command_prints_tables_and_json(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["profile", str(run), "--steps"]) == 0
    text = capsys.readouterr().out
    for word in ("rollout", "learn", "other", "sampled by the policy", "read once for several requests", "by step"):
        assert word in text
    assert cli.main(["profile", str(run), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == profile(run)


def test_one_step_is_drawn_as_a_flame_graph(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = sorted(path.name for path in run.iterdir())
    assert cli.main(["profile", str(run), "--flame", str(tmp_path / "flame.svg")]) == 0
    drawn = (tmp_path / "flame.svg").read_text()
    assert drawn.startswith("<?xml") or "<svg" in drawn[:500]
    assert "trainer.py" in drawn
    assert "decoding.py" in drawn  # the engine's own thread
    assert sorted(path.name for path in run.iterdir()) == before
    assert "rollout" in capsys.readouterr().out


def test_a_flame_graph_that_cannot_be_written_is_refused_first(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["profile", str(run), "--flame", str(tmp_path / "nowhere" / "flame.svg")]) != 0
    assert "there is no folder" in " ".join(capsys.readouterr().err.split())


def test_on_ray_what_all_engines_computed_is_counted(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(
        quick_model, tmp_path / "run", {"train.steps": 1, "rollout.workers": 2, "ray.worker_cpus": 0.5}
    )
    Trainer(config, name="small", resume=False, console=quiet()).run()
    engine = profile(tmp_path / "run")["engine"]
    assert 0 < engine["read"] < engine["prompt"]
    assert engine["positions"] > engine["read"]


def test_a_resumed_run_keeps_one_row_a_step(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path / "run", {"train.steps": 2, "train.schedule": "constant"})
    Trainer(config, name="small", resume=False, console=quiet()).run()
    whole = MetricsFile(tmp_path / "run" / "computed.jsonl").rows()
    further = small_config(quick_model, tmp_path / "run", {"train.steps": 3, "train.schedule": "constant"})
    Trainer(further, name="small", resume=True, console=quiet()).run()
    rows = MetricsFile(tmp_path / "run" / "computed.jsonl").rows()
    assert [row["step"] for row in rows] == [1, 2, 3]
    assert rows[:2] == whole


def test_a_run_of_before_is_read_without_what_it_does_not_have(run: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.mkdir()
    for name in ("config.yaml", "run.json"):
        (old / name).write_bytes((run / name).read_bytes())
    with (old / "metrics.jsonl").open("w") as file:
        for row in MetricsFile(run / "metrics.jsonl").rows():
            del row["time/wall"]
            file.write(json.dumps(row) + "\n")
    found = profile(old)
    assert found["engine"] == {}
    assert found["seconds"]["other"] == pytest.approx(0.0)


@pytest.mark.parametrize(("made", "words"), [(False, "holds no run"), (True, "no finished step")])
def test_a_folder_without_steps_is_refused(
    tmp_path: Path, run: Path, made: bool, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if made:
        for name in ("config.yaml", "run.json"):
            (tmp_path / name).write_bytes((run / name).read_bytes())
    assert cli.main(["profile", str(tmp_path)]) != 0
    assert words in " ".join(capsys.readouterr().err.split())
