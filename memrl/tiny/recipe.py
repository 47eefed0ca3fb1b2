"""How the embedded model is made: `memrl tiny build` runs exactly this, and records it beside the weights.

Three stages, each cheap because the one before it was done: copy one segment, copy several by content, then the two
jobs themselves (memorising with tools, answering from memory) as the careless teacher shows them.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import Qwen3Config, Qwen3ForCausalLM

from envs.dialects import HermesDialect
from envs.sources.synthetic import synthetic
from memrl.config import Config, find_config, load_config
from memrl.errors import CheckpointError
from memrl.files import new_folder, sha256_file
from memrl.report.progress import RunProgress
from memrl.rollout.prompting import Prompter
from memrl.sft.examples import Example, copying, demonstrations
from memrl.sft.teacher import Carelessness
from memrl.sft.train import supervise
from memrl.tiny.tokenizer import build_tokenizer, words


@dataclass(frozen=True)
class CopyStage:
    """Random tokens, copied. `segments`: least and most segments an example."""

    steps: int
    segments: tuple[int, int]
    lr: float = 3e-3


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, up to the arithmetic of the machine."""

    seed: int = 0
    hidden_size: int = 160
    intermediate_size: int = 448
    layers: int = 4
    heads: int = 5
    batch_size: int = 64
    copy_stages: tuple[CopyStage, ...] = (CopyStage(250, (1, 1)), CopyStage(450, (1, 5)))
    steps: int = 1400
    lr: float = 2e-3
    streams: int = 4500
    """Synthetic streams that the teacher demonstrates on; training never sees their seed."""
    questions: int = 10
    habits: Carelessness = field(default_factory=Carelessness)


STREAM_SEED = 77_000_001
"""Seed of the demonstrated streams, apart from those of training and evaluation."""
QUICK = Recipe(copy_stages=(CopyStage(3, (1, 1)), CopyStage(3, (1, 5))), steps=6, streams=12, batch_size=8)
"""A few steps only: shows that the recipe runs, learns nothing."""


def new_model(recipe: Recipe, tokenizer: Any) -> Qwen3ForCausalLM:
    """A freshly initialised Qwen3 of the recipe's shape."""
    torch.manual_seed(recipe.seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=recipe.hidden_size,
            intermediate_size=recipe.intermediate_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.heads,
            head_dim=recipe.hidden_size // recipe.heads,
            tie_word_embeddings=True,
            max_position_embeddings=2048,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )


def build_model(
    out: Path, *, quick: bool = False, recipe: Recipe | None = None, console: Console | None = None
) -> Path:
    """Build tokenizer and model into the folder `out`, which appears when it is complete.

    Args:
        out: the folder; an older one is replaced.
        quick: a few steps of each stage only.
        recipe: the shipped one by default.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    recipe = recipe or (QUICK if quick else Recipe())
    # The prompts must be those of the default config, whatever the user changed elsewhere.
    config = load_config(find_config("tiny"), [], check=False)
    progress = RunProgress(console or Console())
    began = time.monotonic()
    try:
        with new_folder(out) as folder, progress:
            losses = _make(folder, recipe, config, progress)
            record = {
                "recipe": asdict(recipe),
                "stream_seed": STREAM_SEED,
                "losses": losses,
                "minutes": round((time.monotonic() - began) / 60, 1),
                "torch": torch.__version__,
                "threads": torch.get_num_threads(),
                "sha256": {path.name: sha256_file(path) for path in sorted(folder.iterdir())},
            }
            (folder / "recipe.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise CheckpointError(f"cannot write the tiny model to {out}: {error}") from error
    return out


def _make(folder: Path, recipe: Recipe, config: Config, progress: RunProgress) -> dict[str, float]:
    tokenizer = build_tokenizer(folder)
    prompter = Prompter(tokenizer, HermesDialect())
    model = new_model(recipe, tokenizer)
    vocabulary = [tokenizer.encode(word, add_special_tokens=False)[0] for word in words()]
    separator = tokenizer.encode("\n# Question\n", add_special_tokens=False)
    losses: dict[str, float] = {}

    def stage(name: str, examples: Sequence[Example], steps: int, lr: float, schedule: str) -> None:
        with progress.phase(name, steps) as advance:
            losses[name] = supervise(
                model, tokenizer, examples, steps=steps, batch_size=recipe.batch_size, lr=lr, schedule=schedule,
                seed=recipe.seed, on_step=lambda done, _: advance.to(done, steps),
            )  # fmt: skip

    for number, copy in enumerate(recipe.copy_stages):
        count = copy.steps * recipe.batch_size
        pairs = list(copying(vocabulary, separator, tokenizer.eos_token_id, count, recipe.seed + number, copy.segments))
        stage(
            f"copying {copy.segments[0]} to {copy.segments[1]} segments",
            pairs,
            copy.steps,
            copy.lr,
            "constant_with_warmup",
        )
    with progress.phase("the teacher demonstrates", None):
        streams = synthetic(seed=STREAM_SEED, count=recipe.streams, questions=recipe.questions)
        shown = list(demonstrations(streams, config, prompter, recipe.seed, recipe.habits))
    stage("memorising and answering", shown, recipe.steps, recipe.lr, "cosine")
    # Half the bytes; the weights are what the file says, so nothing is lost by it later.
    model.to(torch.float16).save_pretrained(folder)
    return losses
