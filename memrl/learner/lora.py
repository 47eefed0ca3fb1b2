"""The trainable part of the policy: LoRA matrices around a frozen base model. No dropout anywhere, seeded.

Sampling has no dropout, so training must have none: a dropped unit would make the learner score another policy than the
one that sampled.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel

from memrl.config import LoraConfig as LoraSettings
from memrl.engines.models import portable_name
from memrl.errors import ConfigError
from memrl.storage.files import write_json_atomic


def wrap_lora(model: PreTrainedModel, settings: LoraSettings, seed: int) -> PeftModel:
    """Wrap `model` IN PLACE. The same seed gives the same matrices; the global generators are left as they were."""
    targets = settings.target_modules.strip()
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=targets if targets == "all-linear" else [name.strip() for name in targets.split(",")],
    )
    tied = _tied_and_named(model, config.target_modules)
    if tied:
        raise ConfigError(
            f"model.lora.target_modules names {tied!r}, whose weights {type(model).__name__} shares with its input "
            "embeddings: merged for an export, the adapter would change those too. Leave it out (all-linear does)."
        )
    without_dropout(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        try:
            wrapped = get_peft_model(model, config)
        except ValueError as error:
            raise ConfigError(f"model.lora cannot be applied to {type(model).__name__}: {error}") from error
    return cast(PeftModel, wrapped)


def write_lora(wrapped: PeftModel, folder: Path) -> None:
    """Write an adapter in peft's format: the same matrices as the same bytes, and nothing of this machine.

    peft writes sets in an order that changes from process to process, and the base model as the path that it has here.
    """
    # "auto" would look the base model up on the hub to see whether its vocabulary grew
    wrapped.save_pretrained(str(folder), save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)  # a form to fill in, which names the path too
    file = folder / "adapter_config.json"
    told = json.loads(file.read_text(encoding="utf-8"))
    for name, value in told.items():
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            told[name] = sorted(value)
    told["base_model_name_or_path"] = portable_name(str(told.get("base_model_name_or_path") or ""))
    write_json_atomic(file, dict(sorted(told.items())))


def _tied_and_named(model: PreTrainedModel, targets: Any) -> str:
    """Return the output layer's name where it is a target and its weights are the input embeddings'; else nothing."""
    output = model.get_output_embeddings()
    if output is None or isinstance(targets, str) or output.weight is not model.get_input_embeddings().weight:
        return ""
    name = next((name for name, module in model.named_modules() if module is output), "")
    return name if any(name == target or name.endswith(f".{target}") for target in targets) else ""


def without_dropout(model: nn.Module) -> None:
    """Set every dropout in `model` to 0; train() mode is then free of randomness."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        elif isinstance(getattr(module, "attention_dropout", None), float):
            cast(Any, module).attention_dropout = 0.0


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Recompute each layer's activations in the backward pass instead of keeping them."""
    # transformers 5.23 renamed it and warns about the old name; 5.17 knows only the old one.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise ConfigError(f"train.gradient_checkpointing: {error}") from error
    cast(Any, model).enable_input_require_grads()
