"""The recipe of the embedded model: `memrl tiny build` runs exactly this, and records it beside the weights.

A start that can copy (`memrl.tiny.initialise`), random tokens to copy, then lessons: a diligent teacher, who stores
nearly everything and so shows much copying; answering alone; and careless teachers, who leave what to store to chance,
the last one with a hunch. All but the second show both jobs, memorising with tools and answering from memory.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers import Qwen3Config, Qwen3ForCausalLM

from memrl.config import Config, find_config, load_config
from memrl.engines.prompting import Prompter
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.sources.synthetic import synthetic
from memrl.errors import CheckpointError
from memrl.report.progress import Advance, RunProgress
from memrl.sft.examples import Example, copying, demonstrations
from memrl.sft.teacher import Carelessness
from memrl.sft.train import supervise
from memrl.storage.files import new_folder, sha256_file
from memrl.tiny.initialise import initialise_copying
from memrl.tiny.tokenizer import build_tokenizer, words

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lesson:
    """Supervised steps on a teacher's demonstrations. `stream_seed` is apart from those of training and evaluation."""

    name: str
    steps: int
    habits: Carelessness | None
    """How the teacher memorises; None: it only answers."""
    questions: int
    """Questions a stream, hence the weight of answering."""
    stream_seed: int
    lr: float
    schedule: str

    def streams(self, batch_size: int, chunks: int) -> int:
        """Synthetic streams that give enough demonstrations for one pass."""
        return self.steps * batch_size // (self.questions + (chunks if self.habits else 0)) + 1


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, up to the arithmetic of the machine."""

    seed: int = 0
    hidden_size: int = 160
    intermediate_size: int = 448
    layers: int = 4
    heads: int = 5
    batch_size: int = 64
    copy_steps: int = 100
    copy_lr: float = 1e-3
    lessons: tuple[Lesson, ...] = (
        Lesson("a diligent teacher", 900, Carelessness(0.95, 0.05, update=0.95), 8, 77, 2e-3, "constant_with_warmup"),
        Lesson("answering", 1200, None, 16, 81, 2e-3, "constant_with_warmup"),
        Lesson("a careless teacher", 900, Carelessness(), 5, 83, 2e-3, "cosine"),
    )
    chunks: int = 6
    sentences: int = 3
    people: int = 16
    changes: float = 0.3
    """More than training has, so that updates are seen often enough to be learned."""
    memory_budget: int = 70
    """Tokens; a little more than training allows, so that late writes are shown to succeed."""


QUICK = Recipe(
    copy_steps=3,
    batch_size=8,
    lessons=(
        Lesson("answering", 3, None, 8, 79, 2e-3, "constant_with_warmup"),
        Lesson("a careless teacher", 3, Carelessness(), 8, 78, 2e-3, "cosine"),
    ),
)
"""A few steps only: shows that the recipe runs, learns nothing."""


def new_model(recipe: Recipe, tokenizer: Any) -> Qwen3ForCausalLM:
    """A Qwen3 of the recipe's shape that can copy and knows nothing."""
    model = fresh_model(
        tokenizer, seed=recipe.seed, hidden_size=recipe.hidden_size, intermediate_size=recipe.intermediate_size,
        layers=recipe.layers, heads=recipe.heads, theta=10_000.0,
    )  # fmt: skip
    initialise_copying(model, seed=recipe.seed)
    return model


def fresh_model(
    tokenizer: Any, *, seed: int, hidden_size: int, intermediate_size: int, layers: int, heads: int, theta: float
) -> Qwen3ForCausalLM:
    """A Qwen3 with random weights, attention biases, tied embeddings and the rotary base `theta`."""
    torch.manual_seed(seed)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=hidden_size,
            intermediate_size=intermediate_size,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            head_dim=hidden_size // heads,
            tie_word_embeddings=True,
            attention_bias=True,
            rope_parameters={"rope_type": "default", "rope_theta": theta},
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
    settings = [f"memory.budget={recipe.memory_budget}"]
    return build_folder(out, recipe, settings, partial(_make, recipe), console)


def build_folder(
    out: Path,
    recipe: Any,
    settings: Sequence[str],
    make: Callable[[Path, Config, RunProgress], dict[str, Any]],
    console: Console | None,
) -> Path:
    """Have a model made in the folder `out`, which appears when it is complete, and record how beside the weights.

    Args:
        out: the folder; an older one is replaced.
        recipe: a dataclass.
        settings: what the lessons change in the default config, whose prompts they have, whatever users set elsewhere.
        make: writes tokenizer and model into a folder and returns the losses.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    config = load_config(find_config("tiny"), settings, check=False)
    progress = RunProgress(console or Console())
    began = time.monotonic()
    try:
        with new_folder(out) as folder, progress:
            losses = make(folder, config, progress)
            record = {
                "recipe": asdict(recipe),
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


def _make(recipe: Recipe, folder: Path, config: Config, progress: RunProgress) -> dict[str, float]:
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
                seed=recipe.seed, on_step=lambda done, loss: _report(name, done, steps, loss, advance),
            )  # fmt: skip

    count = recipe.copy_steps * recipe.batch_size
    pairs = list(copying(vocabulary, separator, tokenizer.eos_token_id, count, recipe.seed))
    stage("copying", pairs, recipe.copy_steps, recipe.copy_lr, "constant_with_warmup")
    for lesson in recipe.lessons:
        with progress.phase(f"{lesson.name} demonstrates", None):
            streams = synthetic(
                seed=lesson.stream_seed, count=lesson.streams(recipe.batch_size, recipe.chunks), chunks=recipe.chunks,
                sentences=recipe.sentences, people=recipe.people, changes=recipe.changes,
                questions=lesson.questions,
            )  # fmt: skip
            shown = list(demonstrations(streams, config, prompter, recipe.seed, lesson.habits))
        stage(lesson.name, shown, lesson.steps, lesson.lr, lesson.schedule)
    # Half the bytes; the weights are what the file says, so nothing is lost by it later.
    model.to(torch.float16).save_pretrained(folder)
    return losses


def _report(name: str, done: int, steps: int, loss: float | None, advance: Advance) -> None:
    advance.to(done, steps)
    if done % 50 == 0:
        log.debug("%s: step %d of %d, loss %s", name, done, steps, loss)
