"""`memrl sft`: demonstrate, train, save a model folder that `model.path` takes.

What a warm start needs to go on stands beside its result until that is whole: `<sft.dir>.training/` holds the
demonstrations, checkpoints and the losses. Killed anywhere and resumed, it ends as if it had never been killed.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
import zstandard
from rich.console import Console
from safetensors import SafetensorError

from memrl.config import Config
from memrl.config.identity import decisive
from memrl.engines.models import load_model, load_tokenizer
from memrl.engines.prompting import Prompter
from memrl.errors import CheckpointError, ConfigError, LearnerError
from memrl.learner.lora import wrap_lora, write_lora
from memrl.report.progress import RunProgress
from memrl.sft.examples import Example
from memrl.sft.names import LOSSES, SHOWN, TOLD, has_begun, out_folder, training_folder
from memrl.sft.teach import demonstrated, open_teacher_prompter
from memrl.sft.train import Schedule, StepFigures, WarmLearner
from memrl.storage.checkpoints import find_checkpoint, save_checkpoint
from memrl.storage.files import check_writable, new_folder, write_bytes_atomic, write_json_atomic
from memrl.storage.lock import LOCK_FILE, lock_folder
from memrl.storage.rundir import MetricsFile

log = logging.getLogger(__name__)
_ABOUT = ("seed", "model.", "data.", "memory.", "rollout.dialect", "rollout.instruction", "rollout.example", "reader.")
"""Settings outside `sft` that decide what is learned."""
_LINES = 10
"""Steps from one line of progress to the next; the first steps have one each."""


def warm_start(config: Config, console: Console | None = None, *, resume: bool = False) -> Path:
    """Train `model.path` on demonstrations and save it to `sft.dir` (default `<run.dir>/model`).

    With `sft.lora` only an adapter is trained and saved.

    Args:
        resume: go on with the warm start that was stopped; one that is finished is left as it is.

    Raises:
        ConfigError: the output folder exists already, the model cannot be used, or `resume` finds none, or one of other
            settings.
        LearnerError: no demonstration fits, or the loss is not finite.
        CheckpointError: the result cannot be written.
        EngineError: the teacher's endpoint does not answer.
    """
    console = console or Console()
    out = out_folder(config)
    folder = training_folder(out)
    if resume and not has_begun(config):
        raise ConfigError(
            f"nothing to resume: there is no {out}, and no {folder}. Leave out --resume, or name sft.dir."
        )
    if out.exists():
        if resume:
            shutil.rmtree(folder, ignore_errors=True)  # left by a kill after the last rename
            console.print(f"{out} is finished", markup=False)
            return out
        raise ConfigError(f"{out} exists. Name another folder by sft.dir=..., or remove it.")
    if (folder / TOLD).is_file() and not resume:
        raise ConfigError(f"{folder} holds a warm start that was stopped. Go on with it by --resume, or remove it.")
    check_writable(out)
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.model)
    prompter = open_teacher_prompter(config, tokenizer)
    progress = RunProgress(console)
    with lock_folder(folder):
        with progress:
            if resume:
                _check_same(config, folder)
            else:
                _empty(folder)  # of what was begun and never told
            examples = _examples(config, prompter, folder, progress)
            write_json_atomic(folder / TOLD, _identity(config))
            learner, trained, loss = _trained(config, examples, folder, progress)
        try:
            with new_folder(out) as result:
                if config.sft.lora:
                    write_lora(trained, result)
                else:
                    learner.model.save_pretrained(result)
                tokenizer.save_pretrained(result)
                shutil.copy(folder / LOSSES, result / LOSSES)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(f"cannot write the trained model to {out}: {error}") from error
        _empty(folder)
    shutil.rmtree(folder, ignore_errors=True)
    use = f"model.path={out}" if not config.sft.lora else "it as a peft adapter"
    console.print(f"{len(examples)} demonstrations, final loss {loss:.3f}. Use {use}", markup=False)
    return out


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != LOCK_FILE:
            entry.unlink()


def _examples(config: Config, prompter: Prompter, folder: Path, progress: RunProgress) -> list[Example]:
    """Return the demonstrations that fit: those that were kept when the warm start began, or new ones.

    Raises:
        LearnerError: none fits.
    """
    file = folder / SHOWN
    if file.is_file():
        rows = zstandard.ZstdDecompressor().decompress(file.read_bytes()).splitlines()
        return [Example(**json.loads(row)) for row in rows]
    shown = demonstrated(config, prompter, progress)
    most = config.sft.max_length
    fitting = [one for one in shown if len(one.prompt_ids) + len(one.completion_ids) <= most]
    if not fitting:
        raise LearnerError(f"none of {len(shown)} demonstrations fits {most} tokens. Raise sft.max_length.")
    if len(fitting) < len(shown):
        log.warning("%d of %d demonstrations are too long and left out", len(shown) - len(fitting), len(shown))
    lines = "".join(json.dumps(asdict(one)) + "\n" for one in fitting)
    write_bytes_atomic(file, zstandard.ZstdCompressor(level=3).compress(lines.encode()))
    return fitting


def _trained(
    config: Config, examples: Sequence[Example], folder: Path, progress: RunProgress
) -> tuple[WarmLearner, Any, float]:
    """Return the learner at its last step, the model (or the peft model around it), and the final loss: the mean of the
    last steps'."""
    sft = config.sft
    model = load_model(config.model)
    trained = wrap_lora(model, config.model.lora, config.seed) if sft.lora else model
    learner = WarmLearner(trained, steps=sft.steps, lr=sft.lr, micro_batch_tokens=sft.micro_batch_tokens)
    schedule = Schedule(examples, sft.batch_size, config.seed)
    losses = MetricsFile(folder / LOSSES)
    found = find_checkpoint(folder / "checkpoints")
    if found is not None:
        learner.restore(found[1])
    losses.cut(learner.step_number)
    pace = _Pace(learner.step_number)
    with progress.phase("warm start", sft.steps) as advance:
        advance.to(learner.step_number, sft.steps)
        while learner.step_number < sft.steps:
            figures = learner.step(schedule.batch(learner.step_number))
            step = learner.step_number
            losses.append({"step": step, **asdict(figures)})
            pace.add(figures)
            if step <= 3 or step % _LINES == 0 or step == sft.steps:
                line = f"step {step:>4}/{sft.steps}  {pace.told(figures, sft.steps)}"
                progress.console.print(line, markup=False, highlight=False)
            advance.to(step, sft.steps)
            if sft.save_every and step % sft.save_every == 0 and step < sft.steps:
                save_checkpoint(folder / "checkpoints", step, learner.save, 1)
    last = [row["loss"] for row in losses.rows()[-_LINES:]]
    return learner, trained, sum(last) / len(last)


