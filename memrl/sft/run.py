"""`memrl sft`: demonstrate on the configured training source, train, save a model folder that `model.path` takes."""

from __future__ import annotations

from pathlib import Path

import torch
from rich.console import Console
from safetensors import SafetensorError

from memrl.config import Config
from memrl.data.feed import StreamFeed
from memrl.engines.models import load_model, load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.errors import CheckpointError, ConfigError
from memrl.learner.lora import wrap_lora
from memrl.report.progress import RunProgress
from memrl.sft.examples import demonstrations
from memrl.sft.teacher import Carelessness
from memrl.sft.train import supervise
from memrl.storage.files import new_folder


def warm_start(config: Config, console: Console | None = None) -> Path:
    """Train `model.path` on demonstrations over `data.train` and save it to `sft.dir` (default `<run.dir>/model`).

    With `sft.lora` only an adapter is trained and saved.

    Raises:
        ConfigError: the output folder exists already, or the model cannot be used.
        LearnerError: no demonstration fits, or the loss is not finite.
        CheckpointError: the result cannot be written.
    """
    console = console or Console()
    if config.memory.design != "stores":
        raise ConfigError(f"memory.design is {config.memory.design!r}; the teacher knows how to write stores alone.")
    out = Path(config.sft.dir or Path(config.run.dir or "runs") / "model").expanduser()
    if out.exists():
        raise ConfigError(f"{out} exists. Name another folder by sft.dir=..., or remove it.")
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.model)
    prompter = open_prompter(tokenizer, config.rollout.dialect)
    progress = RunProgress(console)
    with progress:
        with progress.phase("the teacher demonstrates", None):
            streams = StreamFeed(config.data.train, config.data.path, config.seed, cycle=False).take(config.sft.streams)
            examples = list(demonstrations(streams, config, prompter, config.seed, Carelessness()))
        model = load_model(config.model)
        trained = wrap_lora(model, config.model.lora, config.seed) if config.sft.lora else model
        with progress.phase("warm start", config.sft.steps) as advance:
            loss = supervise(
                trained.train(), tokenizer, examples, steps=config.sft.steps, batch_size=config.sft.batch_size,
                lr=config.sft.lr, max_length=config.sft.max_length, seed=config.seed,
                on_step=lambda done, _: advance.to(done, config.sft.steps),
            )  # fmt: skip
    try:
        with new_folder(out) as folder:
            trained.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"cannot write the trained model to {out}: {error}") from error
    use = f"model.path={out}" if not config.sft.lora else "it as a peft adapter"
    console.print(f"{len(examples)} demonstrations, final loss {loss:.3f}. Use {use}", markup=False)
    return out
