"""vLLM in a thread of its own, started as the configuration wants it, and ended with this process, however it ends.

Whoever asks may stop their event loop between two phases of a run, or cancel all its tasks: vLLM has a loop of its own
and goes on. Its processes outlive a parent that is killed, and would hold its GPU for ever, so a watcher ends them.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from memrl.config import ModelConfig, ReaderConfig, RolloutConfig, VllmConfig
from memrl.config.check import VLLM_LORA_RANKS
from memrl.engines.models import context_length, model_path
from memrl.errors import ConfigError, EngineDied, EngineError

Result = TypeVar("Result")
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


def start_vllm(
    *, model: ModelConfig, rollout: RolloutConfig, reader: ReaderConfig, vllm: VllmConfig, keep_versions: int
) -> VllmThread:
    """vLLM as the configuration wants it.

    Args:
        reader: its prompts are this engine's too, where it is the base model.
        keep_versions: adapters that the engine holds at once.

    Raises:
        ConfigError, EngineError: as `VllmThread`.
    """
    longest = rollout.max_prompt_tokens + rollout.max_completion_tokens
    if reader.type == "policy-base":
        longest = max(longest, reader.max_prompt_tokens + reader.max_tokens)
    arguments: dict[str, Any] = {
        "model": model_path(model),
        "dtype": model.dtype,
        "max_model_len": min(longest + 1, context_length(model) or longest + 1),
        "max_num_seqs": rollout.max_batch,
        "enable_prefix_caching": True,
        "enable_lora": True,
        # Fewer than are in use: vLLM would swap them without a word. One more while the next is loaded; and one that is
        # never filled, because on CPUs a request without an adapter reads the last place beside one that has an adapter
        # (vllm-project/vllm #48421).
        "max_loras": keep_versions + 2,
        "max_lora_rank": next(rank for rank in VLLM_LORA_RANKS if rank >= model.lora.rank),
        "logprobs_mode": "processed_logprobs",  # after temperature: of what was sampled from
        "generation_config": "vllm",  # not the model folder's top-p and penalties
        "skip_tokenizer_init": rollout.guided == "off",  # ids in, ids out; grammars are over tokens' texts
        "gpu_memory_utilization": vllm.gpu_memory_utilization,
        "tensor_parallel_size": vllm.tensor_parallel_size,
        "enable_sleep_mode": vllm.sleep,
        "enforce_eager": vllm.enforce_eager,
        "disable_log_stats": True,
        "use_tqdm_on_load": False,
    }
    if rollout.guided != "off":
        arguments["structured_outputs_config"] = {"backend": "guidance"}  # whose grammars the learner reads too
    if not _on_gpu():
        # A prompt is read in one piece, in a step that has room for it: vLLM's CPU build ends with "CPU Generator does
        # not use offset" where it reads a part of a prompt whose request has a seed, as all of ours have.
        arguments["enable_chunked_prefill"] = False
    return VllmThread(arguments | vllm.options)


def _on_gpu() -> bool:
    import torch

    return torch.cuda.is_available()


def _prepare_environment() -> None:
    for name, value in (QUIET_ENVIRONMENT | ({} if _on_gpu() else CPU_ENVIRONMENT)).items():
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
