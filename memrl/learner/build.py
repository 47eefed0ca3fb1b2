"""The learner of a configuration, in this process or in several others (law 10: it is the same class)."""

from __future__ import annotations

import torch

from memrl.config import Config
from memrl.engines.models import load_model
from memrl.learner.interface import AnyLearner
from memrl.learner.learner import Learner
from memrl.learner.peers import Peers


def build_learner(config: Config, total_updates: int, peers: Peers | None = None) -> Learner:
    """A learner with a model of its own: never an engine's, which holds published versions.

    Raises:
        ConfigError: the model cannot be used.
    """
    # A model that is spread may be too large for one GPU: it gets there layer by layer.
    place = torch.device("cpu") if peers is not None and peers.in_step else None
    return Learner(load_model(config, place), config, total_updates, peers)


def open_learner(config: Config, total_updates: int) -> AnyLearner:
    """The learner that `train.processes` asks for.

    Raises:
        ConfigError: the model cannot be used.
        EngineError: there is no Ray cluster to join.
        LearnerError: its processes did not come up.
    """
    if config.train.processes == 1:
        return build_learner(config, total_updates)
    from memrl.learner.distributed import DistributedLearner

    return DistributedLearner(config, total_updates, build_learner)
