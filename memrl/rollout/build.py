"""The worker of a configuration, and the pool: the same worker class in this process and on a Ray cluster (law 10)."""

from __future__ import annotations

from memrl.config import Config
from memrl.models import end_ids, load_model, load_tokenizer
from memrl.rollout.pool import InProcessPool, Pool
from memrl.rollout.transformers_engine import TransformersEngine
from memrl.rollout.worker import RolloutWorker


def build_worker(config: Config) -> RolloutWorker:
    """A worker with an engine of its own.

    Raises:
        ConfigError: the model cannot be used.
    """
    tokenizer = load_tokenizer(config)
    base = load_model(config)
    engine = TransformersEngine(
        base,
        end_ids(tokenizer, base),
        max_batch=config.rollout.max_batch,
        keep_versions=config.rollout.max_staleness + 2,
    )
    return RolloutWorker(config, engine, tokenizer)


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
