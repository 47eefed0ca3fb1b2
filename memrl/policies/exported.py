"""An exported policy as whoever uses it finds it: the configuration that `memory_agent.json` tells, and its adapter."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memrl.config import Config, LoraConfig, MemoryConfig, ModelConfig, ReaderConfig, RolloutConfig
from memrl.errors import ConfigError
from memrl.policies.agent_file import AGENT_FILE
from memrl.records import AdapterRef
from memrl.storage.formats import check_format

SHARED = ("dialect", "instruction", "example", "max_prompt_tokens", "max_completion_tokens")


@dataclass(frozen=True)
class Exported:
    """A folder that `memrl export` wrote."""

    folder: Path
    config: Config
    adapter: AdapterRef | None
    """None: the adapter is merged into the model."""
    chunk_tokens: int | None
    """The longest chunk that it read in training; None where the folder does not say."""


def open_exported(folder: Path, *, base_model: str | None = None) -> Exported:
    """Read what an exported folder tells.

    Args:
        base_model: where the base model of an adapter is, if no longer where it was trained.

    Raises:
        ConfigError: it is no exported policy, or one of a form that cannot be run.
        FormatError: a newer version wrote it.
    """
    told = _read(folder / AGENT_FILE, folder)
    check_format("export", told, folder)
    form = told["format"]
    if form not in ("adapter", "merged"):
        raise ConfigError(
            f"{folder} is a {form} export, which other programs load; here, use one of --format adapter or merged."
        )
    merged = form == "merged"
    beside = os.path.normpath(folder.resolve() / told["base_model"])  # where it lies, seen from this folder
    base = base_model or (beside if os.path.isdir(beside) else told["base_model"])
    if not merged and base_model is None and base.startswith("."):
        raise ConfigError(
            f"{folder} is an adapter, and its base model {Path(base).name!r} is not at {beside}. Say where it is now: "
            "--base-model PATH (in Python: base_model=...)."
        )
    model = ModelConfig(path=str(folder) if merged else base, dtype=told["dtype"])
    if not merged:
        lora = _read(folder / "adapter_config.json", folder)
        model.lora = LoraConfig(rank=lora["r"], alpha=lora["lora_alpha"])
    config = Config(
        model=model,
        memory=MemoryConfig(**told["memory"]),
        rollout=RolloutConfig(**{key: told[key] for key in SHARED}),
        reader=ReaderConfig(**told["reader"]),
    )
    adapter = None if merged else AdapterRef(1, "exported", str(folder))
    return Exported(folder, config, adapter, told.get("chunk_tokens"))


def _read(file: Path, folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} is no exported policy: {file.name} cannot be read ({error}).") from error
    return found
