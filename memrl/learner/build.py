"""The learner of a configuration, in this process or in several others (law 10: it is the same class)."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from memrl.config import Config
from memrl.config.check import learner_apart
from memrl.engines.build import open_guide
from memrl.engines.models import load_model
from memrl.learner.interface import AnyLearner
from memrl.learner.learner import Learner
from memrl.learner.peers import Peers

if TYPE_CHECKING:
    from memrl.learner.distributed import DistributedLearner


def build_learner(
    config: Config, total_updates: int, peers: Peers | None = None, *, model: Any | None = None
) -> Learner:
    """A learner with a model of its own: never an engine's, which holds published versions.

    Args:
        model: the base model, where it is loaded already; it becomes the learner's own.

    Raises:
        ConfigError: the model cannot be used.
    """
    guide = open_guide(config)
    if model is None:
        # A model that is spread may be too large for one GPU: it gets there layer by layer.
        place = torch.device("cpu") if peers is not None and peers.in_step else None
        model = load_model(config.model, place)
    return Learner(
        model,
        lora=config.model.lora,
        loss=config.loss,
        train=config.train,
        temperature=config.rollout.temperature,
        max_completion_tokens=config.rollout.max_completion_tokens,
        seed=config.seed,
        total_updates=total_updates,
        peers=peers,
        guide=guide,
    )


def open_learner(config: Config, total_updates: int) -> AnyLearner:
    """The learner in this process, or in those that Ray places (`learner_apart`).

    Raises:
        ConfigError: the model cannot be used.
        EngineError: there is no Ray cluster to join.
        LearnerError: its processes did not come up.
    """
    if not learner_apart(config):
        return build_learner(config, total_updates)
    return open_distributed(config, total_updates, build_learner)


def open_distributed(
    config: Config, total_updates: int, build: Callable[[Config, int, Peers], Learner]
) -> DistributedLearner:
    """The learner in several processes.

    Args:
        build: makes each member's learner; must be importable in its process.

    Raises:
        ConfigError, EngineError, LearnerError: as `open_learner`.
    """
    from memrl.cluster import with_absolute_path
    from memrl.learner.distributed import DistributedLearner

    shipped = deepcopy(config)
    shipped.model = with_absolute_path(shipped.model)
    if not config.ray.learner_gpus:
        shipped.model.device = "cpu"  # a GPU that happens to be visible was not given to these processes
    return DistributedLearner(
        partial(build, shipped, total_updates),
        train=config.train,
        cluster=config.ray,
        max_completion_tokens=config.rollout.max_completion_tokens,
        seed=config.seed,
    )
