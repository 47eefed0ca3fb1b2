"""The worker of a configuration and the pool: the same worker class in this process and on a Ray cluster (law 10).

Ray, and torch with the engines, are imported when they are wanted: a worker on a simulated engine needs neither.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from memrl.config import Config, MemoryConfig
from memrl.config.stages import stages
from memrl.data.curriculum import check_kinds
from memrl.data.guard import held_out_streams
from memrl.data.look import Check, StageLook, look
from memrl.endpoints.cache import with_cache_folder
from memrl.engines.engine import Engine
from memrl.engines.prompting import Prompter, open_prompter
from memrl.envs.designs.searching import uses_own_search
from memrl.envs.faults import explain_faults
from memrl.envs.retrieval import open_retrieval, try_retrieval
from memrl.errors import ConfigError
from memrl.frozen.build import open_judge, open_reader
from memrl.rollout.lengths import Lengths
from memrl.rollout.pool import InProcessPool, Pool
from memrl.rollout.worker import RolloutWorker

if TYPE_CHECKING:
    from memrl.rollout.ray_pool import RayPool


def build_worker(config: Config) -> RolloutWorker:
    """A worker with an engine of its own.

    Raises:
        ConfigError: the model cannot be used, or as `open_worker`.
    """
    from memrl.engines.build import open_engine
    from memrl.engines.models import load_tokenizer

    tokenizer = load_tokenizer(config.model)
    return open_worker(config, open_engine(config, tokenizer), tokenizer)


def open_worker(config: Config, engine: Engine, tokenizer: Any) -> RolloutWorker:
    """A worker on an engine, with the reader and the judge of the configuration.

    Args:
        tokenizer: the policy's, with its chat template.

    Raises:
        ConfigError: the key of the reader's or judge's endpoint is not in this machine's environment.
        PluginError: the dialect, the reader, the retrieval or a reward part is somebody else's, and is not to be had
            here; or the retrieval's model cannot be loaded.
    """
    prompter = open_prompter(tokenizer, config.rollout.dialect)
    if not uses_own_search(config.memory.retrieval, config.memory.retrieval_options):
        try_retrieval(open_retrieval(config.memory.retrieval, config.memory.retrieval_options))
    return RolloutWorker(
        engine,
        prompter,
        open_reader(config, engine, prompter),
        open_judge(config, engine, prompter),
        memory=config.memory,
        rollout=config.rollout,
        rewards=config.rewards,
        advantage=config.advantage,
        seed=config.seed,
    )


def check_records(config: Config, prompter: Prompter | None, console: Console | None = None) -> None:
    """Look at all data that a run can take, before its first step (law 14).

    Args:
        prompter: None: lengths are not looked at.
        console: where the progress is shown.

    Raises:
        ConfigError: there are records that cannot be read, scored or shown whole; the first are named, all counted.
        DataError: a stage waits for a kind of question that the evaluation does not ask.
    """
    from memrl.engines.models import context_length

    def lengths(memory: MemoryConfig) -> list[Check]:
        if prompter is None:
            return []
        context = context_length(config.model)
        return [Lengths(prompter, memory=memory, rollout=config.rollout, reader=config.reader, context=context)]

    taken = config.train.steps * config.train.streams_per_step * (1 + config.rollout.refill_rounds)
    found = stages(config.data, config.memory)
    staged = [
        StageLook(f"stage {stage.number + 1}" if len(found) > 1 else "", stage.train, lengths(stage.memory))
        for stage in found
    ]
    if faults := look(config.data, config.eval, config.seed, taken, lengths(config.memory), console, staged):
        raise ConfigError(explain_faults(faults))
    if any(stage.until is not None and stage.until.kind is not None for stage in found):
        check_kinds(found, held_out_streams(config.data, config.eval))


def open_pool(config: Config) -> Pool:
    """The pool that `rollout.workers` asks for.

    Raises:
        ConfigError: the model cannot be used.
        EngineError: no Ray worker came up.
    """
    if config.rollout.workers > 0:
        return open_ray_pool(config, build_worker)
    return InProcessPool(build_worker(config), group_size=config.train.group_size, seed=config.seed)


def open_ray_pool(config: Config, build: Callable[[Config], RolloutWorker]) -> RayPool:
    """The pool on a Ray cluster.

    Args:
        build: makes a worker inside its actor; must be importable there.

    Raises:
        ConfigError, EngineError: as `open_pool`.
    """
    from memrl.rollout.ray_pool import RayPool

    return RayPool(
        partial(build, for_other_processes(config)),
        rollout=config.rollout,
        cluster=config.ray,
        group_size=config.train.group_size,
        seed=config.seed,
    )


def for_other_processes(config: Config) -> Config:
    """A copy for processes that do not start in this one's folder."""
    from memrl.cluster import with_absolute_path

    shipped = deepcopy(config)
    shipped.model = with_absolute_path(shipped.model)
    shipped.memory.retrieval_options = _with_absolute_paths(shipped.memory.retrieval_options)
    shipped.reader.endpoint = with_cache_folder(shipped.reader.endpoint, "reader", config.run.dir)
    shipped.judge.endpoint = with_cache_folder(shipped.judge.endpoint, "judge", config.run.dir)
    return shipped


def _with_absolute_paths(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return a retrieval's options, the folders of its models named so that every process finds them."""
    found = dict(options)
    for name, value in options.items():
        if isinstance(value, Mapping):
            found[name] = _with_absolute_paths(value)
        elif name == "model" and isinstance(value, str) and Path(value).expanduser().is_dir():
            found[name] = str(Path(value).expanduser().resolve())
    return found
