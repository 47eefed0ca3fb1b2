"""The credit mode `leave_one_out`: an episode is compared with the mean of the others (RLOO, arXiv 2402.14740)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from memrl.config import AdvantageConfig
from memrl.records import Episode
from memrl.rewards.compose import RewardWeights


def leave_one_out(
    episodes: Sequence[Episode], config: AdvantageConfig, weights: RewardWeights
) -> list[NDArray[np.float64]] | None:
    """Return one advantage for all steps of an episode: its pay less the mean pay of the group's other episodes."""
    paid = np.array([episode.total for episode in episodes], dtype=np.float64)
    if np.ptp(paid) < config.min_spread:
        return None  # nothing to learn from: the group is replaced by another
    others = (paid.sum() - paid) / (len(paid) - 1)
    return [np.full(len(episode.steps), gain) for episode, gain in zip(episodes, paid - others, strict=True)]
