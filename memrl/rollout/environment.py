"""The memory and the environment of an episode as the configuration wants them, in one place for all who play one."""

from __future__ import annotations

from envs.memory import MemoryDesign, StoreMemory
from envs.memory_env import MemoryEnv
from envs.stream import Stream
from memrl.config import Config
from memrl.rollout.prompting import Prompter


def new_memory(config: Config, prompter: Prompter) -> StoreMemory:
    """An empty memory under the configured budgets, counted in the policy's own tokens."""
    return StoreMemory(config.memory.budget, config.memory.core_budget, prompter.count_tokens)


def new_env(config: Config, prompter: Prompter, stream: Stream, memory: MemoryDesign) -> MemoryEnv:
    """The environment that writes `memory` while reading `stream`."""
    return MemoryEnv(
        stream,
        memory,
        prompter.dialect,
        instruction=config.rollout.instruction,
        example=config.rollout.example,
        render_budget=config.memory.render_budget,
        max_calls=config.memory.max_calls,
    )
