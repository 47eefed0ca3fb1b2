"""The parts of a reward: each a small class that says what it is paid for and computes its value from plain data.

A part sees a frozen view of a finished episode, or of one of its steps, and returns a number, or None where it has
nothing to say. All that the views hold stands in a saved episode too, so every part can be computed again (`memrl
rescore`). Weights, totals and slopes are no business of a part (`memrl.rewards.compose`), so a part cannot contradict
what is paid for it. Adding one: docs/rewards.md.

Formulas: Mem-alpha (arXiv 2509.25911), section 3: r1 qa, r2 tool success, r3 compression. Where the preset "memalpha"
and ours differ, the difference is a field of the class. In both presets a call counts as successful only when its typed
`ToolResult` says so, which closes holes that the reference's code has (and its formulas do not): the delete of an
unknown id, and a call to a tool that was not offered, earn nothing. That is the one place where "memalpha" departs
from the reference's code.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from memrl.envs.registry import Registry

if TYPE_CHECKING:
    from memrl.envs.tools import ToolResult

LEVELS = ("episode", "step")


@dataclass(frozen=True)
class StepView:
    """The view that a part has of one step."""

    chunk: int = 0
    """Place of its chunk in the stream, 0-based."""
    text: str = ""
    """What the policy wrote, without special tokens."""
    tokens: int = 0
    """Tokens of what the policy wrote."""
    results: tuple[ToolResult, ...] = ()
    """What became of its calls, in order."""
    changes: tuple[Mapping[str, Any], ...] = ()
    """What it changed in the memory: `op` (insert, update, delete), `id`, and the texts `before` and `after`."""
    tokens_before: int = 0
    """Tokens in the memory before the step."""
    memory_tokens: int = 0
    """Tokens in the memory after it."""
    right: tuple[bool, ...] = ()
    """Of the texts that it stored, in order: whether the chunks so far say them, or the judge accepts them."""
    content: float | None = None
    """What grading made of its texts; None where `rewards.content` is `none`."""


@dataclass(frozen=True)
class EpisodeView:
    """The view that a part has of one episode."""

    scores: tuple[float, ...] = ()
    """Score of each question's answer, in [0, 1]."""
    kinds: tuple[str, ...] = ()
    """Kind of each question, in the same order."""
    chunk_tokens: int = 0
    """Tokens of all chunks, by the policy's tokenizer."""
    memory_tokens: int = 0
    """Tokens of the final memory, by the same."""
    memory: tuple[str, ...] = ()
    """Texts of the final memory."""
    steps: tuple[StepView, ...] = ()


class EpisodePart(Protocol):
    """A part that is paid once an episode.

    It may have a `gate`: the name of another episode part, in proportion to which it is paid.
    """

    @property
    def level(self) -> Literal["episode"]:
        """Return which view it takes."""
        ...

    def value(self, seen: EpisodeView, /) -> float | None:
        """Return the part's value, finite; None where it has none, so that it neither pays nor costs anything."""
        ...


class StepPart(Protocol):
    """A part that is paid for each step."""

    @property
    def level(self) -> Literal["step"]:
        """Return which view it takes."""
        ...

    def value(self, seen: StepView, /) -> float | None:
        """Return the part's value, finite; None where it has none, so that it neither pays nor costs anything."""
        ...


RewardPart: TypeAlias = EpisodePart | StepPart


@dataclass(frozen=True)
class QA:
    """r1: the mean score of the stream's questions."""

    name: ClassVar[str] = "qa"
    level: ClassVar[Literal["episode"]] = "episode"

    def value(self, seen: EpisodeView) -> float:
        """Return the mean score; there must be one at least."""
        if not seen.scores:
            raise ValueError("qa needs at least one question's score: an episode without answers has no qa.")
        return math.fsum(seen.scores) / len(seen.scores)


@dataclass(frozen=True)
class ToolSuccess:
    """r2: successful calls / calls."""

    name: ClassVar[str] = "tool_success"
    level: ClassVar[Literal["step"]] = "step"
    without_calls: float = 1.0
    """Value of a step without a call. The reference's 0 punishes leaving a chunk of chatter alone; ours is 1, since
    nothing failed."""

    def value(self, seen: StepView) -> float:
        """Return the share of the calls that succeeded."""
        if not seen.results:
            return self.without_calls
        return sum(result.ok for result in seen.results) / len(seen.results)


@dataclass(frozen=True)
class Compression:
    """r3: 1 - memory tokens / chunk tokens."""

    name: ClassVar[str] = "compression"
    level: ClassVar[Literal["episode"]] = "episode"
    clip: bool = True
    """Keep it in [0, 1]. The reference does not: a memory larger than its source goes below zero without end."""
    gate: str | None = None
    """`qa`: it is paid in proportion to qa, so that an empty memory does not earn by being empty."""

    def value(self, seen: EpisodeView) -> float:
        """Return how much shorter the memory is than what was read."""
        if seen.chunk_tokens <= 0:
            raise ValueError(f"compression needs a positive number of chunk tokens, not {seen.chunk_tokens}.")
        value = 1.0 - seen.memory_tokens / seen.chunk_tokens
        return min(1.0, max(0.0, value)) if self.clip else value


@dataclass(frozen=True)
class Content:
    """r4: what a step's texts are worth, as grading found it, which has read the chunks (`memrl.rewards.content`)."""

    name: ClassVar[str] = "content"
    level: ClassVar[Literal["step"]] = "step"

    def value(self, seen: StepView) -> float | None:
        """Return what grading found; None where nothing was graded."""
        return seen.content


def misfit(part: Any) -> str:
    """Return what keeps somebody's class from being a reward part, in words; empty where nothing does."""
    if not inspect.isclass(part):
        return f"is no class but {type(part).__name__!r}; name the class of the part"
    level = getattr(part, "level", None)
    if level not in LEVELS:
        has = "has no `level`" if level is None else f"has the level {level!r}"
        return f"{has}; a reward part has the class attribute level = 'episode' or level = 'step'"
    value = getattr(part, "value", None)
    if not callable(value):
        return f"has no method `value`; a reward part has value(self, {level}), which returns its value"
    try:
        inspect.signature(value).bind(None, None)
    except TypeError:
        return f"has a method value{inspect.signature(value)}; it must take one argument, the {level}"
    gate = getattr(part, "gate", None)
    if gate is not None and level == "step":
        return "has a `gate`, which only a part of the level 'episode' can have"
    return ""


SHIPPED: tuple[type[QA | Compression | ToolSuccess | Content], ...] = (QA, Compression, ToolSuccess, Content)
"""In the order in which they are summed, episode parts first."""
PARTS: Registry[Callable[..., RewardPart]] = Registry("reward part", "memrl.rewards", check=misfit)
"""Classes of parts by name. Those of SHIPPED are part of every run, others where `rewards.parts` names them."""
for _part in SHIPPED:
    PARTS.add(_part.name, _part)
