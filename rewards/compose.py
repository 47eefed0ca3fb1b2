"""Weights turn reward parts into totals. Every part is kept beside the total, so any total can be computed again.

Episode parts (`qa`, `compression`) are paid once an episode, step parts (`tool_success`, `content`) once a step. A part
that is absent pays nothing and costs nothing: content without a judge is no failure of the policy. Keys that have no
weight here are records, not pay, and are passed over.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches

EPISODE_PARTS = ("qa", "compression")
STEP_PARTS = ("tool_success", "content")
PARTS = EPISODE_PARTS + STEP_PARTS


@dataclass(frozen=True)
class RewardWeights:
    """What each part weighs in the total."""

    qa: float
    tool_success: float
    compression: float
    content: float
    gate_compression: bool = False
    """Pay compression in proportion to qa, so that an empty memory does not earn by being empty."""


PRESETS: dict[str, RewardWeights] = {
    # r = r1 + r2 + 0.05 r3 + 0.1 r4 (Mem-alpha, arXiv 2509.25911, section 3)
    "memalpha": RewardWeights(qa=1.0, tool_success=1.0, compression=0.05, content=0.1),
    # A call that merely succeeds is worth a tenth of an answer: at 1.0 the policy is paid mostly for calling.
    "default": RewardWeights(qa=1.0, tool_success=0.1, compression=0.05, content=0.1, gate_compression=True),
}


def unknown_name(kind: str, name: str, known: Sequence[str]) -> ValueError:
    """The error for a misspelt name: the nearest right one first, then all of them."""
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]!r}? " if near else ""
    return ValueError(f"unknown {kind} {name!r}. {hint}Known: {', '.join(known)}.")


def resolve_weights(preset: str, overrides: Mapping[str, float] | None = None) -> RewardWeights:
    """The preset's weights with some of them replaced, by part.

    Raises:
        ValueError: unknown preset or part (the nearest right name is given), or a weight that is no finite number.
    """
    if preset not in PRESETS:
        raise unknown_name("rewards preset", preset, list(PRESETS))
    changes: dict[str, float] = {}
    for part, weight in (overrides or {}).items():
        if part not in PARTS:
            raise unknown_name("reward part", str(part), PARTS)
        if isinstance(weight, bool) or not isinstance(weight, int | float) or not math.isfinite(weight):
            raise ValueError(f"the weight of reward part {part!r} must be a finite number, not {weight!r}.")
        changes[part] = float(weight)
    return replace(PRESETS[preset], **changes)  # type: ignore[arg-type]


def episode_value(parts: Mapping[str, float], weights: RewardWeights) -> float:
    """Weighted sum of the episode parts that are present."""
    value = weights.qa * parts.get("qa", 0.0)
    if "compression" in parts:
        gate = parts.get("qa", 0.0) if weights.gate_compression else 1.0
        value += weights.compression * gate * parts["compression"]
    return value


def episode_slopes(parts: Mapping[str, float], weights: RewardWeights) -> dict[str, float]:
    """What `episode_value` gains for one more unit of each episode part, where the parts are `parts`."""
    gated = weights.gate_compression
    return {
        "qa": weights.qa + (weights.compression * parts.get("compression", 0.0) if gated else 0.0),
        "compression": weights.compression * (parts.get("qa", 0.0) if gated else 1.0),
    }


def step_value(parts: Mapping[str, float], weights: RewardWeights) -> float:
    """Weighted sum of one step's parts that are present."""
    return weights.tool_success * parts.get("tool_success", 0.0) + weights.content * parts.get("content", 0.0)


def total(
    episode_parts: Mapping[str, float], step_parts: Sequence[Mapping[str, float]], weights: RewardWeights
) -> float:
    """What an episode was paid: the episode's value plus the mean of its steps' values (0 without steps)."""
    value = episode_value(episode_parts, weights)
    if step_parts:
        value += math.fsum(step_value(parts, weights) for parts in step_parts) / len(step_parts)
    return value
