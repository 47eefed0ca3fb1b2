"""The reward part `brevity`: short completions are worth more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from memrl.rewards.parts import StepView


@dataclass(frozen=True)
class Brevity:
    """1 for a step that wrote nothing, 0 for one of `most` tokens or more."""

    name: ClassVar[str] = "brevity"
    level: ClassVar[Literal["step"]] = "step"
    most: int = 48
    """An option: `rewards.parts: {brevity: {weight: 0.1, most: 64}}`."""

    def value(self, seen: StepView) -> float:
        """Return the part's value for one step."""
        return max(0.0, 1.0 - seen.tokens / self.most)
