"""The engine of a policy: of this process, or of a server that has the policy.

Those that open an engine are given the whole config, as a plug-in's is: what an engine is made of only it knows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from memrl.config import Config
from memrl.config.registries import ENGINES
from memrl.engines.adapters import versions_held
from memrl.engines.endpoint_engine import EndpointEngine, Served
from memrl.engines.engine import Engine
from memrl.engines.models import end_ids, load_model, load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.envs.dialects.guided import Guided
from memrl.envs.searching import with_search
from memrl.envs.wrappers import open_design
from memrl.errors import ConfigError
from memrl.packages import extra_of

if TYPE_CHECKING:
    from memrl.engines.guide import Guide


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


def open_guide(config: Config) -> Guide | None:
    """Return what holds the policy's completions to the calls of its dialect and design; None without
    `rollout.guided`.

    Raises:
        ConfigError: the dialect's calls are no JSON, or the model thinks first, or as `Guide`.
        PluginError: the dialect or the design is unknown, or somebody else's and cannot be imported or called.
    """
    if config.rollout.guided == "off":
        return None
    from memrl.engines.guide import Guide

    tokenizer = load_tokenizer(config.model)
    prompter = open_prompter(tokenizer, config.rollout.dialect)
    if not isinstance(prompter.dialect, Guided):
        raise ConfigError(
            f"rollout.guided=json, and the calls of rollout.dialect={prompter.dialect.name} are no JSON. Use "
            "rollout.guided=off, or a dialect that writes JSON: hermes, llama_json, mistral."
        )
    if prompter.form.thinking:
        raise ConfigError(
            "rollout.guided=json, and the chat template begins the answer with a thought, of which no grammar is "
            "known. Use rollout.guided=off, or a model that does not think."
        )
    memory = config.memory
    tools = open_design(memory.design, memory.wrappers)(memory.budget, memory.core_budget, len).tools
    offered = with_search(tools, config.rollout.max_turns)
    return Guide(tokenizer, prompter.dialect.grammar(offered, memory.max_calls))


def open_transformers(config: Config, ends: list[int], keep_versions: int) -> Engine:
    """Open the engine `transformers`; torch waits until here, for who asks a server needs none."""
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
