"""The memory and the environment of an episode as the settings want them, in one place for all who play one."""

from __future__ import annotations

from memrl.config import MemoryConfig, RolloutConfig
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryDesign
from memrl.envs.designs.searching import with_retrieval
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Stream
from memrl.envs.wrappers import open_design


def new_memory(config: MemoryConfig, prompter: Prompter, room: int = 1) -> MemoryDesign:
    """Return an empty memory of the configured design, wrappers, retrieval and budgets, counted in the policy's own
    tokens.

    Args:
        room: times the budgets.

    Raises:
        DataError: a wrapper's setting is unknown or out of range.
        PluginError: the design, a wrapper or the retrieval is unknown, or somebody else's and cannot be imported or
            called.
    """
    new = open_design(config.design, config.wrappers)
    memory = new(room * config.budget, room * config.core_budget, prompter.count_tokens)
    return with_retrieval(memory, config.retrieval, config.retrieval_options)


def new_stores(config: MemoryConfig, prompter: Prompter) -> StoreMemory:
    """Return an empty memory of the design `stores` under the same budgets and retrieval, whatever the policy's own
    design is: for what keeps passages without a policy: the baselines."""
    memory = StoreMemory(config.budget, config.core_budget, prompter.count_tokens)
    with_retrieval(memory, config.retrieval, config.retrieval_options)
    return memory


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
