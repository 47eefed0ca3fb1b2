"""What the orchestration costs: a simulated engine of a fixed time per token, everything else real, on 1 to 64 workers.

    .venv/bin/python benchmarks/orchestration.py --workers 1 4 16 64 --seconds-per-token 0.25

Prints one JSON line for each number of workers: episodes a second against the ideal (episodes in flight divided by the
time that one spends in the engine), and the CPU time per episode in the driver and in the workers. Where workers times
in-flight episodes ask for more CPU than the machine has, the share of the ideal falls; `cores_busy` says when.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import re
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from memrl.config import Config, load_config
from memrl.data.feed import StreamFeed
from memrl.engines.engine import ANYWHERE, Place, Sampling
from memrl.records import AdapterRef, Completion, Episode
from memrl.rollout.build import open_ray_pool, open_worker
from memrl.rollout.worker import RolloutWorker
from memrl.storage.files import write_manifest

CALL = (
    '<tool_call>\n{"name": "memory_insert", "arguments": {"memory_type": "semantic", "content": "Ada lives in Paris."}}'
    "\n</tool_call>"
)


class SimulatedEngine:
    """An engine that writes the same completion each time, and takes its time."""

    def __init__(self, written: list[int], seconds_per_token: float) -> None:
        self._written = written
        self._seconds_per_token = seconds_per_token

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        place: Place = ANYWHERE,
    ) -> Completion:
        ids = self._written[: sampling.max_tokens]
        await asyncio.sleep(self._seconds_per_token * len(ids))
        version = adapter.version if adapter else None
        return Completion(ids=ids, logprobs=[-0.1] * len(ids), stop="stop", version=version)

    async def load_adapter(self, ref: AdapterRef) -> None: ...

    async def score(self, *_: Any) -> list[float]:
        return []

    async def sleep(self) -> None: ...

    async def wake(self) -> None: ...

    def close(self) -> None: ...


def build(config: Config, seconds_per_token: float) -> RolloutWorker:
    """A worker whose engine only takes its time. Without torch: 64 copies of it would fill the memory."""
    from transformers import AutoTokenizer

    from memrl.config.shipped import TINY_MODEL

    tokenizer: Any = AutoTokenizer.from_pretrained(TINY_MODEL)
    written = [*tokenizer.encode(CALL, add_special_tokens=False), tokenizer.eos_token_id]
    return open_worker(config, SimulatedEngine(written, seconds_per_token), tokenizer)


def engine_seconds(episode: Episode, seconds_per_token: float) -> float:
    """How long an episode is in the engine: its steps one after another, then its questions together."""
    steps = sum(len(step.completion.ids) for step in episode.steps)
    return seconds_per_token * (steps + max(answer.completion_tokens for answer in episode.answers))


def cpu_seconds(pids: Sequence[int]) -> float:
    """CPU time that processes have used so far."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(workers: int, in_flight: int, rounds: int, seconds_per_token: float) -> dict[str, object]:
    """Play `rounds` times as many episodes as are in flight at once."""
    group = 8
    per_worker = max(1, in_flight // workers)
    in_flight = per_worker * workers
    settings = {
        "rollout.workers": workers,
        "rollout.max_batch": per_worker,
        "train.group_size": group,
        "ray.worker_cpus": 0.01,
        "ray.start_timeout": 600,
        "ray.hang_grace": 300,
        "rollout.step_timeout": 3600,
        "rollout.episode_timeout": 3600,
    }
    config = load_config("tiny", [f"{key}={value}" for key, value in settings.items()])
    streams = StreamFeed(config.data.train, None, 0).take(max(1, rounds * in_flight // group))
    began = time.monotonic()
    pool = open_ray_pool(config, partial(build, seconds_per_token=seconds_per_token))
    try:
        pool.run(pool._members._wait_for(lambda: len(pool.workers()) == workers))
        start_up = time.monotonic() - began
        with TemporaryDirectory() as name:
            folder = Path(name)
            write_manifest(folder)
            adapter = AdapterRef(0, "v00000", str(folder))
            pool.load_adapter(adapter)
        pool.run(pool.play_groups(streams[: max(1, workers // group)], adapter, step=0, first=0))  # warm
        pids = [int(re.findall(r"pid (\d+)", where)[0]) for where in pool.workers()]
        driver, others, began = time.process_time(), cpu_seconds(pids), time.monotonic()
        groups = pool.run(pool.play_groups(streams, adapter, step=1, first=0))
        wall = time.monotonic() - began
        driver, others = time.process_time() - driver, cpu_seconds(pids) - others
    finally:
        pool.close()
    episodes = [episode for each in groups for episode in each.episodes]
    seconds = sum(engine_seconds(episode, seconds_per_token) for episode in episodes) / len(episodes)
    ideal = in_flight / seconds
    return {
        "workers": workers,
        "in_flight": in_flight,
        "episodes": len(episodes),
        "engine_seconds_per_episode": round(seconds, 2),
        "episodes_per_second": round(len(episodes) / wall, 2),
        "ideal": round(ideal, 2),
        "share_of_ideal": round(len(episodes) / wall / ideal, 3),
        "driver_cpu_ms_per_episode": round(1000 * driver / len(episodes), 2),
        "worker_cpu_ms_per_episode": round(1000 * others / len(episodes), 2),
        "cores_busy": round((driver + others) / wall, 2),
        "start_up_seconds": round(start_up, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4, 16, 64])
    parser.add_argument("--per-worker", type=int, default=16, help="episodes in flight on each (default 16)")
    parser.add_argument("--most", type=int, default=1000, help="episodes in flight at most (default 1000)")
    parser.add_argument("--rounds", type=int, default=3, help="how often every place is filled (default 3)")
    parser.add_argument("--seconds-per-token", type=float, default=0.05, help="of the simulated engine (default 0.05)")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    for workers in arguments.workers:
        in_flight = min(arguments.most, workers * arguments.per_worker)
        found = measure(workers, in_flight, arguments.rounds, arguments.seconds_per_token)
        print(json.dumps(found), flush=True)
    print(json.dumps({"machine": platform.platform(), "cpus": os.cpu_count(), "date": time.strftime("%Y-%m-%d")}))


if __name__ == "__main__":
    main()
