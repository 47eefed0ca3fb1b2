"""The engine of a policy: of this process, or of a server that has the policy.

Those that open an engine are given the whole config, as a plug-in's is: what an engine is made of only it knows.
"""

from __future__ import annotations

from typing import Any

from memrl.config import Config
from memrl.config.registries import ENGINES
from memrl.engines.adapters import versions_held
from memrl.engines.endpoint_engine import EndpointEngine, Served
from memrl.engines.engine import Engine
from memrl.engines.models import end_ids, load_model
from memrl.errors import ConfigError
from memrl.packages import extra_of


def open_engine(config: Config, tokenizer: Any, served: Served | None = None) -> Engine:
    """The engine of a policy: of this process, or of the server that has it.

    Raises:
        ConfigError, EngineError: as `build_engine`; or the server's key is not in the environment.
    """
    ends = end_ids(config.model, tokenizer)
    return build_engine(config, ends) if served is None else EndpointEngine(served, tokenizer, ends)


def build_engine(config: Config, ends: list[int]) -> Engine:
    """Open the engine that `rollout.engine` names.

    Args:
        ends: ids that end a turn.

    Raises:
        ConfigError: the model cannot be used, or vLLM is not there.
        EngineError: vLLM did not start.
        PluginError: the engine is somebody else's, and cannot be imported or called.
    """
    try:
        engine: Engine = ENGINES.get(config.rollout.engine)(config, ends, versions_held(config.rollout))
    except ModuleNotFoundError as error:
        if (remedy := extra_of(error)) is None:
            raise
        raise ConfigError(f"rollout.engine={config.rollout.engine} computes here, and {remedy}") from error
    return engine


def open_transformers(config: Config, ends: list[int], keep_versions: int) -> Engine:
    """Open the engine `transformers`; torch waits until here, for who asks a server needs none."""
    from memrl.engines.guide import open_guide
    from memrl.engines.transformers_engine import TransformersEngine

    rollout = config.rollout
    guide = open_guide(config)
    return TransformersEngine(
        load_model(config.model),
        ends,
        max_batch=rollout.max_batch,
        max_batch_tokens=rollout.max_batch_tokens,
        keep_versions=keep_versions,
        share_prefixes=rollout.share_prefixes,
        merge=rollout.merge_adapters and config.model.dtype == "float32",  # else rounding eats small updates
        guide=guide,
    )


def open_vllm(config: Config, ends: list[int], keep_versions: int) -> Engine:
    """Open the engine `vllm`."""
    from memrl.engines.guide import open_guide
    from memrl.engines.vllm_engine import VllmEngine
    from memrl.engines.vllm_thread import start_vllm

    guide = open_guide(config)
    vllm = start_vllm(
        model=config.model,
        rollout=config.rollout,
        reader=config.reader,
        vllm=config.vllm,
        keep_versions=keep_versions,
    )
    return VllmEngine(vllm, ends, keep_versions=keep_versions, grammar=None if guide is None else guide.grammar)
