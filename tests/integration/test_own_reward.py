"""The example of docs/rewards.md as a user has it: a file, lines of a config, a run, and the run paid again."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from memrl.cli.main import main
from memrl.config import Config, save_config
from memrl.data.feed import StreamFeed
from memrl.errors import PluginError
from memrl.learner.build import build_learner
from memrl.rollout.build import open_pool
from memrl.rollout.pool import InProcessPool
from memrl.storage.rundir import EpisodeWriter
from memrl.training.rescore import rescore
from memrl.training.trainer import Trainer
from tests.support import ROOT, quiet, rows, small_config

DOC = (ROOT / "docs" / "rewards.md").read_text(encoding="utf-8")
PYTHON, SETTINGS = (re.search(rf"```{name}\n(.*?)```", DOC, re.DOTALL) for name in ("python", "yaml"))
assert PYTHON and SETTINGS
PARTS: dict[str, Any] = yaml.safe_load(SETTINGS.group(1))["rewards"]["parts"]


@pytest.fixture(scope="module", autouse=True)
def ourparts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of the document's file, from which Python imports."""
    folder = tmp_path_factory.mktemp("ours")
    (folder / "ourparts.py").write_text(PYTHON.group(1), encoding="utf-8")
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))
    sys.modules.pop("ourparts", None)


def config_with(folder: Path, parts: Any, **changes: Any) -> Config:
    """A run of the embedded model: it stores something."""
    settings = {
        "train.steps": 1, "eval.every": 0, "reader.type": "lexical", "rollout.max_completion_tokens": 64,
        "rewards.parts": json.dumps(parts),
    }  # fmt: skip
    return small_config(Path("tiny"), folder, {**settings, **{key.replace("__", "."): v for key, v in changes.items()}})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts") / "run"
    Trainer(config_with(folder, PARTS), name="parts", resume=False, console=quiet()).run()
    return folder


def test_a_run_is_paid_for_added_parts_and_tells_them_everywhere(run: Path) -> None:
    first, row = rows(run)
    episodes = EpisodeWriter(run / "episodes").read(1)
    for episode in episodes:
        items = [item["content"] for item in episode.memory["items"]]
        assert episode.parts.get("tidiness") == (len(set(items)) / len(items) if items else None)
        for step in episode.steps:
            assert step.parts["brevity"] == min(1.0, 24 / len(step.completion.ids))
    values = [step.parts["brevity"] for episode in episodes for step in episode.steps]
    assert row["reward/brevity"] == pytest.approx(sum(values) / len(values))
    assert row["reward/tidiness"] > 0
    assert 0 < first["eval/brevity"] <= 1
    assert set(json.loads((run / "summary.json").read_text())["eval"]["after"]["brevity"]) == {"value", "low", "high"}


def test_such_a_run_is_paid_again_to_the_bit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _, before, after, figures in rescore(run):
        assert before == after
        assert {key: rows(run)[1][key] for key in figures} == figures
    assert main(["rescore", str(run), "rewards.weights.brevity=2"]) == 0
    told = " ".join(capsys.readouterr().out.split())
    assert "tool success" in told and "brevity" in told and "rewards differ" in told


def test_saved_episodes_can_be_paid_for_a_part_that_the_run_did_not_have(run: Path, tmp_path: Path) -> None:
    older = tmp_path / "older"
    config = config_with(older, {})
    older.mkdir()
    save_config(config, older / "config.yaml")
    (older / "episodes").symlink_to(run / "episodes")
    plain = [episode for _, _, after, _ in rescore(older) for episode in after]
    path = "ourparts:Brevity"
    more = rescore(older, [f"rewards.parts={{short: {{import_path: {path}, weight: 1.0, tokens: 1}}}}"])
    for episode, before in zip([episode for _, _, after, _ in more for episode in after], plain, strict=True):
        short = [step.parts["short"] for step in episode.steps]
        assert short == [1 / len(step.completion.ids) for step in episode.steps]
        assert episode.total == pytest.approx(before.total + sum(short) / len(short))


@pytest.mark.slow
def test_ray_workers_pay_the_same(run: Path, tmp_path: Path, ourparts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ourparts), os.environ.get("PYTHONPATH", "")]))
    config = config_with(tmp_path, PARTS, rollout__workers=1, ray__worker_cpus=0.5)
    Trainer(config, name="parts", resume=False, console=quiet()).run()
    rewards = [
        [{key: row[key] for key in row if key.startswith("reward/")} for row in rows(at)] for at in (run, tmp_path)
    ]
    assert rewards[0] == rewards[1] and rewards[0][1]["reward/tidiness"] > 0


def test_a_part_that_raises_stops_the_play_and_is_named(tmp_path: Path) -> None:
    (tmp_path / "raisingparts.py").write_text(
        "class Odd:\n    level = 'step'\n    def value(self, step): return 1 / 0\n"
    )
    sys.path.insert(0, str(tmp_path))
    try:
        config = config_with(tmp_path, {"odd": {"import_path": "raisingparts:Odd", "weight": 1}})
    finally:
        sys.path.remove(str(tmp_path))
    pool = open_pool(config)
    assert isinstance(pool, InProcessPool)
    adapter = build_learner(config, 1).publish(tmp_path)
    pool.load_adapter(adapter)
    stream = StreamFeed(config.data.train, None, 0).take(1)[0]
    with pytest.raises(PluginError, match=r"episode 0: reward part 'odd' of step 0: ZeroDivisionError"):
        pool.run(pool.worker.play(stream, seed=5, adapter=adapter))


def test_a_part_that_is_not_there_is_refused_before_anything_is_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "tiny", "model.path=tiny", "rewards.parts={odd: {import_path: nowhere:Odd, weight: 1}}"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert "rewards.parts.odd: reward part nowhere:Odd cannot be imported: ModuleNotFoundError" in told
