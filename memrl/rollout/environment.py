"""The memory and the environment of an episode as the settings want them, in one place for all who play one."""

from __future__ import annotations

from memrl.config import MemoryConfig, RolloutConfig
from memrl.engines.prompting import Prompter
from memrl.envs.designs import DESIGNS, MemoryDesign
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Stream


def new_memory(config: MemoryConfig, prompter: Prompter, room: int = 1) -> MemoryDesign:
    """Return an empty memory of the configured design and budgets, counted in the policy's own tokens.

    Args:
        room: times the budgets.

    Raises:
        PluginError: the design is unknown, or somebody else's and cannot be imported or called.
    """
    return DESIGNS.get(config.design)(room * config.budget, room * config.core_budget, prompter.count_tokens)


def new_stores(config: MemoryConfig, prompter: Prompter) -> StoreMemory:
    """Return an empty memory of the design `stores` under the same budgets, whatever the policy's own design is: for
    what keeps passages without a policy: the baselines."""
    return StoreMemory(config.budget, config.core_budget, prompter.count_tokens)


def new_env(
    config: MemoryConfig, rollout: RolloutConfig, prompter: Prompter, stream: Stream, memory: MemoryDesign
) -> MemoryEnv:
    """The environment that writes `memory` while reading `stream`."""
    return MemoryEnv(
        stream,
        memory,
        prompter.dialect,
        instruction=rollout.instruction,
        example=rollout.example,
        render_budget=config.render_budget,
        max_calls=config.max_calls,
        max_turns=rollout.max_turns,
        search_budget=config.search_budget,
    )
