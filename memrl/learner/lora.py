"""The trainable part of the policy: LoRA matrices around a frozen base model. No dropout anywhere, seeded.

Sampling has no dropout, so training must have none: a dropped unit would make the learner score another policy than the
one that sampled. Only what a text passes through is trained: no vision tower, and no layer whose weights a
model uses past the layer itself, where an adapter would do nothing here and something in another engine.
"""

from __future__ import annotations

import json
import re
from functools import partial
from pathlib import Path
from typing import Any, cast

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from memrl.config import LoraConfig as LoraSettings
from memrl.config.check import ALL_LINEAR
from memrl.engines.models import portable_name
from memrl.errors import ConfigError
from memrl.storage.files import write_json_atomic

_UNTRAINABLE = {"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"}
"""Kinds of model on whose `out_proj` peft takes no adapter, since kernels use its weights past the layer."""


def wrap_lora(model: PreTrainedModel, settings: LoraSettings, seed: int) -> PeftModel:
    """Wrap `model` IN PLACE, and leave it in evaluation mode. The same seed gives the same matrices; the global
    generators are left as they were.

    Raises:
        ConfigError: `model.lora.target_modules` cannot be trained in this model.
    """
    targets = settings.target_modules.strip()
    config = LoraConfig(
        r=settings.rank,
        lora_alpha=settings.alpha,
        lora_dropout=0.0,
        bias="none",
        task_type="CAUSAL_LM",
        target_modules=targets if targets == ALL_LINEAR else [name.strip() for name in targets.split(",")],
    )
    tied = _tied_and_named(model, config.target_modules)
    if tied:
        raise ConfigError(
            f"model.lora.target_modules names {tied!r}, whose weights {type(model).__name__} shares with its input "
            "embeddings: merged for an export, the adapter would change those too. Leave it out (all-linear does)."
        )
    without_dropout(model)
    config.exclude_modules = _left_out(model, everything=targets == ALL_LINEAR)
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


def _left_out(model: PreTrainedModel, *, everything: bool) -> str | None:
    """Return a pattern of the linear layers that get no adapter, as peft takes it; None: there are none.

    A kind of layer (its name without numbers) is left out where a text passes through none of it.

    Args:
        everything: all linear layers are asked for, and not some by name.
    """
    head = model.get_output_embeddings()
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | Conv1D) and module is not head
    }
    passed = _passed(model, linears)
    out = {kind for name in linears if (kind := _kind(name)) not in passed}
    if everything and model.config.model_type in _UNTRAINABLE:
        out |= {_kind(name) for name in linears if name.rpartition(".")[2] == "out_proj"}
    return "|".join(sorted(out)) or None


def _kind(name: str) -> str:
    """Return a pattern of a layer's name and of those that differ from it in numbers only."""
    return r"\.".join(r"\d+" if part.isdigit() else re.escape(part) for part in name.split("."))


@torch.no_grad()
def _passed(model: PreTrainedModel, linears: dict[str, nn.Module]) -> set[str]:
    """Return the kinds of layers that a text passes through, and comes out of as one tensor, which routers may not
    give. Of a model without weights, return those of its decoder."""
    if model.device.type == "meta":
        decoder = set(model.get_decoder().modules())
        return {_kind(name) for name, module in linears.items() if module in decoder}
    passed: set[str] = set()
    hooks = [module.register_forward_hook(partial(_note, passed, _kind(name))) for name, module in linears.items()]
    model.eval()
    try:
        size = cast(Any, model).get_input_embeddings().weight.shape[0]
        model(input_ids=torch.arange(16, device=model.device)[None] % size, use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return passed


def _note(passed: set[str], kind: str, _module: nn.Module, _inputs: Any, out: Any) -> None:
    if isinstance(out, torch.Tensor):
        passed.add(kind)


def without_dropout(model: nn.Module) -> None:
    """Set every dropout in `model` to 0, those that are a setting of their layer too."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if isinstance(value, float) and "dropout" in name:
                setattr(module, name, 0.0)


def checkpoint_activations(model: PreTrainedModel) -> None:
    """Recompute each layer's activations in the backward pass instead of keeping them."""
    # transformers 5.23 renamed it and warns about the old name; 5.17 knows only the old one.
    enable = getattr(model, "activation_checkpointing_enable", None) or model.gradient_checkpointing_enable
    try:
        enable({"use_reentrant": False})
    except ValueError as error:
        raise ConfigError(f"train.gradient_checkpointing: {error}") from error
    cast(Any, model).enable_input_require_grads()


def set_learning(wrapped: PeftModel) -> None:
    """Let a model compute as an engine does, and recompute its activations where that was asked for.

    In training mode some models also draw at random, or take other kernels, which use weights past the layers that bear
    an adapter. So only those modules are in it that look whether to recompute.
    """
    wrapped.eval()
    for module in wrapped.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True
