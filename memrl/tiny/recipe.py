"""The recipe of the embedded model: `memrl tiny build` runs exactly this, and records it beside the weights.

A start that can copy and look up (`initialise.py`), then both jobs in each step: memorising, shown by a teacher who
stores nearly everything at first and leaves it to chance at last, and answering from memories in which to choose.
The parts that look things up are changed slowly, so that they are used before they are forgotten.
"""

from __future__ import annotations

import json
import logging
import math
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from torch import nn
from transformers import Qwen3Config, Qwen3ForCausalLM

from memrl.config import Config, find_config, load_config
from memrl.engines.heads import head_of
from memrl.engines.prompting import Prompter
from memrl.errors import CheckpointError
from memrl.report.progress import RunProgress
from memrl.sft.examples import Example, memorising
from memrl.sft.teacher import Carelessness
from memrl.storage.files import new_folder, sha256_file
from memrl.tiny.initialise import HEADS, HIDDEN, THETA, initialise
from memrl.tiny.lessons import World, answering, learn, new_lesson_memory
from memrl.tiny.tokenizer import DIALECT, build_tokenizer, marked

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights, up to the arithmetic of the machine."""

    seed: int = 0
    intermediate_size: int = 512
    layers: int = 4
    steps: int = 1300
    lr: float = 1e-3
    """Peak, reached after 20 steps; it ends at a twentieth of it, along a cosine."""
    slow: float = 0.1
    """Of the learning rate, for embeddings and for the layers with written heads."""
    careless: float = 0.25
    """Share of the steps, the last ones, that the careless teacher has."""
    diligent_habits: Carelessness = Carelessness(0.95, 0.05, update=0.97)  # noqa: RUF009 (frozen)
    careless_habits: Carelessness = Carelessness(0.6, 0.03, update=0.95)  # noqa: RUF009 (frozen)
    played: int = 4
    """Streams a step that the teacher plays."""
    brief: int = 10
    """Single texts a step that the teacher reads with an empty memory: a cheap way to learn where a call begins."""
    answers: int = 260
    """Tokens of answers a step, about."""
    memory_budget: int = 70
    """Tokens; a little more than training allows, so that late writes are shown to succeed."""
    max_tokens: int = 4096
    """Positions of a micro-batch."""


QUICK = Recipe(steps=3, played=1, brief=1, answers=20)
"""A few steps only: shows that the recipe runs, learns nothing."""
_SLOW = ("embed_tokens", "layers.0.", "layers.1.", "layers.2.self_attn.q_", "layers.2.self_attn.k_", "layers.2.input_")


def new_model(recipe: Recipe, tokenizer: Any) -> Qwen3ForCausalLM:
    """A Qwen3 of the recipe's shape that can look things up and knows nothing."""
    torch.manual_seed(recipe.seed)
    model = Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=len(tokenizer),
            hidden_size=HIDDEN,
            intermediate_size=recipe.intermediate_size,
            num_hidden_layers=recipe.layers,
            num_attention_heads=HEADS,
            num_key_value_heads=HEADS,
            head_dim=HIDDEN // HEADS,
            tie_word_embeddings=True,
            attention_bias=True,
            rope_parameters={"rope_type": "default", "rope_theta": THETA},
            max_position_embeddings=2048,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
        )
    )
    initialise(model, marked(tokenizer), seed=recipe.seed)
    return model


def build_model(
    out: Path, *, quick: bool = False, recipe: Recipe | None = None, console: Console | None = None
) -> Path:
    """Build tokenizer and model into the folder `out`, which appears when it is complete.

    Args:
        out: the folder; an older one is replaced.
        quick: a few steps only.
        recipe: the shipped one by default.

    Raises:
        CheckpointError: the folder cannot be written.
    """
    recipe = recipe or (QUICK if quick else Recipe())
    settings = [
        f"memory.budget={recipe.memory_budget}",
        f"memory.retrieve_budget={4 * recipe.memory_budget}",
        "memory.render_budget=80",
    ]
    config = load_config(find_config("tiny"), settings, check=False)
    progress = RunProgress(console or Console())
    began = time.monotonic()
    try:
        with new_folder(out) as folder, progress:
            losses = _make(recipe, folder, config, progress)
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


