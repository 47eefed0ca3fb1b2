"""The learner: samples in, next adapter out. It knows nothing of rewards, groups or credit (law 5).

A step is all or nothing: whatever stops it, be it a NaN or Ctrl-C, leaves the learner as it was before the step.
"""

from __future__ import annotations

import io
import math
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel, get_scheduler

from memrl.config import Config
from memrl.errors import CheckpointError, ConfigError, LearnerError
from memrl.files import new_folder
from memrl.learner.batching import MicroBatch, check_samples, make_micro_batches
from memrl.learner.logprobs import TokenScores, completion_scores
from memrl.learner.lora import checkpoint_activations, wrap_lora
from memrl.learner.loss import LossStats, Normaliser, policy_loss
from memrl.records import AdapterRef, Sample, adapter_name

STATE_FILE = "learner.pt"
Progress = Callable[[int, int], None]
"""Called with (micro-batches done, micro-batches of this step)."""


class Learner:
    """Owns a base model with a trainable LoRA adapter, its optimizer and its schedule.

    `model` is changed in place: an engine in the same process needs its own copy of the base model. `total_updates` is
    the length of the learning-rate schedule in optimizer steps. `version` counts the steps that were taken; version 0
    is the untrained adapter, which changes nothing (its B matrices are zero).
    """

    def __init__(self, model: PreTrainedModel, config: Config, total_updates: int) -> None:
        if config.rollout.temperature <= 0.0:
            raise ConfigError("rollout.temperature must be above 0 to learn: greedy samples have no log-probs")
        self.config = config
        self.version = 0
        self.updates = 0
        self.peft_model = wrap_lora(model, config.model.lora, config.seed)
        self.model = cast(PreTrainedModel, self.peft_model.get_base_model())
        if config.train.gradient_checkpointing:
            checkpoint_activations(self.model)
        self.peft_model.train()  # only checkpointing depends on it; no dropout is left
        self.device = next(model.parameters()).device
        self._trainable = {name: p for name, p in self.peft_model.named_parameters() if p.requires_grad}
        train = config.train
        self.optimizer = torch.optim.AdamW(self._trainable.values(), lr=train.lr, weight_decay=train.weight_decay)
        try:
            self.scheduler = get_scheduler(train.schedule, self.optimizer, train.warmup_steps, total_updates)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"train.schedule {train.schedule!r} cannot be used: {error}") from error
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise ConfigError("train.schedule 'reduce_lr_on_plateau' needs a metric that the learner does not have")
        self._published: AdapterRef | None = None

    def step(self, samples: Sequence[Sample], progress: Progress | None = None) -> dict[str, float]:
        """Take `train.updates_per_step` optimizer steps, each on its own part of `samples`.

        Without samples nothing changes and the version stays. Raises LearnerError for a non-finite loss or gradient,
        naming where; nothing is updated then.
        """
        if not samples:
            return self._metrics([], LossStats(), [], 0)
        check_samples(samples)
        parts = self._split(samples)
        budget = self.config.train.micro_batch_tokens
        batched = [make_micro_batches(part, budget, self.device) for part in parts]
        total, done = sum(len(batches) for batches in batched), 0
        before = self._state_bytes()
        stats = LossStats()
        taken: list[tuple[float, float]] = []
        try:
            # With one update, old = the learner itself at that moment and no extra pass is needed. With more, the
            # ratio must be measured from where the step began, so every sample is scored before the first of them.
            old = [[self._old_logprobs(batch) for batch in batches] for batches in batched] if len(parts) > 1 else None
            for number, batches in enumerate(batched):
                normaliser = Normaliser(
                    samples=len(parts[number]),
                    tokens=sum(len(sample.completion_ids) for sample in parts[number]),
                    max_completion_tokens=self.config.rollout.max_completion_tokens,
                )
                loss = 0.0
                self.optimizer.zero_grad(set_to_none=True)
                for place, batch in enumerate(batches):
                    old_BC = old[number][place] if old is not None else None
                    loss += self._backward(batch, old_BC, normaliser, stats, parts[number])
                    done += 1
                    if progress is not None:
                        progress(done, total)
                taken.append((loss, self._apply_gradient()))
            self.version += 1
        except BaseException:
            self._restore(before)
            raise
        finally:
            self.optimizer.zero_grad(set_to_none=True)
        return self._metrics(
            samples, stats, taken, sum(batch.padded_tokens for batches in batched for batch in batches)
        )

    def logprobs(self, samples: Sequence[Sample], temperature: float | None = None) -> list[list[float]]:
        """Log-probs (nats) of each sample's completion under the current adapter, at `temperature` (None: that of the
        rollouts). The canary compares them to an engine's."""
        scored: list[list[float]] = [[] for _ in samples]
        for batch in make_micro_batches(samples, self.config.train.micro_batch_tokens, self.device):
            rows = self._old_logprobs(batch, temperature)
            for index, row, mask in zip(batch.indices, rows, batch.mask_BC, strict=True):
                scored[index] = row[mask].tolist()
        return scored

    def publish(self, folder: Path) -> AdapterRef:
        """Write the adapter to `folder/v<version>` in peft's format, whole or not at all."""
        name = adapter_name(self.version)
        target = folder / name
        ref = AdapterRef(version=self.version, name=name, path=str(target))
        if self._published == ref and target.is_dir():
            return ref
        try:
            with new_folder(target) as partial:
                # "auto" would look the base model up on the hub to see whether its vocabulary grew
                self.peft_model.save_pretrained(str(partial), save_embedding_layers=False)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"cannot publish the adapter {target}: {error}; earlier adapters are whole"
            ) from error
        self._published = ref
        return ref

    def save(self, path: Path) -> None:
        """Write adapter, optimizer, schedule and counters into the folder `path` (a checkpoint being written)."""
        path.mkdir(parents=True, exist_ok=True)
        # Through memory: torch.save to a file turns a full disk into a RuntimeError without an errno.
        with (path / STATE_FILE).open("wb") as file:
            file.write(self._state_bytes())
            file.flush()
            os.fsync(file.fileno())

    def state(self) -> bytes:
        """What `save` writes into `STATE_FILE`, for who may have to write it later, when the learner has moved on."""
        return self._state_bytes()

    def load(self, path: Path) -> None:
        """Continue from what `save` wrote, to the bit."""
        file = path / STATE_FILE
        try:
            data = file.read_bytes()
        except OSError as error:
            raise CheckpointError(f"cannot read {file}: {error.strerror}") from error
        self._restore(data, str(file))
        self._published = None

    def _split(self, samples: Sequence[Sample]) -> list[list[Sample]]:
        """`updates_per_step` parts of nearly equal size (fewer where samples lack), shuffled by (seed, version)."""
        count = min(self.config.train.updates_per_step, len(samples))
        if count <= 1:
            return [list(samples)]
        order = list(range(len(samples)))
        random.Random(f"{self.config.seed}:{self.version}").shuffle(order)
        return [[samples[index] for index in sorted(order[part::count])] for part in range(count)]

    def _score(self, batch: MicroBatch, temperature: float | None = None) -> TokenScores:
        heat = self.config.rollout.temperature if temperature is None else temperature
        return completion_scores(self.model, batch, heat)

    @torch.no_grad()
    def _old_logprobs(self, batch: MicroBatch, temperature: float | None = None) -> Tensor:
        return self._score(batch, temperature).logprobs_BC

    def _backward(
        self,
        batch: MicroBatch,
        old_BC: Tensor | None,
        normaliser: Normaliser,
        stats: LossStats,
        samples: Sequence[Sample],
    ) -> float:
        """Add one micro-batch's gradient; returns its share of the loss."""
        ref_BC = None
        if self.config.loss.kl != 0.0:
            with self.peft_model.disable_adapter():
                ref_BC = self._old_logprobs(batch)
        scores = self._score(batch)
        result = policy_loss(
            scores.logprobs_BC,
            scores.logprobs_BC.detach() if old_BC is None else old_BC,
            batch.advantages_B,
            batch.mask_BC,
            self.config.loss,
            normaliser=normaliser,
            sampling_logprobs_BT=batch.sampling_logprobs_BC,
            ref_logprobs_BT=ref_BC,
        )
        loss = float(result.loss.detach())
        if not math.isfinite(loss):
            rows = [samples[index] for index in batch.indices]
            names = "; ".join(f"stream {s.stream_id!r}, episode {s.episode}, chunk {s.chunk}" for s in rows[:4])
            more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
            raise LearnerError(
                f"the loss is {loss} at learner step {self.version + 1}, in the micro-batch of {names}{more}; "
                "nothing was updated. Lower train.lr or loss.importance_cap, or use model.dtype=float32"
            )
        result.loss.backward()
        stats.add(result.stats)
        stats.add(LossStats(sums={"entropy": scores.entropy_BC.sum()}))
        return loss

    def _apply_gradient(self) -> float:
        """Clip, step, advance the schedule; returns the gradient's norm before clipping."""
        limit = self.config.train.max_grad_norm
        norm = float(torch.nn.utils.clip_grad_norm_(self._trainable.values(), limit if limit > 0.0 else math.inf))
        if not math.isfinite(norm):
            broken = [n for n, p in self._trainable.items() if p.grad is not None and not p.grad.isfinite().all()]
            where = f", first in {broken[0]}" if broken else ""
            raise LearnerError(
                f"the gradient's norm is {norm} at learner step {self.version + 1}{where}; nothing was updated. "
                "Lower train.lr or use model.dtype=float32"
            )
        self.optimizer.step()
        self.scheduler.step()
        self.updates += 1
        return norm

    def _metrics(
        self, samples: Sequence[Sample], stats: LossStats, taken: Sequence[tuple[float, float]], padded: int
    ) -> dict[str, float]:
        """The same keys after every step, also after one without samples."""
        figures = stats.metrics() if stats.sums else {}
        names = ("clip_fraction", "kl", "kl_old", "sampling_gap", "importance_capped", "ratio_max", "sampling_gap_max")
        count = max(len(taken), 1)
        return {
            "loss/total": sum(loss for loss, _ in taken) / count,
            "loss/grad_norm": sum(norm for _, norm in taken) / count,
            "loss/entropy": figures.get("loss/entropy", 0.0),
            **{f"loss/{name}": figures.get(f"loss/{name}", 0.0) for name in names},
            "loss/lr": float(self.scheduler.get_last_lr()[0]),  # of the next update
            "tokens/trained": float(sum(len(sample.completion_ids) for sample in samples)),
            "tokens/learner_padded": float(padded),
            "learner/samples": float(len(samples)),
            "learner/updates": float(len(taken)),
            "learner/version": float(self.version),
        }

    def _state_bytes(self) -> bytes:
        buffer = io.BytesIO()
        torch.save(
            {
                "adapter": {name: parameter.detach() for name, parameter in self._trainable.items()},
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "version": self.version,
                "updates": self.updates,
            },
            buffer,
        )
        return buffer.getvalue()

    @torch.no_grad()
    def _restore(self, data: bytes, source: str = "the state before the step") -> None:
        try:
            state: dict[str, Any] = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
            adapter: dict[str, Tensor] = state["adapter"]
            optimizer, scheduler = state["optimizer"], state["scheduler"]
            version, updates = int(state["version"]), int(state["updates"])
        except Exception as error:  # torch.load raises whatever the bytes happen to trip over
            raise CheckpointError(f"{source} is not a learner's state: {error}") from error
        shapes = {name: tuple(parameter.shape) for name, parameter in self._trainable.items()}
        if {name: tuple(tensor.shape) for name, tensor in adapter.items()} != shapes:
            raise CheckpointError(
                f"{source} belongs to another model or model.lora: its matrices differ in name or shape"
            )
        for name, parameter in self._trainable.items():
            parameter.copy_(adapter[name])
        self.optimizer.load_state_dict(optimizer)
        self.scheduler.load_state_dict(scheduler)
        self.version, self.updates = version, updates
