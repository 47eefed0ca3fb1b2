"""The stages of training: what each changes of the sources and of the memory, and what none may change.

A run without `data.curriculum` has one stage, which changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from memrl.config.schema import DataConfig, MemoryConfig, StageConfig, UntilConfig
from memrl.envs.sources import option_names

SCORE_STEPS = 3
"""Steps of a stage whose mean is its training score: that of one step is mostly luck."""
FIXED_OPTIONS = ("source", "weight", "path", "part", "seed", "count", "split", "eval_share")
"""What a stage may not change of a source: which texts it has, and how often it is drawn. Whether training holds what
evaluation is about was looked at for these."""
STAGE_MEMORY = ("budget", "core_budget", "render_budget", "max_calls")
"""What a stage may change of the memory: what is made anew for each episode."""


@dataclass(frozen=True)
class TrainingStage:
    """One stage, merged over the configuration."""

    number: int
    """From 0."""
    train: list[dict[str, Any]]
    """`data.train` with the stage's options."""
    memory: MemoryConfig
    """The memory that training episodes are played with."""
    until: UntilConfig | None
    words: str
    """What it changes, for people; empty where it changes nothing."""


def stages(data: DataConfig, memory: MemoryConfig) -> list[TrainingStage]:
    """Return the stages of a checked configuration, at least one."""
    return [
        TrainingStage(
            number,
            [merged(spec, stage) for spec in data.train],
            replace(memory, **stage.memory),
            stage.until,
            ", ".join(
                [
                    *(f"{option}={value}" for option, value in stage.train.items()),
                    *(f"memory.{name}={value}" for name, value in stage.memory.items()),
                ]
            ),
        )
        for number, stage in enumerate(data.curriculum or [StageConfig()])
    ]


def merged(spec: Mapping[str, Any], stage: StageConfig) -> dict[str, Any]:
    """Return an entry of `data.train` with those options of a stage that its source has."""
    if not stage.train:
        return dict(spec)
    known = option_names(str(spec["source"]))
    return {**spec, **{option: value for option, value in stage.train.items() if option in known}}
