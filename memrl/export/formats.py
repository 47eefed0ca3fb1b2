"""The formats: how each is written, and how it is opened again to be checked."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

from memrl.config import Config, ModelConfig
from memrl.engines.models import end_ids, load_model, load_tokenizer, portable_name
from memrl.engines.prompting import open_prompter
from memrl.engines.transformers_engine import TransformersEngine
from memrl.export.check import Candidate
from memrl.export.gguf import load_gguf, write_gguf
from memrl.records import AdapterRef
from memrl.storage.files import MANIFEST, write_json_atomic

FORMATS = ("adapter", "merged", "gguf")
READABLE = 0o666
"""Exports are for others: safetensors writes its files for their owner alone."""


def write_model(format: str, config: ModelConfig, adapter: Path, tokenizer: Any, folder: Path) -> None:
    """Write the weights and the tokenizer; of `gguf` the one inside the file alone (see `open_written`)."""
    if format == "adapter":
        shutil.copytree(adapter, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST, "README.md"))
        settings = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        settings["base_model_name_or_path"] = portable_name(config.path)  # older runs have the path
        write_json_atomic(folder / "adapter_config.json", settings)
    elif format == "merged":
        merged = merge(config, adapter)
        ends = end_ids(config, tokenizer)  # other programs know no more than what stands there
        merged.generation_config.eos_token_id = ends if len(ends) > 1 else ends[0]
        merged.save_pretrained(folder)
    else:
        write_gguf(merge(config, adapter), tokenizer, folder)
    if format != "gguf":
        tokenizer.save_pretrained(folder)
    for path in folder.rglob("*"):
        if path.is_file():
            path.chmod(READABLE & ~_umask())


def _umask() -> int:
    """Return the bits that files of this process lack; there is no other way to ask."""
    found = os.umask(0o077)
    os.umask(found)
    return found


def merge(config: ModelConfig, adapter: Path) -> Any:
    """The base model with the adapter in its weights; merged in float32, so that rounding happens once, at the end."""
    merged = PeftModel.from_pretrained(load_model(config).float(), str(adapter)).merge_and_unload()
    return merged.to(getattr(torch, config.dtype))


def open_trained(config: Config, adapter: Path) -> Candidate:
    """Base + adapter, as the run has them.

    Raises:
        ConfigError: the base model cannot be loaded.
    """
    return _policy(config, load_model(config.model), load_tokenizer(config.model), adapter)


def open_written(format: str, config: Config, folder: Path) -> Candidate:
    """Open what `write_model` wrote, from its own files alone (an adapter's: and the base model).

    Of a `gguf` folder the tokenizer inside the file is opened, as long as no tokenizer.json lies beside it:
    transformers would take that one.
    """
    here = replace(config.model, path=str(folder))
    if format == "adapter":
        from transformers import AutoTokenizer

        return _policy(
            config, load_model(config.model), AutoTokenizer.from_pretrained(folder, trust_remote_code=False), folder
        )
    if format == "merged":
        return _policy(config, load_model(here), load_tokenizer(here))
    return _policy(config, *load_gguf(config.model, folder))


def _policy(config: Config, model: Any, tokenizer: Any, adapter: Path | None = None) -> Candidate:
    engine = TransformersEngine(model, end_ids(config.model, tokenizer), max_batch=1)
    prompter = open_prompter(tokenizer, config.rollout.dialect)
    return Candidate(engine, prompter, None if adapter is None else AdapterRef(1, "exported", str(adapter)))
