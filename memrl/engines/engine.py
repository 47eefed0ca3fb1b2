"""What generates tokens. Engines take ids and give ids; each request may name its own adapter version and seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from memrl.errors import EngineError
from memrl.records import AdapterRef, Completion


@dataclass(frozen=True)
class Sampling:
    """How one completion is sampled.

    `temperature` 0 is greedy (log-probs are then of the unscaled distribution). `seed` fixes the draw of this request,
    whatever else is in its batch.
    """

    max_tokens: int
    temperature: float = 1.0
    seed: int = 0


class Engine(Protocol):
    """A generator of tokens. The same contract tests run against every engine."""

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        order: tuple[int, ...] = (),
    ) -> Completion:
        """Sample one completion; `adapter` None is the base model.

        `order` is the request's logical place (step, stream, episode, chunk, ...). Where an engine forms batches
        itself, it forms them in that order from requests of one step, so that batches do not depend on timing.

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
