"""Exports in vLLM: the adapter by LoRA, and the merged model, say what transformers says, also behind a server."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from memrl.agent.agent import MemoryAgent
from memrl.config import Config
from memrl.engines.build import build_engine
from memrl.engines.endpoint_engine import Served
from memrl.engines.engine import Sampling
from memrl.engines.models import end_ids, load_model, load_tokenizer
from memrl.engines.transformers_engine import TransformersEngine
from memrl.engines.vllm_thread import CPU_ENVIRONMENT
from memrl.export import export
from memrl.policies.exported import open_exported
from memrl.records import AdapterRef
from tests.support import untrained_run

pytestmark = pytest.mark.vllm
BOUND = 1e-4
"""Nats a token, mean over a completion, in float32."""
TEXT = "Nora lives in Bern. It rained."
FIXED = list(range(30, 46))
"""A completion that no engine has sampled: other processors sample other tokens."""


@pytest.fixture(scope="module")
def exported(plain_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `adapter` and `merged` of one run."""
    folder = tmp_path_factory.mktemp("exported")
    run = untrained_run(plain_model, folder / "run")
    for format in ("adapter", "merged"):
        export(run, folder / format, format=format)
    return folder


async def generated(config: Config, adapter: AdapterRef | None, name: str) -> tuple[list[int], list[float]]:
    """The prompt, and the log-probs of the fixed completion by the engine of that name."""
    tokenizer = load_tokenizer(config.model)
    config.rollout.engine = name
    engine = build_engine(config, end_ids(config.model, tokenizer))
    try:
        if adapter is not None:
            await engine.load_adapter(adapter)
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": TEXT}], add_generation_prompt=True, return_dict=False
        )
        assert (await engine.generate(prompt, Sampling(16, 0.0), adapter)).ids
        return list(prompt), await engine.score(prompt, FIXED, adapter)
    finally:
        engine.close()


@pytest.mark.parametrize("form", ["adapter", "merged"])
def test_vllm_says_what_base_and_adapter_say(exported: Path, form: str) -> None:
    found = open_exported(exported / form)
    found.config.model.device = "cpu"
    found.config.vllm.enforce_eager = True
    prompt, scored = asyncio.run(generated(found.config, found.adapter, "vllm"))

    async def expected() -> tuple[list[float], list[float]]:
        base = open_exported(exported / "adapter")
        engine = TransformersEngine(load_model(base.config.model), [0])
        assert base.adapter is not None
        await engine.load_adapter(base.adapter)
        return await engine.score(prompt, FIXED, base.adapter), await engine.score(prompt, FIXED, None)

    trained, untrained = asyncio.run(expected())
    assert sum(abs(a - b) for a, b in zip(scored, trained, strict=True)) / len(FIXED) < BOUND
    assert sum(abs(a - b) for a, b in zip(scored, untrained, strict=True)) / len(FIXED) > 10 * BOUND, (
        "the adapter matters"
    )


@pytest.fixture
def server(exported: Path, plain_model: Path) -> Iterator[str]:
    """What `vllm serve --enable-lora` runs, with the exported adapter."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        "-m", "vllm.entrypoints.openai.api_server", "--model", plain_model, "--served-model-name", "base",
        "--enable-lora", "--max-lora-rank", "16", "--max-loras", "3",
        "--lora-modules", f"memory={exported / 'adapter'}",
        "--host", "127.0.0.1", "--port", port, "--enforce-eager", "--dtype", "float32",
        "--max-model-len", "512", "--max-num-seqs", "8", "--generation-config", "vllm",
    ]  # fmt: skip
    command = [sys.executable, *map(str, words)]  # as `vllm serve`, which vLLM's CPU package does not find itself by
    process = subprocess.Popen(command, env={**os.environ, **CPU_ENVIRONMENT}, start_new_session=True)
    try:
        for _ in range(240):
            assert process.poll() is None, "vllm serve has ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2)
                break
            except OSError:
                time.sleep(1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        for ending in (signal.SIGTERM, signal.SIGKILL):
            with suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, ending)
                process.wait(20)


def test_an_agent_on_vllm_serve_does_what_it_does_here(server: str, exported: Path, tmp_path: Path) -> None:
    served = Served(server, policy="memory", base="base")
    folder = exported / "adapter"
    with (
        MemoryAgent.open(folder, store=tmp_path / "here.sqlite", device="cpu") as here,
        MemoryAgent.open(folder, store=tmp_path / "there.sqlite", served=served) as there,
    ):
        assert there.read(TEXT) == here.read(TEXT)
        assert there.memory == here.memory
        mine, theirs = here.ask("Where does Nora live?"), there.ask("Where does Nora live?")
        assert (theirs.text, theirs.prompt_tokens) == (mine.text, mine.prompt_tokens)
