"""The learner as the trainer knows it, whether it lives in the trainer's process or in several others.

A step is all or nothing: whatever stops it, be it a NaN or Ctrl-C, leaves the learner as it was before the step. The
files that a learner writes do not depend on the number of its processes.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path

from safetensors import SafetensorError

from memrl.config import TrainConfig
from memrl.errors import CheckpointError
from memrl.learner.sharing import Share, share_out
from memrl.records import AdapterRef, Sample, adapter_name
from memrl.storage.files import new_folder

STATE_FILE = "learner.pt"
Progress = Callable[[int, int], None]
"""Called with (micro-batches done, micro-batches of this step)."""


class AnyLearner(ABC):
    """Turns samples into the next adapter.

    `version` counts the steps that were taken; version 0 is the untrained adapter, which changes nothing.

    Args:
        max_completion_tokens: `rollout.max_completion_tokens`.
        seed: the run's.
    """

    def __init__(self, train: TrainConfig, *, max_completion_tokens: int, seed: int) -> None:
        self.train = train
        self._max_completion_tokens = max_completion_tokens
        self._seed = seed
        self.version = 0
        self._published: AdapterRef | None = None

    def share_out(self, samples: Sequence[Sample], members: int) -> list[list[Share]]:
        """Return for each of `members` its part of every update of the next step.

        Raises:
            LearnerError: a sample cannot be trained on.
        """
        return share_out(
            samples,
            self.train,
            max_completion_tokens=self._max_completion_tokens,
            seed=self._seed,
            version=self.version,
            members=members,
        )

    @abstractmethod
    def step(self, samples: Sequence[Sample], progress: Progress | None = None) -> dict[str, float]:
        """Take `train.updates_per_step` optimizer steps, each on its own part of `samples`.

        Without samples nothing changes and the version stays. Raises LearnerError for a non-finite loss or gradient,
        naming where; nothing is updated then.
        """

    @abstractmethod
    def logprobs(self, samples: Sequence[Sample], temperature: float | None = None) -> list[list[float]]:
        """Log-probs (nats) of each sample's completion under the current adapter: at `temperature` those of the model's
        own distribution, which the canary compares to an engine's `score`; None: those of the distribution that
        rollouts sample from."""

    @abstractmethod
    def state(self) -> bytes:
        """Return what `save` writes into `STATE_FILE`, for who may have to write it later, when the learner has moved
        on."""

    @abstractmethod
    def write_adapter(self, folder: Path) -> None:
        """Write the adapter's files, in peft's format, into `folder`."""

    @abstractmethod
    def restore(self, data: bytes, source: str) -> None:
        """Become what `state` was; `source` is its name in error messages."""

    def close(self) -> None:  # noqa: B027 (most learners hold nothing that must be given back)
        """End what was started for this learner."""

    def publish(self, folder: Path) -> AdapterRef:
        """Write the adapter to `folder/v<version>` in peft's format, whole or not at all."""
        name = adapter_name(self.version)
        target = folder / name
        ref = AdapterRef(version=self.version, name=name, path=str(target))
        if self._published == ref and target.is_dir():
            return ref
        self.write_whole(target)
        self._published = ref
        return ref

    def write_whole(self, folder: Path) -> None:
        """Write the adapter's files, in peft's format, into the new folder `folder`, whole or not at all.

        Raises:
            CheckpointError: they cannot be written.
        """
        try:
            with new_folder(folder) as partial:
                self.write_adapter(partial)
        except (OSError, SafetensorError) as error:
            raise CheckpointError(
                f"cannot publish the adapter {folder}: {error}; earlier adapters are whole"
            ) from error

    def save(self, path: Path) -> None:
        """Write adapter, optimizer, schedule and counters into the folder `path` (a checkpoint being written)."""
        path.mkdir(parents=True, exist_ok=True)
        # Through memory: torch.save to a file turns a full disk into a RuntimeError without an errno.
        with (path / STATE_FILE).open("wb") as file:
            file.write(self.state())
            file.flush()
            os.fsync(file.fileno())

    def load(self, path: Path) -> None:
        """Continue from what `save` wrote, to the bit."""
        file = path / STATE_FILE
        try:
            data = file.read_bytes()
        except OSError as error:
            raise CheckpointError(f"cannot read {file}: {error.strerror}") from error
        self.restore(data, str(file))
        self._published = None
