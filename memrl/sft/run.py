"""`memrl sft`: demonstrate on the configured training source, train, save a model folder that `model.path` takes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from safetensors import SafetensorError

from memrl.config import Config
from memrl.data.feed import StreamFeed
from memrl.engines.memory import first_line, give_back_memory, out_of_memory
from memrl.engines.models import load_model, load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.errors import CheckpointError, ConfigError, LearnerError
from memrl.learner.lora import wrap_lora, write_lora
from memrl.report.progress import RunProgress
from memrl.rollout.environment import new_memory
from memrl.sft.examples import Example, demonstrations
from memrl.sft.teacher import Carelessness
from memrl.sft.train import supervise
from memrl.storage.files import check_writable, new_folder

log = logging.getLogger(__name__)


def warm_start(config: Config, console: Console | None = None) -> Path:
    """Train `model.path` on demonstrations over `data.train` and save it to `sft.dir` (default `<run.dir>/model`).

    With `sft.lora` only an adapter is trained and saved.

    Raises:
        ConfigError: the output folder exists already, or the model cannot be used.
        LearnerError: no demonstration fits, or the loss is not finite.
        CheckpointError: the result cannot be written.
    """
    console = console or Console()
    out = Path(config.sft.dir or Path(config.run.dir or "runs") / "model").expanduser()
    if out.exists():
        raise ConfigError(f"{out} exists. Name another folder by sft.dir=..., or remove it.")
    check_writable(out)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.model)
    prompter = open_prompter(tokenizer, config.rollout.dialect)
    if not new_memory(config.memory, prompter).keep("Ann lives in Rome."):
        raise ConfigError(
            f"memory.design is {config.memory.design!r}, whose `keep` says no calls that keep a sentence: there is "
            "nothing that a teacher could show. Train without a warm start, or write `keep` (docs/designs.md)."
        )
    progress = RunProgress(console)
    with progress:
        with progress.phase("the teacher demonstrates", None):
            streams = StreamFeed(config.data.train, config.data.path, config.seed, cycle=False).take(config.sft.streams)
            examples = list(demonstrations(streams, config, prompter, config.seed, Carelessness()))
        trained, loss = _supervised(config, tokenizer, examples, progress)
    try:
        with new_folder(out) as folder:
            if config.sft.lora:
                write_lora(trained, folder)
            else:
                trained.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write the trained model to {out}: {error}") from error
    use = f"model.path={out}" if not config.sft.lora else "it as a peft adapter"
    console.print(f"{len(examples)} demonstrations, final loss {loss:.3f}. Use {use}", markup=False)
    return out


def _supervised(config: Config, tokenizer: Any, examples: list[Example], progress: RunProgress) -> tuple[Any, float]:
    """Return the trained model or adapter and its final loss; begun again with a batch in more pieces each time that
    memory does not hold one."""
    pieces, sft = 1, config.sft
    while True:
        torch.manual_seed(config.seed)
        model = load_model(config.model)
        trained = wrap_lora(model, config.model.lora, config.seed) if sft.lora else model
        try:
            with progress.phase("warm start", sft.steps) as advance:
                loss = supervise(
                    trained.train(), tokenizer, examples, steps=sft.steps, batch_size=sft.batch_size, lr=sft.lr,
                    max_length=sft.max_length, seed=config.seed, pieces=pieces,
                    on_step=partial(_advance, advance.to, sft.steps),
                )  # fmt: skip
            return trained, loss
        except Exception as error:
            if not out_of_memory(error):
                raise
            failed = first_line(error)
        del model, trained
        give_back_memory()
        more = next((number for number in range(pieces + 1, sft.batch_size + 1) if sft.batch_size % number == 0), None)
        if more is None:
            raise LearnerError(
                f"out of memory with one demonstration at a time: {failed}. What helps: a lower sft.max_length, "
                f"{'' if sft.lora else 'sft.lora=true, '}model.dtype=bfloat16, or a smaller model."
            )
        pieces = more
        log.warning(
            "out of memory; begun again with %d of the %d demonstrations of a batch (sft.batch_size) at once: %s",
            sft.batch_size // pieces, sft.batch_size, failed,
        )  # fmt: skip


def _advance(to: Callable[[int, int], None], steps: int, done: int, loss: float | None) -> None:
    to(done, steps)
