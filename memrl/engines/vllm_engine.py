"""The engine on vLLM: continuous batching, prefix caching, and a new LoRA name and id for every version.

A token id outside the vocabulary would end the whole vLLM, so it is refused before it gets there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from memrl.engines.adapters import AdapterShelf, cannot_be_loaded
from memrl.engines.engine import ANYWHERE, Place, Sampling, check_request
from memrl.engines.vllm_thread import VllmThread
from memrl.errors import EngineDied, EngineError
from memrl.records import AdapterRef, Completion


class VllmEngine:
    """Implements `Engine` on vLLM. Requests join and leave its batches as they come, so `place` means nothing here.

    Args:
        vllm: the running vLLM, started for as many versions.
        end_ids: ids that end a turn.
        keep_versions: adapters held at once; the one that was loaded first is unloaded.
        grammar: of requests that ask to be held to it.
    """

    _numbers = itertools.count(1)  # of adapters and requests: never twice in one process, whichever engine asks

    def __init__(
        self, vllm: VllmThread, end_ids: Sequence[int], *, keep_versions: int = 2, grammar: str | None = None
    ) -> None:
        self._vllm = vllm
        self._end_ids = sorted(end_ids)
        self._adapters = AdapterShelf(keep_versions)
        self._grammar = grammar
        self._requests: dict[int, Any] = {}  # version -> vLLM's LoRARequest
        described = vllm.llm.model_config
        self.vocabulary = int(described.get_vocab_size())
        # `score` asks for a prompt of this length and for one token, of which it makes no use.
        self.context_length = int(described.max_model_len) - 1

    async def load_adapter(self, ref: AdapterRef) -> None:
        from vllm.lora.request import LoRARequest

        if not self._adapters.lacks(ref):
            return
        # With an id or a name that was used before, vLLM would answer with what it remembers of the old adapter.
        number = next(self._numbers)
        request = LoRARequest(f"{ref.name}-{number}", number, ref.path)
        try:
            loaded = await self._vllm.call(self._vllm.llm.add_lora(request))
        except EngineDied:
            raise
        except Exception as error:  # what its worker process raised comes back as a bare Exception
            raise cannot_be_loaded(ref, error) from error
        if not loaded:
            raise EngineError(f"vLLM did not load adapter {ref.name!r} from {ref.path}")
        self._requests[ref.version] = request
        for oldest in self._adapters.add(ref):
            await self._unload(oldest.version)

    async def _unload(self, version: int) -> None:
        await self._vllm.call(self._vllm.llm.remove_lora(self._requests.pop(version).lora_int_id))

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        place: Place = ANYWHERE,
    ) -> Completion:
        check_request(prompt_ids, sampling, self.context_length)
        held = {"structured_outputs": self._held()} if sampling.guided and self._grammar else {}
        output = await self._ask(
            prompt_ids,
            adapter,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            seed=sampling.seed,
            logprobs=0,  # of the sampled token alone
            stop_token_ids=self._end_ids,
            **held,
        )
        [written] = output.outputs
        ids = list(written.token_ids)
        return Completion(
            ids=ids,
            logprobs=[chosen[token].logprob for token, chosen in zip(ids, written.logprobs, strict=True)],
            stop="stop" if written.finish_reason == "stop" else "length",
            version=adapter.version if adapter else None,
            cached_tokens=output.num_cached_tokens or 0,
        )

    def _held(self) -> Any:
        from vllm.sampling_params import StructuredOutputsParams

        return StructuredOutputsParams(grammar=self._grammar)

    async def score(
        self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: AdapterRef | None
    ) -> list[float]:
        ids = [*prompt_ids, *completion_ids]
        output = await self._ask(ids, adapter, max_tokens=1, temperature=0.0, prompt_logprobs=0)
        scored = output.prompt_logprobs[len(prompt_ids) :]
        return [chosen[token].logprob for token, chosen in zip(completion_ids, scored, strict=True)]

    async def _ask(self, prompt_ids: Sequence[int], adapter: AdapterRef | None, **sampling: Any) -> Any:
        """vLLM's final output for one request."""
        from vllm import SamplingParams
        from vllm.sampling_params import RequestOutputKind

        stray = next((token for token in prompt_ids if not 0 <= token < self.vocabulary), None)
        if stray is not None:
            raise EngineError(f"generation failed: {stray} is no token of a vocabulary of {self.vocabulary}")
        lora = None
        if adapter is not None:
            self._adapters.require(adapter)
            lora = self._requests[adapter.version]
        how = SamplingParams(ignore_eos=True, detokenize=False, output_kind=RequestOutputKind.FINAL_ONLY, **sampling)
        name = f"memrl-{next(self._numbers)}"

        async def last() -> Any:
            prompt = {"prompt_token_ids": list(prompt_ids)}
            # One output, the final one, by `how`.
            return [output async for output in self._vllm.llm.generate(prompt, how, name, lora_request=lora)][-1]

        try:
            output = await self._vllm.call(last())
        except (ValueError, RuntimeError) as error:
            raise EngineError(f"generation failed: {error}") from error
        reason = output.outputs[0].finish_reason
        if reason not in ("stop", "length"):
            raise EngineError(f"generation failed: vLLM ended the request with {reason!r}")
        return output

    async def sleep(self) -> None:
        await self._vllm.call(self._vllm.llm.sleep(1))  # weights to the CPU's memory, the cache away

    async def wake(self) -> None:
        await self._vllm.call(self._vllm.llm.wake_up())

    def close(self) -> None:
        self._vllm.close()
