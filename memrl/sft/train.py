"""Supervised learning of any causal model from demonstrations, under a budget of tokens, kill-safe.

The invariant: what is learned is held in float32, whatever the model computes in. A pure bfloat16 AdamW would round
nine in ten updates of a warm start's size away. Gradients are summed in float32 too, over all passes of a step.
"""

from __future__ import annotations

import logging
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import get_scheduler

from memrl.engines.heads import head_of
from memrl.engines.memory import room_on, within_memory
from memrl.engines.trees import reads_trees
from memrl.errors import CheckpointError, LearnerError
from memrl.learner.batching import MicroBatch, make_micro_batches, sample_length
from memrl.learner.logprobs import completion_scores
from memrl.learner.lora import without_dropout
from memrl.records import Sample
from memrl.sft.examples import Example

log = logging.getLogger(__name__)
MAX_GRAD_NORM = 1.0
WARMUP = 0.05
"""Share of the steps in which the learning rate rises."""


def batches_by_length(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Places of an epoch's examples, in batches of nearly one length that come in any order.

    Less padding, and a batch of short answers is not drowned by long demonstrations in the token mean. Refused:
    sorted batches, in which the two jobs take turns for dozens of steps.
    """
    rng = random.Random(f"batches/{seed}/{epoch}")
    order = rng.sample(range(len(lengths)), len(lengths))
    batches: list[list[int]] = []
    window = 32 * batch_size
    for start in range(0, len(order), window):
        some = sorted(order[start : start + window], key=lambda index: lengths[index])
        batches += [some[place : place + batch_size] for place in range(0, len(some), batch_size)]
    rng.shuffle(batches)
    return batches


class Schedule:
    """The batch of every step: a function of the step alone, so that a resumed warm start takes the same.

    Args:
        examples: those that fit.
    """

    def __init__(self, examples: Sequence[Example], batch_size: int, seed: int) -> None:
        self.examples = examples
        self._lengths = [len(example.prompt_ids) + len(example.completion_ids) for example in examples]
        self._batch_size = batch_size
        self._seed = seed
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    def batch(self, step: int) -> list[Example]:
        """Return the examples of a step, counted from 0."""
        epoch, place = divmod(step, math.ceil(len(self.examples) / self._batch_size))
        if self._epoch[0] != epoch:
            self._epoch = epoch, batches_by_length(self._lengths, self._batch_size, self._seed, epoch)
        batches = self._epoch[1]
        return [self.examples[index] for index in batches[place % len(batches)]]


@dataclass(frozen=True)
class StepFigures:
    """The figures of one optimizer step."""

    loss: float
    """Nats a completion token."""
    grad_norm: float
    lr: float
    tokens: int
    """Positions that went through the model, padding included."""


class WarmLearner:
    """A model that is trained on demonstrations, with its float32 masters, its optimizer and its schedule.

    Args:
        trained: the model, or a peft model around it; changed in place.
        steps: the length of the schedule.
        lr: learning rate at its highest, reached after WARMUP of the steps, then falling by a cosine.
        micro_batch_tokens: padded tokens of one pass; less, once memory did not hold as much.
    """

    def __init__(self, trained: Any, *, steps: int, lr: float, micro_batch_tokens: int) -> None:
        without_dropout(trained)
        self.model = trained.get_base_model() if hasattr(trained, "get_base_model") else trained
        self.step_number = 0
        self._micro_batch_tokens = micro_batch_tokens
        self._head = head_of(self.model)
        self._shared = reads_trees(self.model)
        self._used = {name: p for name, p in trained.named_parameters() if p.requires_grad}
        self._masters = {
            name: p if p.dtype == torch.float32 else nn.Parameter(p.detach().float()) for name, p in self._used.items()
        }
        self.device = next(iter(self._used.values())).device
        self.optimizer = torch.optim.AdamW(self._masters.values(), lr=lr, weight_decay=0.0)
        self.scheduler = get_scheduler("cosine", self.optimizer, max(1, round(WARMUP * steps)), steps)

    def step(self, examples: Sequence[Example]) -> StepFigures:
        """Take one optimizer step on the mean loss of the examples' completion tokens.

        Raises:
            LearnerError: the loss or the gradient is not finite, or memory does not hold a single example. Nothing was
                updated then.
        """
        samples = [
            Sample(one.prompt_ids, one.completion_ids, [0.0] * len(one.completion_ids), 0.0, 0) for one in examples
        ]
        loss, tokens = within_memory(partial(self._gradient, samples), partial(self._halve, samples))
        norm = float(torch.nn.utils.clip_grad_norm_(self._masters.values(), MAX_GRAD_NORM))
        lr = float(self.scheduler.get_last_lr()[0])
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise LearnerError(
                f"step {self.step_number + 1}: the loss is {loss} and the gradient's norm {norm}; nothing was updated. "
                "Lower sft.lr, or use model.dtype=float32"
            )
        self.optimizer.step()
        self.scheduler.step()
        self._use_masters()
        self.step_number += 1
        return StepFigures(loss, norm, lr, tokens)

    def state(self) -> dict[str, Any]:
        """Return what `restore` takes."""
        return {
            "step": self.step_number,
            "masters": {name: master.detach() for name, master in self._masters.items()},
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "micro_batch_tokens": self._micro_batch_tokens,
        }

    def save(self, folder: Path) -> None:
        """Write the state into a folder.

        Raises:
            OSError: it cannot be written.
        """
        try:
            torch.save(self.state(), folder / "state.pt")
        except RuntimeError as error:  # torch's word for a full disk
            raise OSError(str(error)) from error

    @torch.no_grad()
    def restore(self, folder: Path) -> None:
        """Become what `save` wrote.

        Raises:
            CheckpointError: it is no such state, or of another model.
        """
        try:
            state: dict[str, Any] = torch.load(folder / "state.pt", map_location="cpu", weights_only=True)
            masters: dict[str, Tensor] = state["masters"]
        except Exception as error:  # torch.load raises whatever the bytes happen to trip over
            raise CheckpointError(f"{folder} is no state of a warm start: {error}") from error
        if {name: p.shape for name, p in masters.items()} != {name: p.shape for name, p in self._masters.items()}:
            raise CheckpointError(f"{folder} belongs to another model: its weights differ in name or shape")
        for name, master in self._masters.items():
            master.copy_(masters[name])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self._micro_batch_tokens = int(state["micro_batch_tokens"])
        self.step_number = int(state["step"])
        self._use_masters()

    def _gradient(self, samples: Sequence[Sample]) -> tuple[float, int]:
        """Sum up the gradient of some examples in the masters; returns the loss and the positions computed."""
        self.optimizer.zero_grad(set_to_none=True)
        for used in self._used.values():
            used.grad = None
        count = sum(len(sample.completion_ids) for sample in samples)
        loss, tokens = 0.0, 0
        for batch in self._batches(samples):
            scores = completion_scores(self.model, batch, 1.0, self._head)
            share = -scores.logprobs_BC.sum() / count
            share.backward()
            loss += float(share.detach())
            tokens += batch.padded_tokens
            for name, used in self._used.items():
                master = self._masters[name]
                if master is not used and used.grad is not None:
                    summed = used.grad.float()
                    master.grad = summed if master.grad is None else master.grad.add_(summed)
                    used.grad = None
        return loss, tokens

    def _batches(self, samples: Sequence[Sample]) -> list[MicroBatch]:
        return make_micro_batches(samples, self._micro_batch_tokens, self.device, shared=self._shared)

    @torch.no_grad()
    def _use_masters(self) -> None:
        for name, used in self._used.items():
            if self._masters[name] is not used:
                used.copy_(self._masters[name])

    def _halve(self, samples: Sequence[Sample], failed: str) -> None:
        longest = max(map(sample_length, samples))
        largest = max(batch.padded_tokens for batch in self._batches(samples))
        if largest <= longest:
            raise LearnerError(
                f"out of memory on {room_on(self.device)} with one demonstration of {longest:,} tokens: {failed}. What "
                "helps: a lower sft.max_length, sft.lora=true, model.dtype=bfloat16, or a smaller model."
            )
        self._micro_batch_tokens = max(longest, largest // 2)
        log.warning(
            "out of memory with %d tokens at once; from now on at most %d (sft.micro_batch_tokens): %s",
            largest, self._micro_batch_tokens, failed,
        )  # fmt: skip
