"""The engine on somebody else's server: an OpenAI-compatible one that serves an exported policy.

It is asked for plain completions of token ids (`/completions`), not of chat messages: the server would render the tools
and messages in its own way, and the policy would read other prompts than it was trained on. vLLM (`vllm serve
--enable-lora`), llama.cpp's server and SGLang take ids. For use and evaluation only: log-probs are not asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from memrl.config.keys import read_key
from memrl.endpoints.client import open_client, shown
from memrl.engines.engine import ANYWHERE, Place, Sampling
from memrl.errors import EngineError
from memrl.records import AdapterRef, Completion

if TYPE_CHECKING:
    from openai import OpenAIError


@dataclass(frozen=True)
class Served:
    """A policy on a server: the address, and the names it has there."""

    url: str
    """Up to and with /v1."""
    policy: str
    base: str | None = None
    """The base model's name there; None: the policy's, as for a merged model."""
    api_key_env: str | None = None
    """NAME of the environment variable that holds the key."""
    timeout: float = 600.0
    """Seconds for one request."""
    retries: int = 4


class EndpointEngine:
    """Implements `Engine` for an exported policy that a server has loaded under a name.

    Args:
        tokenizer: the policy's; turns a reply's text into ids where the server does not send them.
        end_ids: ids that end a turn.

    Raises:
        ConfigError: the variable that is to hold the key is not set.
    """

    def __init__(self, served: Served, tokenizer: Any, end_ids: Sequence[int]) -> None:
        self._served = served
        self._tokenizer = tokenizer
        self._ends = list(end_ids)
        self._key = read_key(served.api_key_env) if served.api_key_env else ""
        self._client = open_client(served.url, self._key, timeout=served.timeout, retries=served.retries)

    async def load_adapter(self, ref: AdapterRef) -> None:
        """The server has loaded it; here it is only looked up.

        Raises:
            EngineError: nobody answers, or no model of that name is served.
        """
        from openai import OpenAIError

        try:
            names = [model.id async for model in self._client.models.list()]
        except OpenAIError as error:
            raise EngineError(self._wrong(error)) from None
        missing = [name for name in (self._served.policy, self._base) if name not in names]
        if missing:
            raise EngineError(f"{self._served.url} serves no model {missing[0]!r}; it serves {', '.join(names)}.")

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        place: Place = ANYWHERE,
    ) -> Completion:
        from openai import OpenAIError

        try:
            reply = await self._client.completions.create(
                model=self._base if adapter is None else self._served.policy,
                prompt=list(prompt_ids),
                max_tokens=sampling.max_tokens,
                temperature=sampling.temperature,
                seed=sampling.seed & 0x7FFFFFFF,
                # vLLM's; other servers pass over what they do not know
                extra_body={"stop_token_ids": self._ends, "skip_special_tokens": False, "return_token_ids": True},
            )
        except OpenAIError as error:
            raise EngineError(self._wrong(error)) from None
        if not reply.choices:
            raise EngineError(f"{self._served.url} sent a reply without an answer. See the server's log.")
        choice = reply.choices[0]
        stopped = choice.finish_reason != "length"
        ids = getattr(choice, "token_ids", None)
        if ids is None:
            ids = self._tokenizer.encode(choice.text, add_special_tokens=False)
        if stopped and (not ids or ids[-1] not in self._ends):
            ids = [*ids, self._ends[0]]
        version = None if adapter is None else adapter.version
        return Completion(ids=ids, logprobs=[], stop="stop" if stopped else "length", version=version)

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: AdapterRef | None
    ) -> list[float]:
        """Raises EngineError: such servers do not say."""
        raise EngineError("an endpoint does not tell the log-probs of given ids")

    async def sleep(self) -> None:
        """Nothing of the server's is ours to give up."""

    async def wake(self) -> None:
        """Do nothing, as `sleep`."""

    def close(self) -> None:
        """Nothing was started; the client's connections go with it."""

    @property
    def _base(self) -> str:
        return self._served.base or self._served.policy

    def _wrong(self, error: OpenAIError) -> str:
        from openai import APIConnectionError, APIStatusError, NotFoundError

        place, says = self._served.url, shown(str(error), self._key)
        if isinstance(error, NotFoundError):
            return (
                f"{place} has no such model, or takes no plain completions of token ids ({says}). Serve the exported "
                "policy by vllm serve or llama.cpp's server, and check its names by GET /models."
            )
        if isinstance(error, APIStatusError):
            return f"{place} refused the request ({says})."
        if isinstance(error, APIConnectionError):
            return f"nobody answers at {place} ({says}). Start the server, or correct the address."
        return f"{place}: {says}."
