"""The interface of what generates tokens. Engines take ids and give ids; each request may name its own adapter version
and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

from memrl.config import RolloutConfig
from memrl.errors import EngineError
from memrl.records import AdapterRef, Completion


@dataclass(frozen=True)
class Sampling:
    """The settings by which one completion is sampled.

    `temperature` 0 is greedy (log-probs are then of the unscaled distribution). `seed` fixes the draw of this request,
    whatever else is in its batch. `guided` holds the completion to the engine's grammar, where it has one
    (`rollout.guided`).
    """

    max_tokens: int
    temperature: float = 1.0
    seed: int = 0
    guided: bool = False


def sampling_of(rollout: RolloutConfig, temperature: float, seed: int = 0) -> Sampling:
    """Return how the policy's completions are sampled."""
    return Sampling(rollout.max_completion_tokens, temperature, seed, guided=rollout.guided != "off")


@dataclass(frozen=True, order=True)
class Place:
    """The logical place of a request among all: batches are formed in the order of places, never in that of arrival.

    Places are compared from their first field to their last. Requests of different `step`s never share a batch: how
    far one step's rollout has come when the next one's begins depends on timing.
    """

    EVALUATION: ClassVar[int] = -1
    CANARIES: ClassVar[int] = -2
    ATTACKS: ClassVar[int] = -3

    step: int = 0
    """The trainer's step, or, for what belongs to none, one of the above."""
    stream: int = 0
    """Number of the stream within the step."""
    episode: int = 0
    """Number of the episode within its group."""
    stage: int = 0
    """The chunk that is read; once all are read, what follows: questions, their repetition, grading, re-rolls."""
    number: tuple[int, ...] = ()
    """Which request of the stage: a question, a vote on it, a try at that vote, and so on."""

    def at(self, stage: int) -> Place:
        """Return another stage of the same episode."""
        return replace(self, stage=stage, number=())

    def under(self, *number: int) -> Place:
        """Return the place of one request of this stage, or of one that belongs to this request."""
        return replace(self, number=(*self.number, *number))


ANYWHERE = Place()
"""The place of a request that stands alone."""


@dataclass
class Counts:
    """The cost of decoding so far."""

    passes: int = 0
    """Forward passes."""
    prompt: int = 0
    """Prompt tokens of the requests."""
    read: int = 0
    """Prompt tokens that went through the model, without padding."""
    padded: int = 0
    """Positions that went through the model."""

    def take(self) -> dict[str, int]:
        """Return what was counted, and begin again."""
        taken = {"passes": self.passes, "prompt": self.prompt, "read": self.read, "positions": self.padded}
        self.passes = self.prompt = self.read = self.padded = 0
        return taken


class Engine(Protocol):
    """A generator of tokens. The same contract tests run against every engine."""

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        place: Place = ANYWHERE,
    ) -> Completion:
        """Sample one completion; `adapter` None is the base model.

        Where an engine forms batches itself, it forms them in the order of the requests' `place`s, and from requests of
        one step, so that batches do not depend on timing.

        Raises:
            EngineError: the adapter is not loaded, the prompt leaves no room, or generation failed.
        """
        ...

    async def load_adapter(self, ref: AdapterRef) -> None:
        """Make a published adapter usable; versions that are no longer needed may be unloaded.

        Raises:
            EngineError: the folder is damaged, or the version is taken by another adapter.
        """
        ...

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: AdapterRef | None
    ) -> list[float]:
        """Log-probs (nats) of given completion ids under the unscaled distribution: the canary's question."""
        ...

    async def sleep(self) -> None:
        """Give up the memory of a GPU that is shared with the learner, until `wake`; nothing may be asked meanwhile."""
        ...

    async def wake(self) -> None:
        """Be ready again, with the same adapters."""
        ...

    def close(self) -> None:
        """End whatever the engine has started. It is not used again."""
        ...


def check_request(prompt_ids: Sequence[int], sampling: Sampling, context_length: int) -> None:
    """Raise EngineError for a request that no engine can answer."""
    if not prompt_ids:
        raise EngineError("the prompt is empty")
    if len(prompt_ids) + sampling.max_tokens > context_length:
        raise EngineError(
            f"a prompt of {len(prompt_ids)} tokens and {sampling.max_tokens} new ones do not fit the model's context "
            f"of {context_length}"
        )
