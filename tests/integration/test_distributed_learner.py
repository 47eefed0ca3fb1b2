"""A learner in two processes by way of Ray: the same interface, the same numbers, and nothing half-applied."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import ray
import torch

import tests.integration.test_learner
from memrl.config import Config
from memrl.errors import CheckpointError, LearnerError
from memrl.learner.batching import MicroBatch
from memrl.learner.build import build_learner, open_distributed
from memrl.learner.distributed import DistributedLearner
from memrl.learner.learner import STATE_FILE, Learner
from memrl.learner.peers import Peers
from memrl.records import Sample
from memrl.storage.files import find_damage
from memrl.training.trainer import Trainer
from tests.integration.test_learner import base_model, make_config, make_learner, make_samples
from tests.support import Outcomes, quiet, rows, small_config

# members cannot import the tests
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
ray.cloudpickle.register_pickle_by_value(tests.integration.test_learner)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One Ray for all tests here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        yield
        ray.shutdown()


def settings(config: Config) -> None:
    config.train.processes = 2
    config.train.parallel = "fsdp"
    config.train.updates_per_step = 2
    config.train.lr = 1e-3
    config.loss.kl = 0.05
    config.ray.learner_cpus = 0.5


def build(config: Config, total_updates: int, peers: Peers) -> Learner:
    """The tiny random model; samples of the stream "slow" take their time."""
    learner = build_learner(config, total_updates, peers, model=base_model())
    backward = learner._backward

    def slowed(batch: MicroBatch, old: Any, normaliser: Any, stats: Any, samples: list[Sample]) -> float:
        time.sleep(0.5 if samples[0].stream_id == "slow" else 0.0)
        return backward(batch, old, normaliser, stats, samples)

    learner._backward = slowed  # type: ignore[method-assign,assignment]
    return learner


@pytest.fixture(scope="module")
def two() -> Iterator[DistributedLearner]:
    learner = open_distributed(make_config(settings), 20, build)
    pids = [member.pid for member in learner.team.members]
    yield learner
    learner.close()
    wait_for_end(pids)


@pytest.mark.slow
def test_one_process_that_ray_places_learns_what_the_driver_would() -> None:
    """Beside workers on GPUs a single learner has its GPU from Ray."""

    def alone(config: Config) -> None:
        settings(config)
        config.train.processes, config.train.parallel = 1, "ddp"

    placed, here = open_distributed(make_config(alone), 20, build), make_learner(alone)
    try:
        samples = make_samples(here, 4, 0)
        expected, found = here.step(samples), placed.step(samples)
        for name in expected.keys() - {"tokens/learner_padded"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-5), name
        check_same(here, placed)
    finally:
        placed.close()


def wait_for_end(pids: list[int]) -> None:
    """Until none of these processes lives."""
    deadline = time.monotonic() + 20
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def adapter(state: bytes) -> dict[str, torch.Tensor]:
    found: dict[str, torch.Tensor] = torch.load(BytesIO(state))["adapter"]
    return found


def check_same(first: Learner | DistributedLearner, second: Learner | DistributedLearner) -> None:
    one, other = adapter(first.state()), adapter(second.state())
    assert one.keys() == other.keys()
    for name, value in one.items():
        torch.testing.assert_close(value, other[name], rtol=0, atol=1e-6)


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(two: DistributedLearner, tmp_path: Path) -> None:
    one = make_learner(settings)
    check_same(one, two)
    for step in range(3):
        samples = make_samples(one, 1 if step == 1 else 7, step)  # once there is nothing to do for one of the two
        calls: list[tuple[int, int]] = []
        expected, found = one.step(samples), two.step(samples, lambda *call, calls=calls: calls.append(call))
        for name in expected.keys() - {"tokens/learner_padded"}:
            assert found[name] == pytest.approx(expected[name], rel=1e-5, abs=1e-5), name
        assert calls == [(place + 1, len(calls)) for place in range(len(calls))]
        check_same(one, two)
    assert two.step([]) == pytest.approx(one.step([]))
    assert two.version == one.version == 3
    for found_row, row in zip(two.logprobs(samples), one.logprobs(samples), strict=True):
        assert found_row == pytest.approx(row, abs=1e-5)

    ref, other = two.publish(tmp_path / "two"), one.publish(tmp_path / "one")
    assert (ref.version, ref.name) == (other.version, other.name)
    assert find_damage(Path(ref.path)) is None
    assert sorted(path.name for path in Path(ref.path).iterdir()) == sorted(
        path.name for path in Path(other.path).iterdir()
    )

    # The checkpoint of either is the checkpoint of the other.
    two.save(tmp_path / "state")
    resumed = make_learner(settings)
    resumed.load(tmp_path / "state")
    assert resumed.state() == two.state()
    one.save(tmp_path / "state")
    two.load(tmp_path / "state")
    assert two.state() == one.state()
    (tmp_path / "state" / STATE_FILE).write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="not a learner's state"):
        two.load(tmp_path / "state")
    assert two.state() == one.state()


def test_what_stops_one_member_changes_nothing_on_any(two: DistributedLearner) -> None:
    samples = make_samples(make_learner(settings), 7)
    before, version = two.state(), two.version
    broken = [*samples[:3], replace(samples[3], advantage=float("nan"), stream_id="zebra"), *samples[4:]]
    with pytest.raises(LearnerError, match=rf"loss is nan at learner step {version + 1}, .*'zebra'.*nothing was up"):
        two.step(broken)
    assert (two.state(), two.version) == (before, version)

    def stop_at(last: bool) -> Callable[[int, int], None]:
        def progress(done: int, total: int) -> None:
            if done == (total if last else 1):
                raise KeyboardInterrupt

        return progress

    slow = [replace(sample, stream_id="slow") for sample in samples]
    for given, last in ((slow, False), (samples, True)):
        with pytest.raises(KeyboardInterrupt):
            two.step(given, stop_at(last))
        assert (two.state(), two.version) == (before, version)
    two.step(samples)
    assert two.version == version + 1


def test_members_that_drift_apart_are_found_out(two: DistributedLearner, monkeypatch: pytest.MonkeyPatch) -> None:
    ask = two.team.ask

    def drifted(*order: Any) -> list[Any]:
        first, (result, standing) = ask(*order)
        return [first, (result, replace(standing, checksum=standing.checksum + 1))]

    with monkeypatch.context() as patch:
        patch.setattr(two.team, "ask", drifted)
        patch.setattr(two.team, "condemn", lambda why: None)
        with pytest.raises(LearnerError, match=r"processes 0 \(pid \d+ .* and 1 \(pid .* different adapters after"):
            two.step(make_samples(make_learner(settings), 3))


def test_a_member_that_is_killed_in_mid_step_is_named(two: DistributedLearner, outcomes: Outcomes) -> None:
    samples = [replace(sample, stream_id="slow") for sample in make_samples(make_learner(settings), 7)]
    pid = two.team.members[1].pid
    threading.Timer(0.7, os.kill, (pid, signal.SIGKILL)).start()
    with pytest.raises(LearnerError, match=rf"learner process 1 \(pid {pid} on node \w+\) died: .*--resume"):
        two.step(samples)
    with pytest.raises(LearnerError, match=rf"learner process 1 \(pid {pid}"):  # and still so
        two.state()
    outcomes.append(
        (
            "learner process killed in mid-step",
            "the run stops and names it; `--resume` goes on",
            "nothing of the step kept",
        )
    )


def test_processes_that_find_no_room_say_what_they_wanted(quick_model: Path, tmp_path: Path) -> None:
    changes = {"train.processes": 2, "ray.learner_cpus": 64, "ray.start_timeout": 2}
    config = small_config(quick_model, tmp_path, changes)
    with pytest.raises(LearnerError, match=r"2 learner processes did not .* each wants 64 CPU, 0 GPU, the cluster has"):
        open_distributed(config, 1, build)


# Whole runs ---------------------------------------------------------------------------------------------------------

RUN = {"train.steps": 3, "eval.every": 0, "rollout.max_staleness": 1, "reader.type": "lexical"}


def run(model: Path, folder: Path, processes: int, *, resume: bool = False, until: int | None = None) -> None:
    """A run, stopped after the step `until`; with two processes, by the death of one in the step after it."""
    changes = {**RUN, "train.processes": processes, "ray.learner_cpus": 0.5, "train.micro_batch_tokens": 512}
    trainer = Trainer(small_config(model, folder, changes), name="small", resume=resume, console=quiet())
    learner, step = trainer.learner, trainer.learner.step

    def stopped(samples: Any, progress: Any) -> dict[str, float]:
        if trainer.step == until:
            if not isinstance(learner, DistributedLearner):
                raise KeyboardInterrupt
            os.kill(learner.team.members[1].pid, signal.SIGKILL)
        return step(samples, progress)

    learner.step = stopped  # type: ignore[method-assign,assignment]
    pids = [member.pid for member in learner.team.members] if isinstance(learner, DistributedLearner) else []
    try:
        trainer.run()
        assert until is None
    except (KeyboardInterrupt, LearnerError):
        assert until is not None
    wait_for_end(pids)


def check_rows(folder: Path, expected: Path) -> None:
    for found, row in zip(rows(folder), rows(expected), strict=True):
        for name in row.keys() - {"tokens/learner_padded"}:
            assert found[name] == pytest.approx(row[name], rel=1e-3, abs=1e-4), name


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(quick_model: Path, tmp_path: Path) -> None:
    run(quick_model, tmp_path / "whole", 1)
    run(quick_model, tmp_path / "first", 2, until=1)
    run(quick_model, tmp_path / "first", 1, resume=True)
    check_rows(tmp_path / "first", tmp_path / "whole")
    run(quick_model, tmp_path / "then", 1, until=1)
    run(quick_model, tmp_path / "then", 2, resume=True)
    check_rows(tmp_path / "then", tmp_path / "whole")
    assert all(row["advantage/samples"] > 0 for row in rows(tmp_path / "whole")[1:])
