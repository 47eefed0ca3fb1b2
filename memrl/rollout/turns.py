"""The turns of one step: a completion, what its searches have found, and the completion after that.

Invariant: a later turn's prompt is the prompt before, the ids that were sampled to it, and the ids of what came back.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from itertools import count

from memrl.config import MemoryConfig, RolloutConfig
from memrl.engines.prompting import Prompter
from memrl.envs.memory_env import MemoryEnv, StepResult
from memrl.envs.searching import MOST_SEARCHES, SEARCH, told
from memrl.envs.tools import ResultCode, ToolResult
from memrl.errors import ConfigError
from memrl.records import Completion, FurtherTurn

Complete = Callable[[list[int], int], Awaitable[Completion]]
"""Samples the completion of a prompt; the number is that of the turn."""
Play = Callable[[str, bool], Awaitable[StepResult]]
"""Carries out a completion, as `MemoryEnv.step` does; says whether it was truncated."""


@dataclass(frozen=True)
class Attempt:
    """The turns of a step as the policy has made them."""

    completion: Completion
    text: str
    turns: list[FurtherTurn]
    """The further ones."""

    def carry_out(self, env: MemoryEnv) -> StepResult:
        """Carry it out in an environment at the memory that it was made for."""
        result = env.step(self.text, truncated=self.completion.stop == "length")
        for turn in self.turns:
            result = joined(result, env.step(turn.text, truncated=turn.completion.stop == "length"))
        return result


async def play_turns(
    prompt_ids: list[int],
    complete: Complete,
    play: Play,
    prompter: Prompter,
    *,
    search_budget: int,
    max_prompt_tokens: int,
    where: str,
) -> tuple[Attempt, StepResult]:
    """Play one step to its end.

    Args:
        prompt_ids: of its first turn.
        where: what it is of, in error messages.

    Raises:
        ConfigError: a further turn's prompt is longer than `rollout.max_prompt_tokens`.
    """
    made: list[FurtherTurn] = []
    completion = first = await complete(prompt_ids, 0)
    text = opening = prompter.decode(first.ids)
    result = await play(text, first.stop == "length")
    most = 0 if result.told is None else overhead(prompter) + search_budget
    for number in count(1):
        if result.told is None:
            break
        given = prompter.replies.ids(result.told, completion.ids, most)
        prompt_ids = [*prompt_ids, *completion.ids, *given]
        if len(prompt_ids) > max_prompt_tokens:
            raise ConfigError(
                f"{where}, turn {number + 1}: the prompt has {len(prompt_ids)} tokens with what was said and found "
                f"before, rollout.max_prompt_tokens allows {max_prompt_tokens}. Raise it, or lower rollout.max_turns, "
                "rollout.max_completion_tokens or memory.search_budget."
            )
        completion = await complete(prompt_ids, number)
        text = prompter.decode(completion.ids)
        made.append(FurtherTurn(told=result.told, given_ids=given, completion=completion, text=text))
        result = joined(result, await play(text, completion.stop == "length"))
    return Attempt(first, opening, made), result


async def play_step(
    env: MemoryEnv,
    prompter: Prompter,
    prompt_ids: list[int],
    complete: Complete,
    *,
    max_prompt_tokens: int,
    where: str,
) -> tuple[Attempt, StepResult]:
    """`play_turns`, carried out in an environment."""

    async def play(text: str, truncated: bool) -> StepResult:
        return env.step(text, truncated=truncated)

    place = f"stream {env.stream.id!r} of {env.stream.source}, {where}"
    return await play_turns(
        prompt_ids,
        complete,
        play,
        prompter,
        search_budget=env.search_budget,
        max_prompt_tokens=max_prompt_tokens,
        where=place,
    )


def joined(first: StepResult, then: StepResult) -> StepResult:
    """Return the effect of two turns of a step. Calls are refused once as many were carried out as a step may make, so
    those that were come first here too."""
    return replace(
        then,
        calls=[*first.calls, *then.calls],
        refused=[*first.refused, *then.refused],
        results=[*first.results, *then.results],
    )


def overhead(prompter: Prompter) -> int:
    """Return the most tokens that stand around what the searches of a turn have found."""
    shortest = ToolResult(name=SEARCH, code=ResultCode.OK, message="x")
    return prompter.replies.overhead(told([shortest] * MOST_SEARCHES))


def later_tokens(prompter: Prompter, rollout: RolloutConfig, memory: MemoryConfig) -> int:
    """Return the tokens that the last turn's prompt may have more than the first's.

    Raises:
        ConfigError: the chat template has no place for what comes back.
    """
    if rollout.max_turns == 1:
        return 0
    return (rollout.max_turns - 1) * (rollout.max_completion_tokens + memory.search_budget + overhead(prompter))