def _make(recipe: Recipe, folder: Path, config: Config, progress: RunProgress) -> dict[str, list[float]]:
    tokenizer = build_tokenizer(folder)
    prompter = Prompter(tokenizer, DIALECT)
    model = new_model(recipe, tokenizer)
    head = head_of(model)
    optimizer = _optimizer(model, recipe)
    losses: dict[str, list[float]] = {"answering": [], "memorising": []}
    with progress.phase("lessons", recipe.steps) as advance:
        for step in range(recipe.steps):
            for group in optimizer.param_groups:
                group["lr"] = _rate(recipe, step) * group["share"]
            optimizer.zero_grad()
            given = _lesson(recipe, config, prompter, step)
            for job, examples in given.items():
                losses[job].append(learn(model, head, examples, recipe.max_tokens))
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            advance.to(step + 1, recipe.steps)
            if step % 50 == 0:
                log.debug("step %d of %d: losses %s", step, recipe.steps, {job: ls[-1] for job, ls in losses.items()})
    # Half the bytes; the weights are what the file says, so nothing is lost by it later.
    model.to(torch.float16).save_pretrained(folder)
    every = max(1, recipe.steps // 15)
    return {job: [round(loss, 3) for loss in [*values[::every], values[-1]]] for job, values in losses.items()}


def _lesson(recipe: Recipe, config: Config, prompter: Prompter, step: int) -> dict[str, list[Example]]:
    """Return the examples of a step, by job, from streams that neither training nor evaluation has."""
    rng = random.Random(f"lessons/{recipe.seed}/{step}")
    answers: list[Example] = []
    while sum(len(example.completion_ids) for example in answers) < recipe.answers:
        world = World(
            people=rng.choice((3, 4, 6, 8, 16)), chatter=0.2, changes=rng.choice((0.1, 0.3)),
            corrections=rng.choice((0.05, 0.2)), retractions=rng.choice((0.05, 0.2)),
        )  # fmt: skip
        answers += answering(world.stream(_seed(rng)), config, prompter, rng, 10)
    habits = recipe.careless_habits if step >= (1 - recipe.careless) * recipe.steps else recipe.diligent_habits
    kept: list[Example] = []
    for _ in range(recipe.played):
        sentences = rng.choice((1, 2, 3, 3, 3, 4))
        world = World(sentences=sentences, people=8, changes=0.3) if rng.random() < 0.5 else World(sentences=sentences)
        kept += _memorised(world, config, prompter, rng, habits, dated=0.8)
    for _ in range(recipe.brief):
        world = World(chunks=1, sentences=rng.randint(1, 4), people=8, chatter=rng.choice((0.3, 0.6)))
        kept += _memorised(world, config, prompter, rng, habits, dated=0.5)
    return {"answering": answers, "memorising": kept}


def _memorised(
    world: World, config: Config, prompter: Prompter, rng: random.Random, habits: Carelessness, *, dated: float
) -> list[Example]:
    """Return the examples of a stream; `dated` is how likely it is that the day of its texts is known."""
    stream = world.stream(_seed(rng))
    if rng.random() >= dated:
        undated = tuple(chunk.model_copy(update={"time": None}) for chunk in stream.chunks)
        stream = stream.model_copy(update={"chunks": undated})
    return list(memorising(stream, config, prompter, rng, habits, new_lesson_memory(config, prompter, rng)))


def _seed(rng: random.Random) -> int:
    return 10**9 + rng.randrange(10**9)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    slow = [weight for name, weight in model.named_parameters() if any(part in name for part in _SLOW)]
    known = {id(weight) for weight in slow}
    others = [weight for weight in model.parameters() if id(weight) not in known]
    return torch.optim.AdamW(
        [{"params": others, "share": 1.0}, {"params": slow, "share": recipe.slow}],
        lr=recipe.lr, betas=(0.9, 0.98), weight_decay=0.0,
    )  # fmt: skip


def _rate(recipe: Recipe, step: int) -> float:
    wave = 0.5 * (1 + math.cos(math.pi * step / recipe.steps))
    return recipe.lr * min(1.0, (step + 1) / 20) * (0.05 + 0.95 * wave)
