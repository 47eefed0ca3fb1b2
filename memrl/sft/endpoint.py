"""The teacher behind an OpenAI-compatible endpoint: a larger model reads the policy's prompts and writes the calls.

The invariant: nothing is shown that would not pay the policy. A call that the memory refuses, and a text that no chunk
so far says, are left out; a reply without a call that can be read is no demonstration.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from memrl.config import Config
from memrl.endpoints.client import Endpoint, open_endpoint
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign, open_journal
from memrl.envs.dialects.calls import all_calls
from memrl.envs.dialects.thoughts import said
from memrl.envs.memory_env import Observation
from memrl.envs.stream import Stream
from memrl.envs.tools import ToolCall
from memrl.envs.wrappers.consolidate import plan_of
from memrl.rewards.content import unfaithful
from memrl.rollout.environment import new_env, new_memory
from memrl.sft.examples import Example, example

NOTHING = "If nothing is worth storing, write: none"


@dataclass
class Shown:
    """The demonstrations of an endpoint, and what became of its calls."""

    examples: list[Example] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)

    def told(self) -> str:
        """Return the counts in words."""
        return ", ".join(f"{count:,} {what}" for what, count in sorted(self.counts.items()))


def cost(config: Config, streams: Sequence[Stream], prompter: Prompter) -> str:
    """Return how often the teacher is asked and how many tokens that takes at most, in words."""
    chunks = [chunk.text for stream in streams for chunk in stream.chunks]
    steps = steps_of(config, streams, prompter)
    env = new_env(config.memory, config.rollout, prompter, streams[0], new_memory(config.memory, prompter))
    observation = env.observe()
    overhead = len(prompter.encode(observation.messages, observation.tools)) - prompter.count_tokens(chunks[0])
    read = sum(map(prompter.count_tokens, chunks)) + steps * (overhead + config.memory.render_budget)
    wrote = steps * config.sft.max_tokens
    where = f"{config.sft.endpoint.model} at {config.sft.endpoint.url}"
    return (
        f"the teacher ({where}) is asked {steps:,} times: at most {read:,} prompt tokens and {wrote:,} "
        "completion tokens; what it has answered before is not asked again"
    )


def steps_of(config: Config, streams: Sequence[Stream], prompter: Prompter) -> int:
    """Return how often the teacher is asked about some streams: at each step, of those that tidy too."""
    memory = new_memory(config.memory, prompter)
    return sum(len(plan_of(memory, len(stream.chunks))) for stream in streams)


def ask(config: Config, streams: Sequence[Stream], prompter: Prompter, advance: Callable[[], None]) -> Shown:
    """Have the endpoint write the calls for every step of some streams.

    Raises:
        ConfigError: its key is not in this machine's environment.
        EngineError: it does not answer.
    """
    found = [Shown() for _ in streams]

    async def everything() -> None:
        endpoint = open_endpoint(config.sft.endpoint, "sft", config.run.dir)
        try:
            async with asyncio.TaskGroup() as group:
                for asked, stream in zip(found, streams, strict=True):
                    group.create_task(_read(config, stream, prompter, endpoint, asked, advance))
        finally:
            await endpoint.close()

    try:
        asyncio.run(everything())
    except* Exception as errors:
        raise errors.exceptions[0] from None
    whole = Shown([one for asked in found for one in asked.examples])
    for asked in found:
        whole.counts += asked.counts
    return whole


async def _read(
    config: Config, stream: Stream, prompter: Prompter, endpoint: Endpoint, asked: Shown, advance: Callable[[], None]
) -> None:
    memory = new_memory(config.memory, prompter)
    env = new_env(config.memory, config.rollout, prompter, stream, memory)
    passages: list[tuple[str, str]] = []
    while not env.done:
        chunk = None if env.planned.tidies else stream.chunks[env.planned.chunk]
        if chunk is not None:
            passages.append((chunk.text, chunk.time or ""))
        observation = env.observe()
        reply = said((await endpoint.complete(_messages(observation, prompter), config.sft.max_tokens)).text)
        read = all_calls(prompter.dialect, reply, [tool.name for tool in memory.tools])
        calls = _sound(memory, read[: config.memory.max_calls], chunk.time if chunk else None, passages, asked.counts)
        text = prompter.dialect.format(calls)
        shown = example(prompter, prompter.encode(observation.messages, observation.tools), text)
        if not read and reply.strip(" .").casefold() != "none":
            asked.counts["replies without a call"] += 1
        elif read and not calls:
            asked.counts["replies without a sound call"] += 1
        elif len(shown.completion_ids) > config.rollout.max_completion_tokens:
            asked.counts["replies longer than rollout.max_completion_tokens"] += 1
        else:
            asked.counts["demonstrations"] += 1
            asked.examples.append(shown)
        env.step(text)
        advance()


def _messages(observation: Observation, prompter: Prompter) -> list[dict[str, str]]:
    """Return the policy's messages, its tools described in the first: the server's own form of calls is not known."""
    first, *rest = observation.messages
    told = f"{first['content']}\n\n{prompter.dialect.describe(observation.tools)}\n{NOTHING}"
    return [{**first, "content": told}, *rest]


def _sound(
    memory: MemoryDesign,
    calls: Sequence[ToolCall],
    time: str | None,
    passages: Sequence[tuple[str, str]],
    counts: Counter[str],
) -> list[ToolCall]:
    """Return the calls that the memory carries out and whose text a chunk says. The memory is as it was afterwards."""
    kept = []
    with open_journal(memory) as whole:
        for call in calls:
            with open_journal(memory) as journal:
                result = memory.execute(call, time=time)
                why = (
                    result.code.value
                    if not result.ok
                    else unfaithful(result.content, passages)
                    if result.content
                    else ""
                )
                if why:
                    counts[f"calls left out: {why}"] += 1
                    journal.undo()
                else:
                    kept.append(ToolCall(name=call.name, arguments=call.arguments))
        whole.undo()
    return kept
