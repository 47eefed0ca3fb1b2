"""What a step's episodes were paid, and how they came by it, in figures: `reward/*`, `meters/*` and `alarm/*`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from memrl.evaluation.statistics import mean
from memrl.records import Episode
from memrl.rewards.meters import ALARMS, raised


def reward_figures(episodes: Sequence[Episode]) -> dict[str, float]:
    """Means over episodes, and over steps for what is paid step by step; none where there are no episodes."""
    if not episodes:
        return {}
    steps = [step for episode in episodes for step in episode.steps]
    content = [step.parts["content"] for step in steps if "content" in step.parts]
    return {
        "reward/total": mean([episode.total for episode in episodes]),
        "reward/qa": mean([episode.parts["qa"] for episode in episodes]),
        "reward/compression": mean([episode.parts["compression"] for episode in episodes]),
        "reward/tool_success": mean([step.parts["tool_success"] for step in steps]),
        **({"reward/content": mean(content)} if content else {}),
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
