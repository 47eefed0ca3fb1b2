"""Rollouts on Ray: real actors, real faults. MEMRL_WRITE_DOCS=1 writes the outcomes into docs/reliability.md."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
from ray.cluster_utils import Cluster

import memrl.rollout.build
from memrl.config import Config, MemoryConfig, load_config
from memrl.data.feed import StreamFeed
from memrl.engines.engine import Place
from memrl.envs.stream import Stream
from memrl.errors import ConfigError, EngineError
from memrl.learner.build import build_learner
from memrl.records import AdapterRef, Completion, Episode, Group, Step
from memrl.rollout.build import build_worker, open_pool, open_ray_pool
from memrl.rollout.pool import Play, Pool
from memrl.rollout.ray_pool import RayPool
from memrl.rollout.worker import RolloutWorker, request_seed
from memrl.storage.files import MANIFEST
from memrl.storage.rundir import EpisodeWriter
from memrl.training.trainer import Trainer
from tests.support import ROOT, Outcomes, counted, overrides, perturb, quiet, rows, small_config

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests
STREAMS = 3
WORKERS = {"rollout.workers": 2, "ray.worker_cpus": 0.5, "reader.type": "lexical", "rollout.episode_timeout": 120.0}


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A head that most tests share; nodes of its own are added and removed by the test that kills one."""
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=started.address, log_to_driver=False)
    yield started
    ray.shutdown()
    started.shutdown()


def slowed(config: Config, seconds: float = 0.5) -> RolloutWorker:
    """A real worker that takes its time, so that a fault strikes in mid-episode."""
    worker = build_worker(config)
    generate = worker.engine.generate

    async def slow(*request: Any, **more: Any) -> Completion:
        await asyncio.sleep(seconds)
        return await generate(*request, **more)

    worker.engine.generate = slow  # type: ignore[method-assign]
    return worker


def start(
    model: Path,
    folder: Path,
    build: Callable[[Config], RolloutWorker] = slowed,
    *,
    stirred: bool = True,
    **changes: Any,
) -> tuple[RayPool, AdapterRef, list[Stream]]:
    """A pool with a published adapter, and what it is to play. Unless it is `stirred`, the adapter does nothing."""
    config = small_config(model, folder, {**WORKERS, **{key.replace("__", "."): v for key, v in changes.items()}})
    pool = open_ray_pool(config, build)
    adapter = publish(config, folder, stirred=stirred)
    pool.load_adapter(adapter)
    return pool, adapter, StreamFeed(config.data.train, None, 0).take(STREAMS)


def publish(config: Config, folder: Path, version: int = 0, *, stirred: bool = True) -> AdapterRef:
    learner = build_learner(config, 1)
    if stirred:
        perturb(learner.peft_model, version)
    learner.version = version
    return learner.publish(folder / "adapters")


def pids(pool: RayPool) -> list[int]:
    return [int(where.split()[1]) for where in pool.workers()]


def later(seconds: float, pid: int, sign: signal.Signals) -> None:
    threading.Timer(seconds, os.kill, (pid, sign)).start()


def wait_for_cpus(count: float) -> None:
    """Until the cluster has seen which nodes are gone."""
    deadline = time.monotonic() + 60
    while ray.cluster_resources().get("CPU") != count:
        assert time.monotonic() < deadline
        time.sleep(0.2)


def check_complete(groups: list[Group], pool: Pool, adapter: AdapterRef) -> None:
    """Every episode once, with its own seed and the version that was asked for."""
    size = pool.group_size
    for number, group in enumerate(groups):
        assert [episode.index for episode in group.episodes] == list(range(size))
        assert [episode.seed for episode in group.episodes] == [
            request_seed(pool.seed, 1, number, index) for index in range(size)
        ]
        assert all(step.completion.version == adapter.version for e in group.episodes for step in e.steps)
        assert group.failures == []


def sampled(step: Step) -> list[list[int]]:
    """The ids of a step's completion, and of its re-roll."""
    [other] = step.rerolls
    return [step.completion.ids, other.completion.ids]


