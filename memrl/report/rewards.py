"""What a step's episodes were paid, in figures: the `reward/*` of metrics.jsonl."""

from __future__ import annotations

from collections.abc import Sequence

from memrl.records import Episode


def reward_figures(episodes: Sequence[Episode]) -> dict[str, float]:
    """Means over episodes, and over steps for what is paid step by step; none where there are no episodes."""
    if not episodes:
        return {}
    steps = [step for episode in episodes for step in episode.steps]
    return {
        "reward/total": mean([episode.total for episode in episodes]),
        "reward/qa": mean([episode.parts["qa"] for episode in episodes]),
        "reward/compression": mean([episode.parts["compression"] for episode in episodes]),
        "reward/tool_success": mean([step.parts["tool_success"] for step in steps]),
    }


def mean(values: Sequence[float]) -> float:
    """The plain mean of at least one value."""
    return sum(values) / len(values)
