"""The worker of a configuration, and the pool: the same worker class in this process and on a Ray cluster (law 10)."""

from __future__ import annotations

from typing import Any

from memrl.config import Config
from memrl.models import end_ids, load_model, load_tokenizer
from memrl.rollout.endpoint_engine import EndpointEngine, Served
from memrl.rollout.engine import Engine
from memrl.rollout.pool import InProcessPool, Pool
from memrl.rollout.transformers_engine import TransformersEngine
from memrl.rollout.worker import RolloutWorker


def build_worker(config: Config) -> RolloutWorker:
    """A worker with an engine of its own.

    Raises:
        ConfigError: the model cannot be used.
    """
    tokenizer = load_tokenizer(config)
    return RolloutWorker(config, open_engine(config, tokenizer), tokenizer)


def open_engine(config: Config, tokenizer: Any, served: Served | None = None) -> Engine:
    """The engine of a policy: of this process, or of the server that has it.

    Raises:
        ConfigError, EngineError: as `build_engine`; or the server's key is not in the environment.
    """
    ends = end_ids(config, tokenizer)
    return build_engine(config, ends) if served is None else EndpointEngine(served, tokenizer, ends)


def build_engine(config: Config, ends: list[int]) -> Engine:
    """The engine that `rollout.engine` names.

    Args:
        ends: ids that end a turn.

    Raises:
        ConfigError: the model cannot be used, or vLLM is not there.
        EngineError: vLLM did not start.
    """
    # The version being sampled from, those that rollouts ahead of the learner may still use, and the next one.
    keep = config.rollout.max_staleness + 2
    if config.rollout.engine == "vllm":
        from memrl.rollout.vllm_engine import VllmEngine
        from memrl.rollout.vllm_thread import start_vllm

        return VllmEngine(start_vllm(config, keep_versions=keep), ends, keep_versions=keep)
    return TransformersEngine(load_model(config), ends, max_batch=config.rollout.max_batch, keep_versions=keep)


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