@pytest.mark.usefixtures("cluster")
def test_the_memory_of_a_stage_travels_with_the_request(tmp_path: Path) -> None:
    """By the embedded model, which does store what it reads: more than a memory of 8 tokens takes."""
    pool, adapter, streams = start(
        Path("tiny"), tmp_path, build_worker, stirred=False, rollout__max_completion_tokens=48
    )
    try:

        def held(memory: MemoryConfig | None) -> list[int]:
            groups = pool.run(pool.play_groups(streams, adapter, step=1, first=0, memory=memory))
            check_complete(groups, pool, adapter)
            return [episode.memory_tokens for group in groups for episode in group.episodes]

        small = replace(load_config("tiny").memory, budget=8, core_budget=4)
        assert max(held(small)) <= 8 < max(held(None))
        assert max(held(small)) <= 8, "and the next request has its own"
    finally:
        pool.close()


@pytest.mark.usefixtures("cluster")
def test_ray_plays_what_one_process_plays(quick_model: Path, tmp_path: Path) -> None:
    mode = {"advantage.mode": "reroll", "advantage.rerolls": 1}
    pool, adapter, streams = start(quick_model, tmp_path, **mode)
    alone = open_pool(small_config(quick_model, tmp_path, {"reader.type": "lexical", **mode}))
    try:
        alone.load_adapter(adapter)
        groups = pool.run(pool.play_groups(streams, adapter, step=1, first=0))
        check_complete(groups, pool, adapter)
        expected = alone.run(alone.play_groups(streams, adapter, step=1, first=0))
        # The same seeds give the same episodes; only the rounding of other batches may tip a draw.
        same = [
            [sampled(step) for step in one.steps] == [sampled(step) for step in other.steps]
            for mine, theirs in zip(groups, expected, strict=True)
            for one, other in zip(mine.episodes, theirs.episodes, strict=True)
        ]
        assert sum(same) >= 0.9 * len(same)
        assert pool.ceiling(streams) == alone.ceiling(streams)
        step = groups[0].episodes[0].steps[0]
        [want] = alone.score(step.prompt_ids, step.completion.ids, adapter)
        scores = pool.score(step.prompt_ids, step.completion.ids, adapter)
        assert len(scores) == 2
        assert all(found == pytest.approx(want, abs=1e-5) for found in scores)
    finally:
        pool.close()
        alone.close()


