"""Checks of a run's data, its reader and its judge, made before a model is loaded (laws 9 and 14)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from rich.console import Console

from memrl.config import Config
from memrl.data.look import look
from memrl.endpoints.client import Endpoint
from memrl.engines.models import context_length
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign, MemoryView
from memrl.envs.faults import explain_faults
from memrl.envs.stream import Stream
from memrl.errors import ConfigError
from memrl.frozen.build import open_judge
from memrl.frozen.reader import reader_messages
from memrl.rollout.environment import new_env, new_memory
from memrl.rollout.lengths import Lengths


def check_records(config: Config, prompter: Prompter | None, console: Console | None = None) -> None:
    """Look at all data that a run can take, before its first step (law 14).

    Args:
        prompter: None: lengths are not looked at.
        console: where the progress is shown.

    Raises:
        ConfigError: there are records that cannot be read, scored or shown whole; the first are named, all counted.
    """
    train = config.train
    taken = train.steps * train.streams_per_step * (1 + config.rollout.refill_rounds)
    checks = [] if prompter is None else [Lengths(config, prompter, context_length(config))]
    if faults := look(config.data, config.eval, config.seed, taken, checks, console):
        raise ConfigError(explain_faults(faults))


def first_prompt(config: Config, prompter: Prompter, stream: Stream, memory: MemoryDesign | None = None) -> list[int]:
    """The ids that the policy reads at a stream's first chunk, beside a memory (None: an empty one)."""
    held = new_memory(config, prompter) if memory is None else memory
    observation = new_env(config, prompter, stream, held).observe()
    return prompter.encode(observation.messages, observation.tools)


def check_reader(config: Config, *, timeout: float | None = None, retries: int = 2) -> None:
    """Ask the reader's endpoint, if there is one, a first question over an empty memory.

    Args:
        timeout: seconds; None: `reader.endpoint.timeout`.
        retries: at most as many; whoever waits for the run to begin has less patience than the run.

    Raises:
        ConfigError: the endpoint refuses (key, model, address).
        ReaderError: nobody answers.
    """
    reader = config.reader
    if reader.type != "endpoint":
        return
    patience = replace(
        reader.endpoint, timeout=timeout or reader.endpoint.timeout, retries=min(retries, reader.endpoint.retries)
    )
    messages = reader_messages("What is known so far?", MemoryView((), 0), reader)

    async def ask() -> None:
        endpoint = Endpoint(patience, "reader")
        try:
            await endpoint.rehearse(messages, reader.max_tokens)
        finally:
            await endpoint.close()

    asyncio.run(ask())


def check_judge(config: Config) -> None:
    """Have a judge behind an endpoint grade its canaries.

    Raises:
        ConfigError: its key is not in this machine's environment.
        JudgeError: nobody answers, or it fails a canary.
    """
    if config.judge.type != "endpoint":
        return
    judge = open_judge(config)
    assert judge is not None

    async def ask() -> None:
        try:
            await judge.check()
        finally:
            await judge.close()

    asyncio.run(ask())
