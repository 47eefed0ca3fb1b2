"""The learner: samples in, next adapter out. It knows nothing of rewards, groups or credit (law 5).

It is the only one: what differs when several of them learn together stands in its `peers`.
"""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, get_scheduler

from memrl.config import LoraConfig, LossConfig, TrainConfig
from memrl.engines.guide import Guide
from memrl.engines.heads import head_of
from memrl.engines.memory import first_line, out_of_memory, room_on, within_memory
from memrl.engines.trees import reads_trees
from memrl.errors import CheckpointError, ConfigError, LearnerError
from memrl.learner.batching import MicroBatch, make_micro_batches, sample_length
from memrl.learner.interface import STATE_FILE, AnyLearner, Progress
from memrl.learner.logprobs import TokenScores, completion_scores
from memrl.learner.lora import checkpoint_activations, set_learning, wrap_lora, write_lora
from memrl.learner.loss import LossStats, Normaliser, policy_loss
from memrl.learner.peers import Peers
from memrl.learner.sharing import Share, ShareResult, step_metrics
from memrl.records import Sample

__all__ = ["STATE_FILE", "Learner"]
log = logging.getLogger(__name__)
Result = TypeVar("Result")


class Learner(AnyLearner):
    """Owns a base model with a trainable LoRA adapter, its optimizer and its schedule.

    Args:
        model: changed in place: an engine in the same process needs its own copy of the base model.
        temperature: `rollout.temperature`, under which the samples were drawn.
        max_completion_tokens: `rollout.max_completion_tokens`.
        seed: the run's.
        total_updates: the length of the learning-rate schedule in optimizer steps.
        peers: those that learn with it.
        guide: what the samples were held to.

    Raises:
        ConfigError: a setting cannot be used to learn.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        *,
        lora: LoraConfig,
        loss: LossConfig,
        train: TrainConfig,
        temperature: float,
        max_completion_tokens: int,
        seed: int,
        total_updates: int,
        peers: Peers | None = None,
        guide: Guide | None = None,
    ) -> None:
        if temperature <= 0.0:
            raise ConfigError("rollout.temperature must be above 0 to learn: greedy samples have no log-probs")
        super().__init__(train, max_completion_tokens=max_completion_tokens, seed=seed)
        self.temperature = temperature
        self._loss = loss
        self._guide = guide
        self.updates = 0
        self._told: bytes | None = None  # what `state` said, until something changes
        self._micro_batch_tokens = train.micro_batch_tokens  # less, once memory did not hold as much
        self.peers = Peers() if peers is None else peers
        self.peft_model = wrap_lora(model, lora, seed)
        self.model = cast(PreTrainedModel, self.peft_model.get_base_model())
        if train.gradient_checkpointing:
            checkpoint_activations(self.model)
        set_learning(self.peft_model)
        self._trainable = {name: p for name, p in self.peft_model.named_parameters() if p.requires_grad}
        self._head = head_of(self.model)
        self._shared = train.share_prefixes and not self.peers.in_step and reads_trees(self.model)
        self.peers.spread(self.model, self.trainable)
        self.device = next(iter(self._trainable.values())).device
        self.optimizer = torch.optim.AdamW(self._trainable.values(), lr=train.lr, weight_decay=train.weight_decay)
        try:
            self.scheduler = get_scheduler(train.schedule, self.optimizer, train.warmup_steps, total_updates)
        except (ValueError, TypeError) as error:
            raise ConfigError(f"train.schedule {train.schedule!r} cannot be used: {error}") from error
        if isinstance(self.scheduler, torch.optim.lr_scheduler.ReduceLROnPlateau):
            raise ConfigError("train.schedule 'reduce_lr_on_plateau' needs a metric that the learner does not have")

    @property
    def trainable(self) -> list[nn.Parameter]:
        """The adapter's matrices."""
        return list(self._trainable.values())

    @property
    def learning_rate(self) -> float:
        """Return the learning rate of the next update."""
        return float(self.scheduler.get_last_lr()[0])

    def step(self, samples: Sequence[Sample], progress: Progress | None = None) -> dict[str, float]:
        if not samples:
            return step_metrics([], [], self.learning_rate, self.version)
        [share] = self.share_out(samples, members=1)
        result = self.work(share, progress, self.state())
        return step_metrics([result], share, self.learning_rate, self.version)

    def work(self, share: Sequence[Share], progress: Progress | None, before: bytes) -> ShareResult:
        """Do this member's share of a step; returns when its peers have done theirs, or fails as they fail.

        Where memory does not hold a micro-batch, the step is done again with smaller ones: the gradient is a sum over
        samples, and the same to rounding.

        Args:
            before: `state()` of now, to go back to.

        Raises:
            LearnerError: as `step`; or memory does not hold a single sample.
        """
        samples = [sample for part in share for sample in part.samples]
        return self._within_memory(samples, lambda: self._work(share, progress, before), before)

    def _within_memory(
        self, samples: Sequence[Sample], work: Callable[[], Result], before: bytes | None = None
    ) -> Result:
        """Return what `work` on `samples` returns, with smaller micro-batches each time that memory lacks.

        Args:
            before: the state to go back to after each such time; None: the work changes none.
        """

        def take_less(failed: str) -> None:
            if before is not None:
                self._go_back(before, failed)
            self._halve(samples, failed)

        return within_memory(work, take_less)

    def _go_back(self, before: bytes, failed: str) -> None:
        """Become what `before` is, after memory did not hold a step of which updates may have been taken.

        Raises:
            LearnerError: that does not fit either, so that what the learner is now is no state of the run.
        """
        try:
            self.restore(before, "the state before the step")
        except Exception as error:
            raise LearnerError(
                f"out of memory on {room_on(self.device)} at learner step {self.version + 1} ({failed}), and again on "
                f"the way back to the state before it ({first_line(error)}). Go on from the last checkpoint by "
                "--resume, with a lower train.micro_batch_tokens, train.gradient_checkpointing=true or "
                "model.dtype=bfloat16."
            ) from error

    def _halve(self, samples: Sequence[Sample], failed: str) -> None:
        """Let micro-batches be half as large from now on.

        Raises:
            LearnerError: they hold one sample each, or others learn beside this one, whose passes must be as many.
        """
        longest = max((sample_length(sample) for sample in samples), default=0)
        largest = max((batch.padded_tokens for batch in self._batches(samples, guided=False)), default=0)
        if largest <= longest or type(self.peers) is not Peers:
            what = f"a sample of {longest:,}" if largest <= longest else f"a micro-batch of {largest:,}"
            smaller = "" if largest <= longest else "a lower train.micro_batch_tokens, "
            raise LearnerError(
                f"out of memory on {room_on(self.device)} with {what} tokens at learner step {self.version + 1}: "
                f"{failed}. Nothing was updated. What helps: {smaller}train.gradient_checkpointing=true, "
                "model.dtype=bfloat16, and shorter samples (rollout.max_prompt_tokens, rollout.max_completion_tokens)."
            )
        self._micro_batch_tokens = max(longest, largest // 2)
        log.warning(
            "out of memory with a micro-batch of %d tokens; from now on at most %d (train.micro_batch_tokens): %s",
            largest,
            self._micro_batch_tokens,
            failed,
        )

    def _work(self, share: Sequence[Share], progress: Progress | None, before: bytes) -> ShareResult:
        self._told = None
        batched = [self._batches(part.samples) for part in share]
        total, done = sum(len(batches) for batches in batched), 0

        def advance() -> None:
            nonlocal done
            done += 1
            if progress is not None:
                progress(done, total)

        stats = LossStats()
        losses: list[float] = []
        norms: list[float] = []
        try:
            old = self._old(share, batched)
            for number, (part, batches) in enumerate(zip(share, batched, strict=True)):
                self.optimizer.zero_grad(set_to_none=True)
                with self.peers.together():
                    losses.append(self._accumulate(part, batches, old[number], stats, advance))
                self.peers.sum_gradients(self.trainable)
                norms.append(self._apply_gradient())
            self.version += 1
        except BaseException as error:
            if not out_of_memory(error):  # else by whoever has let go of the error, and of what it holds
                self.restore(before, "the state before the step")
            raise
        finally:
            self.optimizer.zero_grad(set_to_none=True)
        padded = sum(batch.padded_tokens for batches in batched for batch in batches)
        return ShareResult(stats, losses, norms, padded)

    def logprobs(self, samples: Sequence[Sample], temperature: float | None = None) -> list[list[float]]:
        def score() -> list[list[float]]:
            scored: list[list[float]] = [[] for _ in samples]
            # At a temperature of its own somebody asks for the model's distribution, as an engine's `score` gives it.
            for batch in self._batches(samples, guided=temperature is None):
                rows = self._old_logprobs(batch, temperature)
                for index, row, mask in zip(batch.indices, rows, batch.mask_BC, strict=True):
                    scored[index] = row[mask].tolist()
            return scored

        return self._within_memory(samples, score)

    def state(self) -> bytes:
        # A step is followed by what is kept of it, and begins with what to go back to: the same bytes.
        if self._told is None:
            self._told = self._serialised()
        return self._told

    def _serialised(self) -> bytes:
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

    def write_adapter(self, folder: Path) -> None:
        write_lora(self.peft_model, folder)

    def _score(self, batch: MicroBatch, temperature: float | None = None) -> TokenScores:
        heat = self.temperature if temperature is None else temperature
        return completion_scores(self.model, batch, heat, self._head)

    @torch.no_grad()
    def _old_logprobs(self, batch: MicroBatch, temperature: float | None = None) -> Tensor:
        return self._score(batch, temperature).logprobs_BC

    def _batches(self, samples: Sequence[Sample], *, guided: bool = True) -> list[MicroBatch]:
        return make_micro_batches(
            samples, self._micro_batch_tokens, self.device, shared=self._shared, guide=self._guide if guided else None
        )

    def _old(self, share: Sequence[Share], batched: Sequence[Sequence[MicroBatch]]) -> list[list[Tensor] | None]:
        """Log-probs at the start of the step, by update and micro-batch; None: those that the update itself begins
        with.

        The ratio is measured from where the step began. That is where its first update begins; the samples of all
        others are scored before it.
        """
        old: list[list[Tensor] | None] = [None] * min(1, len(share))
        with self.peers.together():
            for part, batches in zip(share[1:], batched[1:], strict=True):
                old.append([self._old_logprobs(batch) for batch in batches])
                self._idle(part.passes - len(batches), learn=False)
        return old

    def _accumulate(
        self,
        part: Share,
        batches: Sequence[MicroBatch],
        old: Sequence[Tensor] | None,
        stats: LossStats,
        advance: Callable[[], None],
    ) -> float:
        """Add up the gradient of one update's micro-batches; returns their share of the loss."""
        loss, passes = 0.0, 0
        try:
            for place, batch in enumerate(batches):
                passes += 1
                loss += self._backward(batch, old[place] if old else None, part.normaliser, stats, part.samples)
                advance()
        except (LearnerError, InterruptedError):
            self._idle(part.passes - passes)  # the others may be in the middle of theirs
            raise
        self._idle(part.passes - passes)
        return loss

    def _idle(self, passes: int, *, learn: bool = True) -> None:
        """Take part in passes of the other members where a pass needs all of them, adding exactly zero to the
        gradient."""
        if not self.peers.in_step:
            return
        [blank] = self._batches([Sample([0], [0], [0.0], 0.0, self.version)])
        for _ in range(passes):
            if not learn:
                self._old_logprobs(blank)
                continue
            if self._loss.kl != 0.0:
                with self.peft_model.disable_adapter():
                    self._old_logprobs(blank)
            (self._score(blank).logprobs_BC.sum() * 0.0).backward()

    def _backward(
        self,
        batch: MicroBatch,
        old_BC: Tensor | None,
        normaliser: Normaliser,
        stats: LossStats,
        samples: Sequence[Sample],
    ) -> float:
        """Add one micro-batch's gradient; returns its share of the loss.

        A loss that is not finite is refused only after its backward pass, in which the peers may take part.
        """
        ref_BC = None
        if self._loss.kl != 0.0:
            with self.peft_model.disable_adapter():
                ref_BC = self._old_logprobs(batch)
        scores = self._score(batch)
        result = policy_loss(
            scores.logprobs_BC,
            scores.logprobs_BC.detach() if old_BC is None else old_BC,
            batch.advantages_B,
            batch.mask_BC,
            self._loss,
            normaliser=normaliser,
            sampling_logprobs_BT=batch.sampling_logprobs_BC,
            ref_logprobs_BT=ref_BC,
        )
        result.loss.backward()
        loss = float(result.loss.detach())
        if not math.isfinite(loss):
            rows = [samples[index] for index in batch.indices]
            names = "; ".join(f"stream {s.stream_id!r}, episode {s.episode}, chunk {s.chunk}" for s in rows[:4])
            more = f" and {len(rows) - 4} more" if len(rows) > 4 else ""
            raise LearnerError(
                f"the loss is {loss} at learner step {self.version + 1}, in the micro-batch of {names}{more}; "
                "nothing was updated. Lower train.lr or loss.importance_cap, or use model.dtype=float32"
            )
        stats.add(result.stats)
        stats.add(LossStats(sums={"entropy": scores.entropy_BC.sum()}))
        return loss

    def _apply_gradient(self) -> float:
        """Clip, step, advance the schedule; returns the gradient's norm before clipping."""
        limit = self.train.max_grad_norm
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

    @torch.no_grad()
    def restore(self, data: bytes, source: str) -> None:
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
        self._told = None
        for name, parameter in self._trainable.items():
            parameter.copy_(adapter[name])
        self.optimizer.load_state_dict(optimizer)
        self.scheduler.load_state_dict(scheduler)
        self.version, self.updates = version, updates
