"""An exported policy as whoever uses it finds it: the configuration that `memory_agent.json` tells, and its adapter.

`tiny` names the embedded model as it ships, which is a policy without having been exported.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

from memrl.config import Config, LoraConfig, MemoryConfig, ModelConfig, ReaderConfig, RolloutConfig, load_config
from memrl.config.check import CHOICES
from memrl.config.shipped import TINY, TINY_MODEL
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.errors import ConfigError
from memrl.policies.agent_file import AGENT_FILE, longest_chunk
from memrl.records import AdapterRef
from memrl.storage.formats import check_format

Section = TypeVar("Section", MemoryConfig, ModelConfig, LoraConfig, ReaderConfig, RolloutConfig)
SHARED = ("dialect", "instruction", "example", "max_prompt_tokens", "max_completion_tokens")
SHARED_SINCE = ("max_turns", "guided")
"""Those that exports of earlier versions lack: at their defaults there."""


@dataclass(frozen=True)
class Exported:
    """A folder that `memrl export` wrote."""

    folder: Path
    config: Config
    adapter: AdapterRef | None
    """None: the adapter is merged into the model."""
    chunk_tokens: int | None
    """The longest chunk that it read in training; None where the folder does not say."""
    embedded: bool = False
    """It is the embedded model, or was trained from it."""


def open_exported(folder: Path, *, base_model: str | None = None) -> Exported:
    """Read what an exported folder tells.

    Args:
        folder: one that `memrl export` wrote; or `tiny`, the embedded model as it ships.
        base_model: where the base model of an adapter is, if no longer where it was trained.

    Raises:
        ConfigError: it is no exported policy, or one of a form that cannot be run.
        FormatError: a newer version wrote it.
    """
    if str(folder) == TINY and not folder.exists():
        return _embedded()
    told = _read(folder / AGENT_FILE, folder)
    check_format("export", told, folder)
    form = told.get("format")
    if form not in ("adapter", "merged"):
        raise ConfigError(
            f"{folder} is a {form} export, which other programs load; here, use one of --format adapter or merged."
        )
    merged = form == "merged"
    path = str(folder) if merged else base_model or _base_of(folder, told.get("base_model"))
    model = _filled(ModelConfig, {"path": path, "dtype": told.get("dtype")}, folder / AGENT_FILE)
    if model.dtype not in CHOICES["model.dtype"]:
        raise _damaged(folder / AGENT_FILE, f"dtype is {model.dtype!r}")
    if not merged:
        lora = _read(folder / "adapter_config.json", folder)
        shape = {"rank": lora.get("r"), "alpha": lora.get("lora_alpha")}
        if shape["rank"] == 0:
            raise _damaged(folder / "adapter_config.json", "r is 0")
        model.lora = _filled(LoraConfig, shape, folder / "adapter_config.json")
    if lacking := [key for key in SHARED if key not in told]:
        raise _damaged(folder / AGENT_FILE, f"{lacking[0]} is missing")
    config = Config(
        model=model,
        memory=_filled(MemoryConfig, told.get("memory"), folder / AGENT_FILE),
        rollout=_filled(
            RolloutConfig, {key: told[key] for key in (*SHARED, *SHARED_SINCE) if key in told}, folder / AGENT_FILE
        ),
        reader=_filled(ReaderConfig, told.get("reader"), folder / AGENT_FILE),
    )
    chunk_tokens = told.get("chunk_tokens")
    if not (chunk_tokens is None or (type(chunk_tokens) is int and chunk_tokens > 0)):
        raise _damaged(folder / AGENT_FILE, f"chunk_tokens is {chunk_tokens!r}")
    adapter = None if merged else AdapterRef(1, "exported", str(folder))
    return Exported(folder, config, adapter, chunk_tokens, told.get("base_model") == TINY)


def _embedded() -> Exported:
    """Return the embedded model as a policy: the settings are those of its own training."""
    config = load_config(TINY)
    prompter = open_prompter(load_tokenizer(config.model), config.rollout.dialect)
    return Exported(TINY_MODEL, config, None, longest_chunk(config.data, config.seed, prompter), embedded=True)


def _base_of(folder: Path, told: Any) -> Any:
    """Return where an adapter's base model is: beside the folder, where it lies there, else what it is called.

    Raises:
        ConfigError: it is told as a place beside the folder, and is not there.
    """
    if not isinstance(told, str):
        return told  # refused with the other values
    beside = os.path.normpath(folder.resolve() / told)
    if os.path.isdir(beside):
        return beside
    if told.startswith("."):
        raise ConfigError(
            f"{folder} is an adapter, and its base model {Path(told).name!r} is not at {beside}. Say where it is now: "
            "--base-model PATH (in Python: base_model=...)."
        )
    return told


def _read(file: Path, folder: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{folder} is no exported policy: {file.name} cannot be read ({error}).") from error
    if not isinstance(found, dict):
        raise _damaged(file, f"it holds a {type(found).__name__}")
    return found


def _filled(section: type[Section], values: Any, file: Path) -> Section:
    """Return a section of the config with the values that a file tells, each of its type.

    Raises:
        ConfigError: a value is missing, unknown or of another type, or a negative number.
    """
    if not isinstance(values, dict):
        raise _damaged(file, f"the values of {section.__name__} are {values!r:.60}")
    known = {field.name: str(field.type) for field in fields(section)}
    for key, value in values.items():
        if key not in known:
            raise _damaged(file, f"{key} is not known here")
        if not any(_is(value, each.strip()) for each in known[key].split("|")):
            raise _damaged(file, f"{key} is {value!r:.60}, where {known[key]} is due, and nothing below 0")
    return section(**values)


def _is(value: Any, written: str) -> bool:
    """Return whether a value is of a type by its name; a number must not be negative either."""
    if written == "None" or value is None:
        return written == "None" and value is None
    if written.startswith("dict["):
        return isinstance(value, dict)
    if written in ("int", "float"):
        numbers = int if written == "int" else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool) and value >= 0
    return isinstance(value, {"str": str, "bool": bool, "list[Any]": list}.get(written, ()))


def _damaged(file: Path, why: str) -> ConfigError:
    return ConfigError(f"{file} is damaged, or of another version of memrl: {why}. Export the policy again.")