class _Pace:
    """The speed of this process's steps."""

    def __init__(self, step: int) -> None:
        self._began = time.monotonic()
        self._steps, self._first, self._tokens = step, step, 0

    def add(self, figures: StepFigures) -> None:
        self._steps += 1
        self._tokens += figures.tokens

    def told(self, figures: StepFigures, steps: int) -> str:
        """Return a step's figures and the time that is left, in words."""
        spent = time.monotonic() - self._began
        left = spent / (self._steps - self._first) * (steps - self._steps)
        return (
            f"loss {figures.loss:.3f}  grad {figures.grad_norm:.2f}  lr {figures.lr:.1e}  "
            f"{self._tokens / max(spent, 1e-9):,.0f} tokens/s  {left / 60:.1f} min left"
        )


def _identity(config: Config) -> dict[str, Any]:
    """Return the settings that decide what is learned, as plain JSON."""
    settings = {key: value for key, value in decisive(config).items() if key.startswith(_ABOUT)}
    own = {key: value for key, value in asdict(config.sft).items() if key not in ("dir", "save_every", "endpoint")}
    settings |= {f"sft.{key}": value for key, value in own.items()}
    plain: dict[str, Any] = json.loads(json.dumps({**settings, "sft.endpoint.model": config.sft.endpoint.model}))
    return plain


def _check_same(config: Config, folder: Path) -> None:
    """Refuse to go on under other settings.

    Raises:
        ConfigError: they are others.
        CheckpointError: what they were cannot be read.
    """
    try:
        then: dict[str, Any] = json.loads((folder / TOLD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / TOLD} cannot be read ({error}). Remove {folder} to begin anew.") from error
    now = _identity(config)
    changed = [f"{key}: {then.get(key)!r} then, {now.get(key)!r} now" for key in sorted(then.keys() | now.keys())
               if then.get(key) != now.get(key)]  # fmt: skip
    if changed:
        raise ConfigError(
            f"{folder} holds a warm start of other settings ({'; '.join(changed)}). Use the same, another sft.dir, or "
            "remove it."
        )
