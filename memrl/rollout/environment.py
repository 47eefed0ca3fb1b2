"""The memory and the environment of an episode as the configuration wants them, in one place for all who play one."""

from __future__ import annotations

from memrl.config import Config
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Stream


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
