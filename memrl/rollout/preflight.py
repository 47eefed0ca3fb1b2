"""Checks that the prompts of a run fit and its reader answers, made before a model is loaded (law 9).

Looks at the longest chunk of each stream it is given, and at the fullest memory that may stand beside it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace

from memrl.config import MemoryConfig, ReaderConfig, RolloutConfig
from memrl.endpoints.client import Endpoint
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign, MemoryView
from memrl.envs.stream import Stream
from memrl.errors import ConfigError
from memrl.frozen.judge import Judge
from memrl.frozen.reader import reader_messages
from memrl.rollout.environment import new_env, new_memory


def check_prompts(
    streams: Iterable[Stream],
    prompter: Prompter,
    *,
    memory: MemoryConfig,
    rollout: RolloutConfig,
    reader: ReaderConfig,
    context: int | None,
) -> None:
    """Refuse a run whose prompts cannot fit.

    Args:
        streams: some of those that will be played.
        context: tokens the model can attend to, where known.

    Raises:
        ConfigError: a prompt may exceed its limit, or prompt and answer the model's context.
    """
    for stream in streams:
        _check_memorising(memory, rollout, prompter, stream, context)
        if reader.type == "policy-base":
            _check_answering(memory, reader, prompter, stream, context)


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


def _check_memorising(
    memory: MemoryConfig, rollout: RolloutConfig, prompter: Prompter, stream: Stream, context: int | None
) -> None:
    limit = rollout.max_prompt_tokens
    env = new_env(memory, rollout, prompter, stream, new_memory(memory, prompter))
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
    _check_context(where, empty + shown, rollout.max_completion_tokens, "rollout.max_completion_tokens", context)


def _check_answering(
    memory: MemoryConfig, reader: ReaderConfig, prompter: Prompter, stream: Stream, context: int | None
) -> None:
    limit = reader.max_prompt_tokens
    question = max(stream.questions, key=lambda question: len(question.text))
    view = new_memory(memory, prompter).retrieve(question.text, 0)
    empty = len(prompter.encode(reader_messages(question.text, view, reader)))
    shown = memory.retrieve_budget
    where = f"stream {stream.id!r} of {stream.source}, question {question.id!r}"
    if empty + shown > limit:
        raise ConfigError(
            f"{where}: the reader's prompt has {empty} tokens and the memory in it up to {shown}, but "
            f"reader.max_prompt_tokens is {limit}. Raise it to {empty + shown} or lower memory.retrieve_budget."
        )
    _check_context(where, empty + shown, reader.max_tokens, "reader.max_tokens", context)


def _check_context(where: str, prompt: int, answer: int, key: str, context: int | None) -> None:
    if context is not None and prompt + answer > context:
        raise ConfigError(
            f"{where}: a prompt of up to {prompt} tokens and {key} ({answer}) do not fit the model's context of "
            f"{context}. Lower {key}, use shorter chunks or a model with a longer context."
        )
