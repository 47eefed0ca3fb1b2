"""Checks that the prompts of a run fit and its reader answers, made before a model is loaded (law 9).

Looks at the longest chunk of each stream it is given, and at the fullest memory that may stand beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from memrl.config import Config
from memrl.endpoints.client import Endpoint
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign, MemoryView
from memrl.envs.stream import Stream
from memrl.errors import ConfigError
from memrl.frozen.build import open_judge
from memrl.frozen.reader import reader_messages
from memrl.rollout.environment import new_env, new_memory


def check_prompts(config: Config, prompter: Prompter, streams: Iterable[Stream], context: int | None) -> None:
    """Refuse a run whose prompts cannot fit.

    Args:
        streams: some of those that will be played.
        context: tokens the model can attend to, where known.

    Raises:
        ConfigError: a prompt may exceed its limit, or prompt and answer the model's context.
    """
    for stream in streams:
        _check_memorising(config, prompter, stream, context)
        if config.reader.type == "policy-base":
            _check_answering(config, prompter, stream, context)


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


def _check_memorising(config: Config, prompter: Prompter, stream: Stream, context: int | None) -> None:
    memory, limit = config.memory, config.rollout.max_prompt_tokens
    env = new_env(config, prompter, stream, new_memory(config, prompter))
    env.position = max(range(len(stream.chunks)), key=lambda index: len(stream.chunks[index].text))
    observation = env.observe()
    empty = len(prompter.encode(observation.messages, observation.tools))
    shown = memory.render_budget
    where = f"stream {stream.id!r} of {stream.source}, chunk {env.position}"
    if empty + shown > limit:
        raise ConfigError(
            f"{where}: the prompt has {empty} tokens and the memory in it up to {shown}, but rollout.max_prompt_tokens "
            f"is {limit}. Raise it to {empty + shown}, use shorter chunks or lower memory.render_budget."
        )
    _check_context(where, empty + shown, config.rollout.max_completion_tokens, "rollout.max_completion_tokens", context)


def _check_answering(config: Config, prompter: Prompter, stream: Stream, context: int | None) -> None:
    memory, limit = config.memory, config.reader.max_prompt_tokens
    question = max(stream.questions, key=lambda question: len(question.text))
    view = new_memory(config, prompter).retrieve(question.text, 0)
    empty = len(prompter.encode(reader_messages(question.text, view, config.reader)))
    shown = memory.retrieve_budget
    where = f"stream {stream.id!r} of {stream.source}, question {question.id!r}"
    if empty + shown > limit:
        raise ConfigError(
            f"{where}: the reader's prompt has {empty} tokens and the memory in it up to {shown}, but "
            f"reader.max_prompt_tokens is {limit}. Raise it to {empty + shown} or lower memory.retrieve_budget."
        )
    _check_context(where, empty + shown, config.reader.max_tokens, "reader.max_tokens", context)


def _check_context(where: str, prompt: int, answer: int, key: str, context: int | None) -> None:
    if context is not None and prompt + answer > context:
        raise ConfigError(
            f"{where}: a prompt of up to {prompt} tokens and {key} ({answer}) do not fit the model's context of "
            f"{context}. Lower {key}, use shorter chunks or a model with a longer context."
        )
