"""What a step's episodes were paid, and how they came by it, in figures: `reward/*`, `meters/*` and `alarm/*`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memrl.evaluation.statistics import mean
from memrl.records import Episode, part_values
from memrl.rewards.meters import ALARMS, raised


def reward_figures(episodes: Sequence[Episode]) -> dict[str, float]:
    """Return the means of all reward parts, over episodes or over steps; none where there are no episodes."""
    if not episodes:
        return {}
    values = {name: [value for row in rows for value in row] for name, rows in part_values(episodes).items()}
    return {
        "reward/total": mean([episode.total for episode in episodes]),
        **{f"reward/{name}": mean(found) for name, found in values.items()},
    }


def meter_figures(episodes: Sequence[Episode], overrides: Mapping[str, float]) -> dict[str, float]:
    """Means of the meters of reward hacking, with 1 or 0 for each alarm.

    Args:
        overrides: alarms in place of those of `memrl.rewards.meters`.
    """
    if not episodes:
        return {}
    meters = {name: mean([episode.meters[name] for episode in episodes]) for name in ALARMS}
    above = raised(meters, {**ALARMS, **overrides})
    return {
        **{f"meters/{name}": value for name, value in meters.items()},
        **{f"alarm/{name}": float(name in above) for name in ALARMS},
    }
