"""A model without its weights: what can be known of it from its config alone, before anything is downloaded."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from memrl.config import ModelConfig
from memrl.engines.models import model_path
from memrl.errors import ConfigError
from memrl.learner.lora import wrap_lora

_CACHES = {"past_key_values", "cache_params"}


def outline(config: ModelConfig, shape: Mapping[str, Any]) -> PreTrainedModel:
    """Return a model on the meta device: its layers and their shapes, and no memory.

    Args:
        shape: its config.json, where the model is not on this disk.

    Raises:
        ConfigError: transformers knows no such causal language model.
    """
    path = Path(model_path(config))
    try:
        if path.is_dir():
            described = AutoConfig.from_pretrained(path, trust_remote_code=False)
        else:
            described = AutoConfig.for_model(**shape)
        with torch.device("meta"):
            model: PreTrainedModel = AutoModelForCausalLM.from_config(
                described, trust_remote_code=False, dtype=getattr(torch, config.dtype)
            )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ConfigError(f"model.path {config.path!r}: {' '.join(str(error).split())[:300]}") from error
    return model


def check_outline(config: ModelConfig, shape: Mapping[str, Any], engine: str) -> int:
    """Return how many parameters `model.lora` trains, tried on a model without weights.

    Args:
        shape: as for `outline`.
        engine: `rollout.engine`.

    Raises:
        ConfigError: the model is not known, `model.lora` cannot be applied to it, or it takes no cache.
    """
    model = outline(config, shape)
    if engine == "transformers" and not _CACHES & set(inspect.signature(model.forward).parameters):
        raise ConfigError(
            f"rollout.engine=transformers cannot sample from {type(model).__name__}: it takes no cache. Use "
            "rollout.engine=vllm if vLLM has this architecture, or another model."
        )
    wrapped = wrap_lora(model, config.lora, seed=0)
    return sum(parameter.numel() for parameter in wrapped.parameters() if parameter.requires_grad)