@pytest.mark.usefixtures("cluster")
def test_a_worker_killed_in_mid_episode_is_replaced_and_its_episodes_are_played_again(
    quick_model: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    pool, adapter, streams = start(quick_model, tmp_path)
    try:
        before = pids(pool)
        later(0.7, before[0], signal.SIGKILL)
        check_complete(pool.run(pool.play_groups(streams, adapter, step=1, first=0)), pool, adapter)
        assert pool.counts["workers"] == 1
        assert 1 <= pool.counts["retries"] <= STREAMS * pool.group_size
        # The one in its place has the adapter, and joins as soon as it is up.
        deadline = time.monotonic() + 60
        while len(pids(pool)) < 2 and time.monotonic() < deadline:
            check_complete(pool.run(pool.play_groups(streams[:1], adapter, step=1, first=0)), pool, adapter)
        assert len(pids(pool)) == 2
        assert before[0] not in pids(pool)
        outcomes.append(
            ("worker killed in mid-episode (SIGKILL)", "played again on the other; a new worker joins", counted(pool))
        )
    finally:
        pool.close()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_worker_that_hangs_is_ended_when_its_episodes_run_out_of_time(
    quick_model: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    pool, adapter, streams = start(quick_model, tmp_path, rollout__episode_timeout=8.0, ray__hang_grace=3.0)
    try:
        hung = pids(pool)[0]
        later(0.7, hung, signal.SIGSTOP)
        check_complete(pool.run(pool.play_groups(streams, adapter, step=1, first=0)), pool, adapter)
        assert pool.counts["workers"] == 1
        assert hung not in pids(pool)
        outcomes.append(
            (
                "worker hangs (SIGSTOP)",
                "after `rollout.episode_timeout` it is asked, after `ray.hang_grace` replaced; played again",
                counted(pool),
            )
        )
    finally:
        with suppress(ProcessLookupError):  # the pool has ended it
            os.kill(hung, signal.SIGKILL)
        pool.close()


@pytest.mark.slow
def test_a_node_that_dies_takes_no_episode_along(
    cluster: Cluster, quick_model: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    wait_for_cpus(2.0)
    node = cluster.add_node(num_cpus=2)
    wait_for_cpus(4.0)
    # One worker a node; then only the head has room for the second. A worker outlives its raylet by a second or two,
    # so the episodes take longer than that.
    slower = partial(slowed, seconds=3.0)
    pool, adapter, streams = start(quick_model, tmp_path, slower, ray__placement="any", ray__worker_cpus=1.0)
    try:
        nodes = {where.split()[-1] for where in pool.workers()}
        assert len(nodes) == 2
        threading.Timer(0.7, cluster.remove_node, (node,), {"allow_graceful": False}).start()
        check_complete(pool.run(pool.play_groups(streams, adapter, step=1, first=0)), pool, adapter)
        assert pool.counts["workers"] == 1
        assert len({where.split()[-1] for where in pool.workers()}) == 1
        outcomes.append(("node's raylet killed", "its episodes are played again on the other node", counted(pool)))
    finally:
        pool.close()


@pytest.mark.slow
def test_a_worker_joins_when_there_is_room_for_it(
    cluster: Cluster, quick_model: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    # Two workers want two CPUs each; the head has two.
    wait_for_cpus(2.0)
    pool, adapter, streams = start(quick_model, tmp_path, ray__worker_cpus=2.0)
    node = None
    try:
        assert len(pids(pool)) == 1
        check_complete(pool.run(pool.play_groups(streams[:1], adapter, step=1, first=0)), pool, adapter)
        node = cluster.add_node(num_cpus=2)
        deadline = time.monotonic() + 60
        while len(pids(pool)) < 2 and time.monotonic() < deadline:
            check_complete(pool.run(pool.play_groups(streams[:1], adapter, step=1, first=0)), pool, adapter)
        assert len({where.split()[-1] for where in pool.workers()}) == 2
        assert pool.counts["workers"] == 0
        outcomes.append(
            ("no room for a worker; later a node joins", "the others play; the worker joins in mid-run", "nothing lost")
        )
    finally:
        pool.close()
        if node is not None:
            cluster.remove_node(node)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_damaged_adapter_is_refused_and_the_last_good_one_still_plays(
    quick_model: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    pool, adapter, streams = start(quick_model, tmp_path)
    try:
        broken = publish(small_config(quick_model, tmp_path), tmp_path, version=1)
        weights = Path(broken.path) / "adapter_model.safetensors"
        weights.write_bytes(weights.read_bytes()[:-100])
        with pytest.raises(EngineError, match=r"'v00001' at .* is damaged: adapter_model.safetensors is not what was"):
            pool.load_adapter(broken)
        check_complete(pool.run(pool.play_groups(streams, adapter, step=1, first=0)), pool, adapter)
        with pytest.raises(EngineError, match=r"is damaged: manifest\.json is missing"):
            (Path(broken.path) / MANIFEST).unlink()
            pool.load_adapter(broken)
        outcomes.append(
            (
                "adapter file truncated",
                "the run stops and names the file; `--resume` publishes it again",
                "nothing lost",
            )
        )
    finally:
        pool.close()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_new_versions_reach_every_worker_of_a_placement_group(quick_model: Path, tmp_path: Path) -> None:
    pool, first, streams = start(quick_model, tmp_path, ray__placement="strict_pack")
    try:
        step = pool.run(pool.play_groups(streams[:1], first, step=1, first=0))[0].episodes[0].steps[0]
        seen = []
        for version in (1, 2, 3):
            adapter = publish(small_config(quick_model, tmp_path), tmp_path, version)
            pool.load_adapter(adapter)
            check_complete(pool.run(pool.play_groups(streams[:1], adapter, step=1, first=0)), pool, adapter)
            one, other = pool.score(step.prompt_ids, step.completion.ids, adapter)
            assert one == pytest.approx(other, abs=1e-5)
            seen.append(one[0])
        assert len({round(score, 4) for score in seen}) == 3
    finally:
        pool.close()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_what_no_worker_can_do_is_said_at_once(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path, {**WORKERS, "ray.worker_cpus": 64, "ray.start_timeout": 2})
    with pytest.raises(EngineError, match=r"0 of 2 rollout workers .* each wants 64 CPU, 0 GPU, the cluster has 2 CPU"):
        open_ray_pool(config, build_worker)
    config.ray.worker_cpus, config.ray.start_timeout = 0.5, 300.0
    config.model.path = str(tmp_path)
    with pytest.raises(ConfigError, match=r"it has no config\.json"):
        open_ray_pool(config, build_worker)


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_run_survives_a_lost_worker_and_says_so(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outcomes: Outcomes
) -> None:
    monkeypatch.setattr(memrl.rollout.build, "build_worker", slowed)
    config = small_config(quick_model, tmp_path / "run", {**WORKERS, "train.steps": 2, "eval.every": 0})
    trainer = Trainer(config, name="small", resume=False, console=quiet())
    play, killed = trainer.pool.play_groups, []

    def struck(*what: Any, step: int, **more: Any) -> Any:
        if not killed:  # a step whose groups teach nothing plays further ones
            assert isinstance(trainer.pool, RayPool)
            killed.append(pids(trainer.pool)[0])
            later(0.7, killed[0], signal.SIGKILL)
        return play(*what, step=step, **more)

    monkeypatch.setattr(trainer.pool, "play_groups", struck)
    summary = trainer.run()
    first, second = rows(tmp_path / "run")[1:]
    assert first["fail/workers"] == 1
    assert first["fail/retries"] >= 1
    assert second["fail/workers"] == second["fail/retries"] == 0
    assert first["fail/episodes"] == second["fail/episodes"] == 0
    episodes = [EpisodeWriter(tmp_path / "run" / "episodes").read(step) for step in (1, 2)]
    places = [(step, e.stream_id, e.index) for step, played in enumerate(episodes) for e in played]
    assert len(places) == len(set(places)) == summary["episodes"]
    outcomes.append(
        (
            "worker killed during a training run",
            "the run ends as if nothing had been; `fail/workers`, `fail/retries` say so",
            f"{first['fail/workers']:.0f} worker lost, {first['fail/retries']:.0f} episodes played again, 0 removed",
        )
    )


@pytest.mark.parametrize("policy", ["retry", "min_viable", "fail_fast"])
def test_what_a_failure_leads_to_is_a_setting(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, policy: str
) -> None:
    config = small_config(quick_model, tmp_path, {"rollout.on_failure": policy, "reader.type": "lexical"})
    pool, adapter = open_pool(config), publish(config, tmp_path)
    pool.load_adapter(adapter)
    streams = StreamFeed(config.data.train, None, 0).take(2)
    attempt, failed = pool._attempt, []

    async def once(play: Play, ref: AdapterRef) -> Episode:
        if play.place == Place(1, 0, 1) and not failed:
            failed.append(play)
            raise EngineError("the engine stumbled")
        return await attempt(play, ref)

    monkeypatch.setattr(pool, "_attempt", once)
    try:
        if policy == "fail_fast":
            with pytest.raises(EngineError, match=r"episode 1 failed, and rollout.on_failure is fail_fast: .*stumbled"):
                pool.run(pool.play_groups(streams, adapter, step=1, first=0))
            return
        first, second = pool.run(pool.play_groups(streams, adapter, step=1, first=0))
        check_complete([first, second] if policy == "retry" else [], pool, adapter)
        assert pool.counts["retries"] == (policy == "retry")
        if policy == "min_viable":
            assert [episode.index for episode in first.episodes] == [0, 2, 3]
            assert first.failures == ["EngineError: the engine stumbled"]
    finally:
        pool.close()


@pytest.mark.slow
def test_a_driver_that_is_killed_resumes_on_new_workers(quick_model: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    folder = tmp_path / "run"
    changes = {**WORKERS, "train.steps": 3, "eval.every": 0}
    command = [sys.executable, "-m", "memrl.cli", "train", "tiny", *overrides(quick_model, folder, changes)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    log = (tmp_path / "log").open("w")
    driver = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 120
        while not (folder / "checkpoints" / "step_00001").is_dir():
            assert driver.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        driver.kill()
        driver.wait()
    done = subprocess.run(
        [*command, "--resume"], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stderr
    found = rows(folder)
    assert [row["step"] for row in found] == [0, 1, 2, 3]
    assert all(row["fail/episodes"] == row["fail/workers"] == row["fail/retries"] == 0 for row in found[1:])
    assert all(row["canary/gap"] < 1e-4 for row in found[1:])
    counts = [row["episodes"] for row in found]
    assert counts == sorted(counts)
    assert len(set(counts)) == len(counts)
    outcomes.append(
        ("driver killed (SIGKILL), then `--resume`", "goes on after the last checkpoint on new workers", "nothing lost")
    )
