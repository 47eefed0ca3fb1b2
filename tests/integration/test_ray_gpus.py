"""Who gets which GPU, on Ray's word for GPUs that are not there: nothing is computed on them, but all are given out."""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import ray
import torch
from ray.cluster_utils import Cluster
from ray.train.torch import TorchConfig

import memrl.learner.process
import memrl.learner.team
from memrl.config import Config
from memrl.learner.build import build_learner, open_distributed
from memrl.learner.learner import Learner
from memrl.learner.peers import Peers
from memrl.rollout.build import open_ray_pool, open_worker
from memrl.rollout.worker import RolloutWorker
from tests.support import small_config

pytestmark = pytest.mark.slow
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests


@pytest.fixture(params=[(1, 8), (4, 8)], ids=["one node of 8", "4 nodes of 8"])
def nodes(request: pytest.FixtureRequest) -> Iterator[tuple[int, int]]:
    count, gpus = request.param
    head = {"num_cpus": 16, "num_gpus": gpus, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(count - 1):
        cluster.add_node(num_cpus=16, num_gpus=gpus)
    ray.init(address=cluster.address, log_to_driver=False)
    yield count, gpus
    ray.shutdown()
    cluster.shutdown()


def note(folder: Path, who: str) -> None:
    """Write down which GPUs this process was given."""
    told = {"who": who, "node": ray.get_runtime_context().get_node_id(), "gpus": ray.get_gpu_ids()}
    told["visible"] = os.environ.get("CUDA_VISIBLE_DEVICES")
    (folder / f"{who}-{os.getpid()}.json").write_text(json.dumps(told))


class NoEngine:
    """An engine that is never asked."""

    def close(self) -> None: ...


def worker(folder: Path, config: Config) -> RolloutWorker:
    from transformers import AutoTokenizer

    note(folder, "engine")
    engine: Any = NoEngine()
    return open_worker(config, engine, AutoTokenizer.from_pretrained(config.model.path))


def learner(folder: Path, config: Config, total_updates: int, peers: Peers) -> Learner:
    note(folder, "learner")
    return build_learner(config, total_updates, peers)


def on_cpu(given: dict[str, Any]) -> None:
    """The program of a learner process, which computes on the CPU whatever it was given."""
    memrl.learner.process.get_device = lambda: torch.device("cpu")
    memrl.learner.process.run_member(given)


@pytest.mark.parametrize(
    ("engines", "gpus_each", "learners"),
    [(7, 1, 1), (6, 1, 2), (3, 2, 2)],
    ids=["7 engines and a learner", "6 engines and 2 learners", "3 engines of 2 GPUs and 2 learners"],
)
def test_no_gpu_is_given_twice_and_none_is_left(
    nodes: tuple[int, int],
    engines: int,
    gpus_each: int,
    learners: int,
    quick_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    count, gpus = nodes
    if count > 1 and engines != 7:
        pytest.skip("many processes: one way of giving out is enough")
    engines += (count - 1) * gpus
    monkeypatch.setattr(memrl.learner.team, "TorchConfig", lambda backend: TorchConfig(backend="gloo"))  # no NCCL here
    monkeypatch.setattr(memrl.learner.team, "run_member", on_cpu)
    config = small_config(
        quick_model,
        tmp_path / "run",
        {
            "model.device": "auto",
            "rollout.workers": engines,
            "reader.type": "lexical",
            "ray.worker_cpus": 0.1,
            "ray.worker_gpus": gpus_each,
            "ray.learner_cpus": 0.1,
            "ray.learner_gpus": 1,
            "ray.start_timeout": 600,
            "train.processes": learners,
            "vllm.tensor_parallel_size": gpus_each,
        },
    )
    learning = open_distributed(config, 2, partial(learner, tmp_path))
    pool = open_ray_pool(config, partial(worker, tmp_path))
    try:
        pool.run(pool._members._wait_for(lambda: len(pool.workers()) == engines))
        until = time.monotonic() + 60
        while len(told := [json.loads(file.read_text()) for file in tmp_path.glob("*-*.json")]) < engines + learners:
            assert time.monotonic() < until, told
            time.sleep(0.5)
    finally:
        pool.close()
        learning.close()
    given = Counter((each["node"], int(gpu)) for each in told for gpu in each["gpus"])
    assert max(given.values()) == 1, "a GPU was given twice"
    assert len(given) == engines * gpus_each + learners == count * gpus, "GPUs are left"
    for each in told:
        assert len(each["gpus"]) == (gpus_each if each["who"] == "engine" else 1)
        if each["who"] == "engine":
            assert each["visible"] == ",".join(map(str, each["gpus"])), "it sees GPUs of others"
