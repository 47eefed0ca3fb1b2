"""The wrapper `consolidate`: steps in which nothing is read, and the policy tidies its memory.

They come after every `every` chunks, and where `at_end` is 1 after the last one: the policy is shown the memory and
told to merge, abstract and delete, by the same tools. Such a step is trained as any other: it is sampled, graded and
paid (docs/credit.md). An agent, whose texts never end, tidies after every `every` pieces, and when it is asked to.

After the sleep of LightMem (Fang et al., arXiv 2510.18866) and the lifecycle of MemOS (Li et al., arXiv 2507.03724).
Left out: LightMem's own model for it, and MemOS's states of an item; the policy decides what is tidied.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, NamedTuple

from memrl.envs.designs.design import MemoryDesign
from memrl.envs.wrappers.wrapper import Wrapper, WrapperSetting

TIDY = (
    "No new text. Tidy the memory: merge items that say the same or belong together, put several into one that says "
    "what they have in common, remove what is out of date or nobody will ask about. Lose nothing else."
)
_READ = "read"
"""The key of the number of chunks read since the memory was last tidied."""


class PlannedStep(NamedTuple):
    """One step of an episode: what is read in it."""

    chunk: int
    """The chunk that is read; of a step that tidies, the last one that was."""
    tidies: bool = False

    def __str__(self) -> str:
        return f"the tidying after chunk {self.chunk}" if self.tidies else f"chunk {self.chunk}"


class Consolidate(Wrapper):
    """A memory that is tidied."""

    wrapper = "consolidate"
    settings: ClassVar[Mapping[str, WrapperSetting]] = {
        "every": WrapperSetting(0, 0, 1_000_000, "chunks after which the memory is tidied; 0: only at the end"),
        "at_end": WrapperSetting(1, 0, 1, "whether it is tidied after the last chunk"),
    }
    consolidate_every: ClassVar[int] = 0
    consolidate_at_end: ClassVar[int] = 1

    def begin_step(self, text: str | None) -> None:
        super().begin_step(text)
        read = 0 if text is None else self.notes.get(Consolidate.wrapper, _READ, 0) + 1
        self.notes.set(Consolidate.wrapper, _READ, read)

    def tidying_due(self) -> bool:
        """Return whether the memory is to be tidied now, as far as what was read says it."""
        read: int = self.notes.get(Consolidate.wrapper, _READ, 0)
        return 0 < self.consolidate_every <= read

    def plan(self, chunks: int) -> list[PlannedStep]:
        """Return the steps of an episode of so many chunks."""
        found: list[PlannedStep] = []
        for chunk in range(chunks):
            found.append(PlannedStep(chunk))
            whole = self.consolidate_every and (chunk + 1) % self.consolidate_every == 0
            if whole or (self.consolidate_at_end and chunk == chunks - 1):
                found.append(PlannedStep(chunk, tidies=True))
        return found


def plan_of(memory: MemoryDesign, chunks: int) -> list[PlannedStep]:
    """Return the steps of an episode over a memory: one a chunk, and those that tidy it where it asks for them."""
    if isinstance(memory, Consolidate):
        return memory.plan(chunks)
    return [PlannedStep(chunk) for chunk in range(chunks)]


def tidying_due(memory: MemoryDesign) -> bool:
    """Return whether a memory that is read into without end is to be tidied now."""
    return isinstance(memory, Consolidate) and memory.tidying_due()
