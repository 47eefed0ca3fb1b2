"""Supervised fine-tuning of any causal model on demonstrations, by TRL's `SFTTrainer`."""

from __future__ import annotations

import logging
import math
import random
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import torch
from datasets import Dataset, disable_progress_bars
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import SFTConfig, SFTTrainer

from memrl.errors import LearnerError
from memrl.sft.examples import Example

log = logging.getLogger(__name__)
OnStep = Callable[[int, float | None], None]
"""Called with the steps done and the latest loss."""


def batched_by_length(rows: Sequence[dict[str, list[int]]], batch_size: int, seed: int) -> list[dict[str, list[int]]]:
    """The rows in an order in which each batch has rows of nearly one length and the batches come in any order.

    Less padding, and a batch of short answers is not drowned by long demonstrations in the token mean. Refused:
    `group_by_length`, whose batches come sorted, so that the two jobs take turns for dozens of steps.
    """
    rng = random.Random(f"batches/{seed}")
    order = rng.sample(range(len(rows)), len(rows))
    batches: list[list[int]] = []
    window = 32 * batch_size
    for start in range(0, len(order), window):
        some = sorted(order[start : start + window], key=lambda index: len(rows[index]["input_ids"]))
        batches += [some[place : place + batch_size] for place in range(0, len(some), batch_size)]
    last = [batches.pop()] if len(batches[-1]) < batch_size else []  # a short batch anywhere else would shift the rest
    rng.shuffle(batches)
    return [rows[index] for batch in batches + last for index in batch]


class _Report(TrainerCallback):
    def __init__(self, on_step: OnStep) -> None:
        self._on_step = on_step
        self._loss: float | None = None

    def on_log(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **kwargs: Any
    ) -> None:
        self._loss = (logs or {}).get("loss", self._loss)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._on_step(state.global_step, self._loss)


def supervise(
    model: Any,
    tokenizer: Any,
    examples: Sequence[Example],
    *,
    steps: int,
    batch_size: int,
    lr: float,
    schedule: str = "cosine",
    max_length: int = 2048,
    seed: int = 0,
    pieces: int = 1,
    on_step: OnStep | None = None,
) -> float:
    """Train `model` in place; the loss is on completions alone. Returns the final loss (mean of the last steps).

    Args:
        examples: prompt and completion ids; those longer than `max_length` tokens are left out, with a warning.
        steps: optimizer steps; examples are gone through as often as that takes.
        lr: peak learning rate, reached after 5 % of the steps.
        pieces: parts of a batch that go through the model one after another, a divisor of `batch_size`; the gradient is
            the same to rounding.

    Raises:
        LearnerError: no example is short enough, or the loss is not finite.
    """
    rows = [
        {
            "input_ids": [*example.prompt_ids, *example.completion_ids],
            "completion_mask": [0] * len(example.prompt_ids) + [1] * len(example.completion_ids),
        }
        for example in examples
        if len(example.prompt_ids) + len(example.completion_ids) <= max_length
    ]
    if not rows:
        raise LearnerError(f"none of {len(examples)} demonstrations fits {max_length} tokens. Raise sft.max_length.")
    if len(rows) < len(examples):
        log.warning("%d of %d demonstrations are too long and left out", len(examples) - len(rows), len(examples))
    disable_progress_bars()  # ours counts the steps; theirs would break its line
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SFTConfig(
            output_dir=scratch,
            max_steps=steps,
            per_device_train_batch_size=batch_size // pieces,
            gradient_accumulation_steps=pieces,
            learning_rate=lr,
            lr_scheduler_type=schedule,
            warmup_steps=max(1, steps // 20),
            max_length=max_length,
            train_sampling_strategy="sequential",
            completion_only_loss=True,
            gradient_checkpointing=False,
            bf16=model.dtype == torch.bfloat16,
            use_cpu=model.device.type == "cpu",
            logging_steps=min(10, steps),
            logging_strategy="steps",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
            seed=seed,
        )
        trainer = SFTTrainer(
            model=model,
            args=arguments,
            train_dataset=Dataset.from_list(batched_by_length(rows, batch_size, seed)),
            processing_class=tokenizer,
            callbacks=[_Report(on_step)] if on_step else None,
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    final = losses[-1] if losses else float("nan")
    if not math.isfinite(final):
        raise LearnerError(f"the loss became {final} after {steps} supervised steps. Lower sft.lr (now {lr}).")
    return final
