"""The parts of a reward, each a small class with a name, computed from plain data.

Formulas: Mem-alpha (arXiv 2509.25911), section 3: r1 qa, r2 tool success, r3 compression. Where the preset "memalpha"
and ours differ, the difference is a field of the class. In both presets a call counts as successful only when its typed
`ToolResult` says so, which closes holes that the reference's code has (and its formulas do not): the delete of an
unknown id, and a call to a tool that was not offered, earn nothing. That is the one place where "memalpha" departs
from the reference's code.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from memrl.envs.tools import ToolResult
from memrl.rewards.compose import PRESETS, unknown_name


@dataclass(frozen=True)
class QA:
    """r1, an episode part: the mean score of the stream's questions."""

    name: ClassVar[str] = "qa"

    def __call__(self, scores: Sequence[float]) -> float:
        """
        Args:
            scores: one score in [0, 1] for each question; at least one.
        """
        if not scores:
            raise ValueError("qa needs at least one question's score: an episode without answers has no qa.")
        return math.fsum(scores) / len(scores)


@dataclass(frozen=True)
class ToolSuccess:
    """r2, a step part: successful calls / calls."""

    name: ClassVar[str] = "tool_success"
    without_calls: float = 1.0
    """Value of a step without a call. The reference's 0 punishes leaving a chunk of chatter alone; ours is 1, since
    nothing failed."""

    def __call__(self, results: Sequence[ToolResult]) -> float:
        if not results:
            return self.without_calls
        return sum(result.ok for result in results) / len(results)


@dataclass(frozen=True)
class Compression:
    """r3, an episode part: 1 - memory tokens / chunk tokens."""

    name: ClassVar[str] = "compression"
    clip: bool = True
    """Keep it in [0, 1]. The reference does not: a memory larger than its source goes below zero without end."""

    def __call__(self, memory_tokens: int, chunk_tokens: int) -> float:
        """
        Args:
            memory_tokens: tokens of the final memory.
            chunk_tokens: tokens of all chunks, by the same tokenizer; positive.
        """
        if chunk_tokens <= 0:
            raise ValueError(f"compression needs a positive number of chunk tokens, not {chunk_tokens}.")
        value = 1.0 - memory_tokens / chunk_tokens
        return min(1.0, max(0.0, value)) if self.clip else value


@dataclass(frozen=True)
class RewardParts:
    """The parts of one preset."""

    qa: QA
    tool_success: ToolSuccess
    compression: Compression


def reward_parts(preset: str) -> RewardParts:
    """The parts with the formulas of `preset` ("default" or "memalpha").

    Raises:
        ValueError: unknown preset; the nearest right name is given.
    """
    if preset not in PRESETS:
        raise unknown_name("rewards preset", preset, list(PRESETS))
    if preset == "memalpha":
        return RewardParts(QA(), ToolSuccess(without_calls=0.0), Compression(clip=False))
    return RewardParts(QA(), ToolSuccess(), Compression())
