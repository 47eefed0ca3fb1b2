"""The check that what was exported is the trained policy: its log-probs on real prompts, and an episode played again
with it.

The prompts are those of the run's held-out streams. Both policies write and read them by tokenizers of their own, so a
tokenizer that was exported wrongly shows as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from memrl.config import Config
from memrl.engines.canary import bound_of, first_canary, mean_gap, worst_gap
from memrl.engines.engine import Engine, sampling_of
from memrl.engines.models import carries_state
from memrl.engines.prompting import Prompter
from memrl.envs.stream import Stream
from memrl.errors import CheckpointError
from memrl.records import AdapterRef, Completion, Sample
from memrl.rollout.environment import new_env, new_memory
from memrl.rollout.preflight import first_prompt
from memrl.rollout.turns import play_step

PROMPTS = 4
"""Held-out streams whose first prompts are compared; of these, the shortest is played to its end."""


@dataclass(frozen=True)
class Candidate:
    """Something that can be asked: an engine, how to speak to it, and the adapter to use (None: as it is)."""

    engine: Engine
    prompter: Prompter
    adapter: AdapterRef | None = None


@dataclass(frozen=True)
class Heard:
    """The answers of a policy to the streams; each sample has the policy's own log-probs (nats)."""

    canaries: list[Sample]
    """The first prompt of each stream, its end scored as if it were an answer."""
    steps: list[Sample]
    """A whole greedy episode of the shortest stream."""


@dataclass(frozen=True)
class Check:
    """The distance of what was exported from base + adapter."""

    prompts: int
    gap: float
    """Mean distance of the log-probs of one completion (nats a token), at the worst one."""
    bound: float
    stream: str
    """Whose episode was played again."""
    steps: int
    same: int
    """Steps from the first on in which both read and wrote the same tokens."""

    def __str__(self) -> str:
        return (
            f"on {self.prompts} real prompts at most {self.gap:.2g} nats a token from base + adapter (bound "
            f"{self.bound:.2g}); the episode of stream {self.stream!r}, played again, has the same tokens in "
            f"{self.same} of {self.steps} steps"
        )


def hear(policy: Candidate, config: Config, streams: Sequence[Stream]) -> Heard:
    """Have a policy score the first prompts of the streams and play the shortest one.

    Raises:
        EngineError: a prompt does not fit the model, or it failed.
    """
    return asyncio.run(_hear(policy, config, streams))


def compare(policy: Candidate, config: Config, streams: Sequence[Stream], expected: Heard, *, exact: bool) -> Check:
    """Hold an exported policy against what base + adapter made of the same streams.

    Args:
        exact: refuse an episode with any other token.

    Raises:
        CheckpointError: it is not the same policy.
    """
    return asyncio.run(_compare(policy, config, streams, expected, exact))


async def _compare(policy: Candidate, config: Config, streams: Sequence[Stream], expected: Heard, exact: bool) -> Check:
    found = await _hear(policy, config, streams)
    for stream, mine, theirs in zip(streams, found.canaries, expected.canaries, strict=True):
        if _tokens(mine) != _tokens(theirs):
            raise CheckpointError(f"its tokenizer reads the first prompt of stream {stream.id!r} as other tokens")
    samples = [*expected.canaries, *expected.steps]
    scored = [await _scored(policy, sample) for sample in samples]
    pairs = list(zip(found.steps, expected.steps, strict=True))
    check = Check(
        prompts=len(samples),
        gap=worst_gap([mean_gap(mine.logprobs, theirs.logprobs) for mine, theirs in zip(scored, samples, strict=True)]),
        bound=bound_of(config.model.dtype, carried=carries_state(config.model)),
        stream=_shortest(streams).id,
        steps=len(pairs),
        same=next((n for n, (mine, theirs) in enumerate(pairs) if _tokens(mine) != _tokens(theirs)), len(pairs)),
    )
    if not check.gap <= check.bound or (exact and check.same < check.steps):
        raise CheckpointError(f"it is not the trained policy: {check}")
    return check


async def _hear(policy: Candidate, config: Config, streams: Sequence[Stream]) -> Heard:
    if policy.adapter is not None:
        await policy.engine.load_adapter(policy.adapter)
    canaries = [
        first_canary(first_prompt(config.memory, config.rollout, policy.prompter, stream)) for stream in streams
    ]
    steps = await _play(policy, config, _shortest(streams))
    return Heard([await _scored(policy, one) for one in canaries], [await _scored(policy, one) for one in steps])


async def _play(policy: Candidate, config: Config, stream: Stream) -> list[Sample]:
    prompter = policy.prompter
    env = new_env(config.memory, config.rollout, prompter, stream, new_memory(config.memory, prompter))
    sampling = sampling_of(config.rollout, 0.0)
    steps: list[Sample] = []

    async def complete(ids: list[int], turn: int) -> Completion:
        completion = await policy.engine.generate(ids, sampling, policy.adapter)
        steps.append(Sample(ids, completion.ids, completion.logprobs, 0.0, 0))
        return completion

    while not env.done:
        observation = env.observe()
        ids = prompter.encode(observation.messages, observation.tools)
        most, where = config.rollout.max_prompt_tokens, str(env.planned)
        await play_step(env, prompter, ids, complete, max_prompt_tokens=most, where=where)
    return steps


async def _scored(policy: Candidate, sample: Sample) -> Sample:
    """The sample with the policy's log-probs, all from one pass: decoding token by token rounds otherwise."""
    logprobs = await policy.engine.score(sample.prompt_ids, sample.completion_ids, policy.adapter)
    return Sample(sample.prompt_ids, sample.completion_ids, logprobs, 0.0, 0)


def _tokens(sample: Sample) -> tuple[list[int], list[int]]:
    return sample.prompt_ids, sample.completion_ids


def _shortest(streams: Sequence[Stream]) -> Stream:
    return min(streams, key=lambda stream: len(stream.chunks))
