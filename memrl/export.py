"""From a run to something that can be used without it: an adapter folder, or a model with the adapter merged in.

What is exported is loaded again and compared with base + adapter on a real prompt before it gets its name.
"""

from __future__ import annotations

import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel

import memrl
from envs.dialects import DIALECTS
from memrl.config import Config, load_config
from memrl.data import StreamFeed
from memrl.errors import CheckpointError, ConfigError
from memrl.files import MANIFEST, find_damage, new_folder, write_json_atomic
from memrl.models import load_model, load_tokenizer, score_completion
from memrl.records import Sample, adapter_name
from memrl.rollout.canary import BOUND, mean_gap, probe
from memrl.rollout.preflight import first_prompt
from memrl.rollout.prompting import Prompter
from memrl.rundir import CONFIG_FILE, MetricsFile

AGENT_FILE = "memory_agent.json"


def export(run: Path, out: Path, *, format: str = "adapter", adapter: str = "best", model: str | None = None) -> float:
    """Write `out`, whole or not at all; works on a run that still goes on.

    Args:
        format: `adapter` (peft's folder) or `merged` (safetensors that need no peft).
        adapter: `best` (held-out QA), `last`, or a version's name like v00012.
        model: where the base model is, if no longer where the run found it.

    Returns:
        Mean gap (nats a token) between what was exported and base + adapter.

    Raises:
        ConfigError: `run` is no run, it has no such adapter, `out` exists, or the base model cannot be loaded.
        CheckpointError: the adapter is damaged, or what was exported is not the same policy.
    """
    if not (run / CONFIG_FILE).is_file():
        raise ConfigError(f"{run} is no run folder: it has no {CONFIG_FILE}.")
    if out.exists():
        raise ConfigError(f"{out} exists already; give another --out.")
    config = load_config(run / CONFIG_FILE, [f"model.path={model}"] if model else [], check=False)
    source = find_adapter(run, adapter)
    tokenizer = load_tokenizer(config)
    asked = _question(config, tokenizer)
    expected = _score(PeftModel.from_pretrained(load_model(config), str(source)), asked)
    with new_folder(out) as folder:
        if format == "merged":
            _merge(config, source, folder)
            tokenizer.save_pretrained(folder)
            found = _score(_load_merged(config, folder), asked)
        else:
            shutil.copytree(source, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns(MANIFEST))
            found = _score(PeftModel.from_pretrained(load_model(config), str(folder)), asked)
        gap, bound = mean_gap(found, expected), BOUND[config.model.dtype]
        if gap > bound:
            raise CheckpointError(
                f"the {format} model of {source} is {gap:.2g} nats a token away from base + adapter "
                f"(bound {bound:.2g}); nothing was exported. Export the adapter instead."
            )
        write_json_atomic(folder / AGENT_FILE, _describe(config, source.name, format, _chunk_tokens(config, tokenizer)))
    return gap


def find_adapter(run: Path, wanted: str) -> Path:
    """The folder of a run's adapter: `best` (held-out QA), `last`, or a version's name.

    Raises:
        ConfigError, CheckpointError: there is none of that name, or it is damaged.
    """
    folder = run / "adapters"
    names = sorted(path.name for path in folder.glob("v*") if path.is_dir() and path.suffix == "")
    if not names:
        raise CheckpointError(f"{run} has no adapter yet.")
    if wanted == "best":
        scored = [row for row in MetricsFile(run / "metrics.jsonl").rows() if "eval/qa" in row]
        best = max(scored, key=lambda row: (row["eval/qa"], -row["step"]), default=None)
        name = adapter_name(int(best.get("learner/version", 0))) if best else names[-1]
    else:
        name = names[-1] if wanted == "last" else wanted
    if name not in names:
        raise ConfigError(f"{run} has no adapter {name}; it has {', '.join(names)}.")
    damage = find_damage(folder / name)
    if damage is not None:
        raise CheckpointError(f"adapter {folder / name} is damaged: {damage}. Export another: {', '.join(names)}.")
    return folder / name


def _question(config: Config, tokenizer: Any) -> Sample:
    """A prompt as the policy reads it."""
    [stream] = StreamFeed(config.data.eval, config.data.path, config.eval.seed, cycle=False).take(1)
    return probe(first_prompt(config, Prompter(tokenizer, DIALECTS[config.rollout.dialect]()), stream))


def _score(model: Any, asked: Sample) -> list[float]:
    return score_completion(model, asked.prompt_ids, asked.completion_ids)


def _merge(config: Config, adapter: Path, folder: Path) -> None:
    """In float32, so that rounding happens once, at the end."""
    base = load_model(config).float()
    merged = PeftModel.from_pretrained(base, str(adapter)).merge_and_unload()
    merged.to(getattr(torch, config.model.dtype)).save_pretrained(folder)


def _load_merged(config: Config, folder: Path) -> Any:
    return load_model(replace(config, model=replace(config.model, path=str(folder))))


def _chunk_tokens(config: Config, tokenizer: Any) -> int:
    """The longest chunk of the first training streams, in the policy's tokens."""
    streams = StreamFeed(config.data.train, config.data.path, config.seed, cycle=False).take(16)
    return max(len(tokenizer.encode(chunk.text)) for stream in streams for chunk in stream.chunks)


def _describe(config: Config, adapter: str, format: str, chunk_tokens: int) -> dict[str, Any]:
    """What an agent must know to use the model as it was trained."""
    rollout = config.rollout
    return {
        "memrl": memrl.__version__,
        "format": format,
        "base_model": config.model.path,
        "dtype": config.model.dtype,
        "adapter": adapter,
        "memory": asdict(config.memory),
        "dialect": rollout.dialect,
        "instruction": rollout.instruction,
        "example": rollout.example,
        "max_prompt_tokens": rollout.max_prompt_tokens,
        "max_completion_tokens": rollout.max_completion_tokens,
        "chunk_tokens": chunk_tokens,
        "reader": {
            "max_tokens": config.reader.max_tokens,
            "max_prompt_tokens": config.reader.max_prompt_tokens,
            "instruction": config.reader.instruction,
            "quoted": config.reader.quoted,
        },
    }
