"""The engine on vLLM: continuous batching, prefix caching, and a new LoRA name and id for every version.

vLLM runs in an event loop and a thread of its own: whoever asks may stop their loop between two phases of a run, or
cancel all its tasks, and the engine goes on. Two traps are closed here. A token id outside the vocabulary would end the
whole engine, so it is refused before it gets there. And vLLM's processes outlive a parent that is killed, and would
hold its GPU for ever, so a watcher ends them.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import subprocess
import threading
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from memrl.config import Config
from memrl.errors import ConfigError, EngineDied, EngineError
from memrl.models import context_length, model_path
from memrl.records import AdapterRef, Completion
from memrl.rollout.adapters import AdapterShelf, cannot_be_loaded
from memrl.rollout.engine import Sampling, check_request

Result = TypeVar("Result")
LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM can be told to make room for."""
QUIET_ENVIRONMENT = {
    "VLLM_LOGGING_LEVEL": "ERROR",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_WORKER_MULTIPROCESSING_METHOD": "spawn",  # the parent may have touched CUDA, and has threads
}
CPU_ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "2",  # GiB; vLLM's own choice is half of the machine
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # bound threads of several workers would share one core
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
    "VLLM_HOST_IP": "127.0.0.1",
}


class VllmThread:
    """vLLM's `AsyncLLM` in a thread of its own.

    Args:
        arguments: of vLLM's `AsyncEngineArgs`.

    Raises:
        ConfigError: vLLM is not installed, or does not know an argument.
        EngineError: it did not start.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        _prepare_environment()
        try:
            from vllm.engine.arg_utils import AsyncEngineArgs
            from vllm.v1.engine.async_llm import AsyncLLM
        except ImportError as error:
            raise ConfigError(
                f"rollout.engine is vllm, which cannot be imported here ({error}). Install it: pip install "
                "'memrl[vllm]', or use rollout.engine=transformers."
            ) from error
        try:
            parsed = AsyncEngineArgs(**arguments)
        except TypeError as error:
            raise ConfigError(f"vllm.options: {error}") from error

        async def start() -> Any:
            return AsyncLLM.from_engine_args(parsed)

        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        before = _children()
        try:
            self.llm: Any = asyncio.run_coroutine_threadsafe(start(), self._loop).result()
        except Exception as error:  # vLLM and torch raise many kinds; none of them can be mended here
            self._stop_loop()
            raise EngineError(
                f"vLLM did not start: {error}. VLLM_LOGGING_LEVEL=INFO shows its own messages; where memory lacks, "
                "lower vllm.gpu_memory_utilization, rollout.max_batch or the token limits."
            ) from error
        self._watcher = _watch(_children() - before)

    async def call(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run `work` in vLLM's loop; cancelled there when it is cancelled here.

        Raises:
            EngineDied: vLLM's process is gone.
        """
        from vllm.v1.engine.exceptions import EngineDeadError

        try:
            return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))
        except EngineDeadError as error:
            raise EngineDied(f"vLLM's engine has died: {error}") from error

    def close(self) -> None:
        """End vLLM's processes and the thread."""

        async def shut_down() -> None:
            self.llm.shutdown()

        asyncio.run_coroutine_threadsafe(shut_down(), self._loop).result()
        self._stop_loop()
        del self.llm  # its finaliser fails when it runs at the interpreter's end
        if self._watcher.poll() is None:
            self._watcher.communicate(b"done\n")

    def _stop_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class VllmEngine:
    """Implements `Engine` on vLLM. Requests join and leave its batches as they come, so `order` means nothing here.

    Args:
        vllm: the running vLLM, started for as many versions.
        end_ids: ids that end a turn.
        keep_versions: adapters held at once; the one that was loaded first is unloaded.
    """

    _numbers = itertools.count(1)  # of adapters and requests: never twice in one process, whichever engine asks

    def __init__(self, vllm: VllmThread, end_ids: Sequence[int], *, keep_versions: int = 2) -> None:
        self._vllm = vllm
        self._end_ids = sorted(end_ids)
        self._adapters = AdapterShelf(keep_versions)
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

    async def unload_all(self) -> None:
        """Leave vLLM as it was found, for another engine on it."""
        for version in list(self._requests):
            await self._unload(version)

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        order: tuple[int, ...] = (),
    ) -> Completion:
        check_request(prompt_ids, sampling, self.context_length)
        output = await self._ask(
            prompt_ids,
            adapter,
            max_tokens=sampling.max_tokens,
            temperature=sampling.temperature,
            seed=sampling.seed,
            logprobs=0,  # of the sampled token alone
            stop_token_ids=self._end_ids,
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


def start_vllm(config: Config, *, keep_versions: int) -> VllmThread:
    """vLLM as the configuration wants it.

    Args:
        keep_versions: adapters that the engine holds at once.

    Raises:
        ConfigError, EngineError: as `VllmThread`.
    """
    rollout, reader, vllm = config.rollout, config.reader, config.vllm
    longest = rollout.max_prompt_tokens + rollout.max_completion_tokens
    if reader.type == "policy-base":
        longest = max(longest, reader.max_prompt_tokens + reader.max_tokens)
    arguments: dict[str, Any] = {
        "model": model_path(config),
        "dtype": config.model.dtype,
        "max_model_len": min(longest + 1, context_length(config) or longest + 1),
        "max_num_seqs": rollout.max_batch,
        "enable_prefix_caching": True,
        "enable_lora": True,
        # Fewer than are in use: vLLM would swap them without a word. One more while the next is loaded; and one that is
        # never filled, because on CPUs a request without an adapter reads the last place beside one that has an adapter
        # (vllm-project/vllm #48421).
        "max_loras": keep_versions + 2,
        "max_lora_rank": next(rank for rank in LORA_RANKS if rank >= config.model.lora.rank),
        "logprobs_mode": "processed_logprobs",  # after temperature: of what was sampled from
        "generation_config": "vllm",  # not the model folder's top-p and penalties
        "skip_tokenizer_init": True,  # ids in, ids out
        "gpu_memory_utilization": vllm.gpu_memory_utilization,
        "tensor_parallel_size": vllm.tensor_parallel_size,
        "enable_sleep_mode": vllm.sleep,
        "enforce_eager": vllm.enforce_eager,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    return VllmThread(arguments | vllm.options)


def _prepare_environment() -> None:
    import torch

    for name, value in (QUIET_ENVIRONMENT | ({} if torch.cuda.is_available() else CPU_ENVIRONMENT)).items():
        os.environ.setdefault(name, value)


def _children() -> set[int]:
    import psutil

    return {child.pid for child in psutil.Process().children(recursive=True)}


def _watch(pids: set[int]) -> subprocess.Popen[bytes]:
    """A process that ends `pids` when its standard input closes without a word: when this process has been killed."""
    script = 'read -r word || kill -KILL "$@" 2>/dev/null'
    return subprocess.Popen(
        ["sh", "-c", script, "memrl-watch", *map(str, sorted(pids))], stdin=subprocess.PIPE, start_new_session=True
    )
