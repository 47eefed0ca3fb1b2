"""Checks of a run's reader and its judge, made before a model is loaded (law 9), and the first prompt of a stream."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from memrl.config import MemoryConfig, ReaderConfig, RolloutConfig
from memrl.endpoints.client import Endpoint
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign, MemoryView
from memrl.envs.stream import Stream
from memrl.frozen.judge import Judge
from memrl.frozen.reader import reader_messages
from memrl.rollout.environment import new_env, new_memory


def first_prompt(
    config: MemoryConfig, rollout: RolloutConfig, prompter: Prompter, stream: Stream, memory: MemoryDesign | None = None
) -> list[int]:
    """The ids that the policy reads at a stream's first chunk, beside a memory (None: an empty one)."""
    held = new_memory(config, prompter) if memory is None else memory
    observation = new_env(config, rollout, prompter, stream, held).observe()
    return prompter.encode(observation.messages, observation.tools)


def check_reader(config: ReaderConfig, *, timeout: float | None = None, retries: int = 2) -> None:
    """Ask the reader's endpoint, if there is one, a first question over an empty memory.

    Args:
        timeout: seconds; None: `reader.endpoint.timeout`.
        retries: at most as many; whoever waits for the run to begin has less patience than the run.

    Raises:
        ConfigError: the endpoint refuses (key, model, address).
        ReaderError: nobody answers.
    """
    if config.type != "endpoint":
        return
    patience = replace(
        config.endpoint, timeout=timeout or config.endpoint.timeout, retries=min(retries, config.endpoint.retries)
    )
    messages = reader_messages("What is known so far?", MemoryView((), 0), config)

    async def ask() -> None:
        endpoint = Endpoint(patience, "reader")
        try:
            await endpoint.rehearse(messages, config.max_tokens)
        finally:
            await endpoint.close()

    asyncio.run(ask())


def check_judge(judge: Judge | None) -> None:
    """Have a judge grade its canaries, and close it; None: there is none to ask yet.

    Raises:
        JudgeError: nobody answers, or it fails a canary.
    """
    if judge is None:
        return

    async def ask() -> None:
        try:
            await judge.check()
        finally:
            await judge.close()

    asyncio.run(ask())
