"""Demonstrations as token ids: both jobs, memorising and answering, in exactly the prompts that training will use."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from memrl.config import Config
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign, MemoryView
from memrl.envs.stream import Stream
from memrl.envs.tools import ToolCall
from memrl.frozen.reader import UNKNOWN, reader_messages
from memrl.rollout.environment import new_env, new_memory
from memrl.sft.teacher import demonstrate_tidying, fill, supported

Teacher = Callable[[Stream, int, MemoryDesign, MemoryView, random.Random], list[ToolCall]]
"""Says the calls for a chunk of a stream, given the memory and what is shown of it: `Carelessness`, `Words`."""


@dataclass(frozen=True)
class Example:
    """One supervised pair; the loss is on the completion, its end-of-turn id included."""

    prompt_ids: list[int]
    completion_ids: list[int]


def example(prompter: Prompter, prompt_ids: list[int], text: str) -> Example:
    """Return the example in which a prompt is answered by a text."""
    ids = prompter.tokenizer.encode(text, add_special_tokens=False) if text else []
    return Example(prompt_ids, [*ids, prompter.end_id])


def memorising(
    stream: Stream,
    config: Config,
    prompter: Prompter,
    rng: random.Random,
    teach: Teacher,
    memory: MemoryDesign | None = None,
) -> Iterator[Example]:
    """One example a step: the teacher plays the stream, and what it stored stands in the next prompt.

    Args:
        memory: an empty one; None: as the config says.
    """
    memory = memory or new_memory(config.memory, prompter)
    env = new_env(config.memory, config.rollout, prompter, stream, memory)
    while not env.done:
        observation = env.observe()
        if env.planned.tidies:
            calls = demonstrate_tidying(memory)
        else:
            chunk = env.planned.chunk
            view = memory.render(stream.chunks[chunk].text, config.memory.render_budget)
            calls = teach(stream, chunk, memory, view, rng)
        text = prompter.dialect.format(calls)
        yield example(prompter, prompter.encode(observation.messages, observation.tools), text)
        env.step(text)


def answering(
    stream: Stream, config: Config, prompter: Prompter, rng: random.Random, share: float = 0.85
) -> Iterator[Example]:
    """One example a question, over a memory that holds a random `share` of the stream: the answer, or "unknown".

    The memory is of the policy's design, as what the reader is shown will be. It has room for all of it here: were it
    full, most answers would be "unknown", and soon all of them.
    """
    memory = new_memory(config.memory, prompter, room=10)
    fill(stream, memory, rng, share)
    for question in stream.questions:
        view = memory.retrieve(question.text, config.memory.retrieve_budget)
        if supported(stream, question, view):
            text = question.answers[0]
        elif question.kind == "latest":
            continue  # the old value may be in sight, and nothing says that it is old
        else:
            text = UNKNOWN
        messages = reader_messages(question.text, view, config.reader)
        yield example(prompter, prompter.encode(messages), text)


def demonstrations(
    streams: Iterable[Stream], config: Config, prompter: Prompter, seed: int, teach: Teacher | None
) -> Iterator[Example]:
    """Examples of both jobs, stream by stream; of answering as `sft.answers` says, and, without a teacher, alone."""
    for number, stream in enumerate(streams):
        rng = random.Random(f"teacher/{seed}/{number}")
        if teach is not None:
            yield from memorising(stream, config, prompter, rng, teach)
        if config.sft.answers or teach is None:
            yield from answering(stream, config, prompter, rng)
