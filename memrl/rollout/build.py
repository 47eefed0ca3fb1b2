"""The worker of a configuration, and the pool: the same worker class in this process and on a Ray cluster (law 10)."""

from __future__ import annotations

from memrl.config import Config
from memrl.engines.build import open_engine
from memrl.engines.models import load_tokenizer
from memrl.rollout.pool import InProcessPool, Pool
from memrl.rollout.worker import RolloutWorker


def build_worker(config: Config) -> RolloutWorker:
    """A worker with an engine of its own.

    Raises:
        ConfigError: the model cannot be used.
    """
    tokenizer = load_tokenizer(config)
    return RolloutWorker(config, open_engine(config, tokenizer), tokenizer)


def open_pool(config: Config) -> Pool:
    """The pool that `rollout.workers` asks for.

    Raises:
        ConfigError: the model cannot be used.
        EngineError: no Ray worker came up.
    """
    if config.rollout.workers == 0:
        return InProcessPool(config, build_worker(config))
    from memrl.rollout.ray_pool import RayPool

    return RayPool(config, build_worker)
