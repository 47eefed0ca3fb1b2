"""Rollouts ahead of the learner: which adapter plays which step, to the bit, through kills, Ctrl-C and failures."""

from __future__ import annotations

import asyncio
import signal
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import memrl.engines.transformers_engine
from memrl.data.feed import StreamFeed
from memrl.engines.engine import ANYWHERE, Place
from memrl.engines.transformers_engine import TransformersEngine
from memrl.errors import EngineError
from memrl.records import AdapterRef, Completion, Episode
from memrl.rollout.pool import Play
from memrl.storage.files import find_damage
from memrl.storage.rundir import EpisodeWriter
from memrl.training.trainer import Trainer
from tests.support import CONFIG, ROOT, overrides, quiet, rows, run_all, small_config

STALE = {"rollout.max_staleness": 1, "train.steps": 4, "eval.every": 2}


def make_trainer(model: Path, folder: Path, *, resume: bool = False, **changes: Any) -> Trainer:
    settings = {**STALE, **{key.replace("__", "."): value for key, value in changes.items()}}
    return Trainer(small_config(model, folder, settings), name="stale", resume=resume, console=quiet())


@pytest.fixture(scope="module")
def whole(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nothing happened to."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    make_trainer(quick_model, folder).run()
    return folder


# Which version plays which step -------------------------------------------------------------------------------------


@pytest.mark.parametrize("staleness", [0, 1, 2])
def test_each_step_is_played_with_the_adapter_of_so_many_steps_before(
    quick_model: Path, tmp_path: Path, staleness: int
) -> None:
    # Every episode differs from its group by its malformed calls, so that each step has samples and a new version.
    folder = tmp_path / "run"
    make_trainer(quick_model, folder, rollout__max_staleness=staleness).run()
    metrics = rows(folder)[1:]
    assert [row["learner/version"] for row in metrics] == [1, 2, 3, 4]
    assert [row["learner/staleness"] for row in metrics] == [min(step, staleness) for step in range(4)]
    assert all(row["fail/stale"] == 0 for row in metrics)
    played = [EpisodeWriter(folder / "episodes").read(step) for step in (1, 2, 3, 4)]
    for step, episodes in enumerate(played):
        assert {episode.version for episode in episodes} == {max(0, step - staleness)}
    # Streams that a rollout had reserved for refills and did not need were played by a later one: none is left out
    # but those at the end, and none comes twice.
    ids = [list(dict.fromkeys(episode.stream_id for episode in episodes)) for episodes in played]
    flat = [stream for step in ids for stream in step]
    assert len(flat) == len(set(flat))
    trainer = make_trainer(quick_model, tmp_path / "other")
    reserve = 2 * (1 + 3) * (1 + staleness)
    feed = StreamFeed(trainer.config.data.train, None, trainer.config.seed)
    expected = [stream.id for stream in feed.take(len(flat) + reserve)]
    assert set(flat) <= set(expected)
    assert (flat == expected[: len(flat)]) == (staleness == 0)


def test_two_runs_agree_to_the_bit(quick_model: Path, whole: Path, tmp_path: Path) -> None:
    make_trainer(quick_model, tmp_path / "twin").run()
    assert rows(tmp_path / "twin") == rows(whole)
    assert all(row["advantage/samples"] > 0 for row in rows(whole)[1:])


# The learner and the rollouts, at the same time ---------------------------------------------------------------------


def test_the_next_rollout_goes_on_while_the_learner_works(
    quick_model: Path, tmp_path: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A rollout may begin only when the learner works on the step before, which waits until an episode was played."""
    trainer = make_trainer(quick_model, tmp_path / "run")
    pool = trainer.pool
    may_begin = [asyncio.Event() for _ in range(4)]
    may_begin[0].set()
    played = [threading.Event() for _ in range(4)]
    attempt, learn = pool._attempt, trainer.learner.step

    async def attempted(play: Play, adapter: AdapterRef) -> Episode:
        step = play.place.step
        if step < 0:
            return await attempt(play, adapter)
        await may_begin[step].wait()
        episode = await attempt(play, adapter)
        played[step].set()
        return episode

    waited = []

    def learned(*arguments: Any) -> Any:
        ahead = trainer.step + 1
        if ahead < 4:
            pool._loop.call_soon_threadsafe(may_begin[ahead].set)
            waited.append(played[ahead].wait(120))
        return learn(*arguments)

    monkeypatch.setattr(pool, "_attempt", attempted)
    monkeypatch.setattr(trainer.learner, "step", learned)
    trainer.run()
    assert waited == [True, True, True]
    assert rows(tmp_path / "run") == rows(whole)  # and when a rollout is played decides no number


# Kills, Ctrl-C, failures --------------------------------------------------------------------------------------------

BETWEEN = """
import os, signal
from memrl.storage.rundir import MetricsFile
append = MetricsFile.append
def appended(self, row):
    append(self, row)
    if row["step"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
MetricsFile.append = appended
"""
WHILE_LEARNING = """
import os, signal
from memrl.learner.learner import Learner
backward = Learner._backward
def dying(self, *arguments):
    if self.version == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return backward(self, *arguments)
Learner._backward = dying
"""


@pytest.fixture(scope="module")
def ended(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Runs that died: {way: (folder, exit code, stderr)}."""
    root = tmp_path_factory.mktemp("ended")
    ways = {
        "killed between": BETWEEN,
        "killed while learning": WHILE_LEARNING,
        "Ctrl-C": WHILE_LEARNING.replace("SIGKILL", "SIGINT"),
    }
    jobs = {
        way: (before, ["train", str(ROOT / CONFIG), *overrides(quick_model, root / way, STALE)], root / f"{way}.log")
        for way, before in ways.items()
    }
    return {way: (root / way, *end) for way, end in run_all(jobs).items()}


@pytest.mark.parametrize("way", ["killed between", "killed while learning", "Ctrl-C"])
def test_a_resumed_run_is_the_run_that_was_never_stopped(
    quick_model: Path, whole: Path, ended: dict[str, Any], way: str
) -> None:
    folder, code, message = ended[way]
    assert code == (130 if way == "Ctrl-C" else -signal.SIGKILL), message
    assert "Traceback" not in message
    checkpoint = folder / "checkpoints" / "latest"
    assert find_damage(checkpoint) is None
    assert len(list((checkpoint / "adapters").iterdir())) == 1  # that of the rollout which was under way
    for adapter in (folder / "adapters").iterdir():  # it does not depend on what is kept elsewhere
        (adapter / "adapter_model.safetensors").unlink()
    trainer = make_trainer(quick_model, folder, resume=True)
    assert trainer.step == 2
    trainer.run()
    assert rows(folder) == rows(whole)


def test_a_failure_ahead_stops_the_run_when_its_step_comes(
    quick_model: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Fails(TransformersEngine):
        async def generate(self, *arguments: Any, place: Place = ANYWHERE, **options: Any) -> Completion:
            if place.step == 2:
                raise EngineError("the accelerator fell off")
            return await super().generate(*arguments, place=place, **options)

    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(memrl.engines.transformers_engine, "TransformersEngine", Fails)
        with pytest.raises(EngineError, match=r"8 of 8 episodes failed.*the accelerator fell off"):
            make_trainer(quick_model, folder, rollout__on_failure="min_viable").run()
    assert [row["step"] for row in rows(folder)] == [0, 1, 2]  # what was learned meanwhile is kept
    make_trainer(quick_model, folder, resume=True).run()
    assert rows(folder) == rows(whole)


def test_samples_past_the_bound_are_dropped_and_counted(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(quick_model, tmp_path / "run", train__steps=2)
    take, learn = trainer.rollouts.take, trainer.learner.step
    given = []

    def aged() -> Any:
        groups, report, drawn = take()
        report.samples[:3] = [replace(sample, version=sample.version - 2) for sample in report.samples[:3]]
        return groups, report, drawn

    monkeypatch.setattr(trainer.rollouts, "take", aged)
    monkeypatch.setattr(trainer.learner, "step", lambda samples, *more: given.append(samples) or learn(samples, *more))
    trainer.run()
    for row, samples, version in zip(rows(tmp_path / "run")[1:], given, (0, 1), strict=True):
        assert row["fail/stale"] == 3
        assert len(samples) == row["advantage/samples"] - 3 > 0
        assert all(version - sample.version <= 1 for sample in samples)
