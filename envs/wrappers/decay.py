"""The wrapper `decay`: what is not recalled is forgotten, by the curve R = e^(-t/S).

After MemoryBank (Zhong et al., arXiv 2305.10250, section 2.3). t: chunks that were read since an item was written or
last recalled; S: its strength, `strength` (1 + recalls). An item is recalled where a chunk comes back to it: it is one
of the `recalls` that match the chunk best, and the chunk has half of its terms at least. Where R falls below
`threshold`, it is forgotten: neither the policy nor the reader is shown it, and no chunk recalls it. It is held until
its room is needed: a write that would be over budget has forgotten items dropped for it, the weakest first, and one
that repeats a forgotten item takes its place. What a call writes anew begins anew; a call that says the whole memory
recalls what it says again. The core is never forgotten. Left out: recall by questions, since reading changes no memory
here.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import ClassVar

from memrl.envs.designs.base import CORE
from memrl.envs.designs.design import MemoryItem
from memrl.envs.designs.keeping import says
from memrl.envs.terms import terms
from memrl.envs.tools import ResultCode, ToolCall, ToolResult
from memrl.envs.wrappers.wrapper import Wrapper, WrapperSetting

_CLOCK = "clock"
"""The key of the number of chunks that were read; ids of items are the others."""
_MOST_DROPPED = 64
"""Forgotten items that may go for one call."""


class Decay(Wrapper):
    """A memory that forgets."""

    wrapper = "decay"
    settings: ClassVar[Mapping[str, WrapperSetting]] = {
        "strength": WrapperSetting(8.0, 0.1, 1e6, "chunks: S of an item that was never recalled"),
        "threshold": WrapperSetting(0.2, 1e-6, 0.99, "retention below which an item is forgotten"),
        "recalls": WrapperSetting(3, 0, 100, "items at most that a chunk recalls"),
    }
    decay_strength: ClassVar[float] = 8.0
    decay_threshold: ClassVar[float] = 0.2
    decay_recalls: ClassVar[int] = 3

    @property
    def clock(self) -> int:
        """Chunks that were read."""
        clock: int = self.notes.get(Decay.wrapper, _CLOCK, 0)
        return clock

    def retention(self, item: MemoryItem) -> float:
        """Return R of an item, in (0, 1]."""
        return math.exp(-self._faded(item))

    def forgotten(self, item: MemoryItem) -> bool:
        """Return whether an item is no longer shown."""
        return item.id != CORE and self._faded(item) > -math.log(self.decay_threshold)

    def _faded(self, item: MemoryItem) -> float:
        """Return t / S of an item."""
        clock = self.clock
        recalls, last = self.notes.get(Decay.wrapper, item.id, (0, clock))
        return float((clock - last) / (self.decay_strength * (1 + recalls)))

    def begin_step(self, text: str | None) -> None:
        super().begin_step(text)
        if text is None:
            return
        clock = self.clock + 1
        self.notes.set(Decay.wrapper, _CLOCK, clock)
        said = set(terms(text))
        for item in itertools.islice(self.relevant(text), self.decay_recalls):
            own = set(terms(item.content))
            if own and 2 * len(own & said) >= len(own):
                recalls, _ = self.notes.get(Decay.wrapper, item.id, (0, clock))
                self.notes.set(Decay.wrapper, item.id, [recalls + 1, clock])

    def execute(self, call: ToolCall, *, time: str | None = None) -> ToolResult:
        with self.held.open_journal() as journal:
            result = super().execute(call, time=time)
            if result.code in (ResultCode.OVER_BUDGET, ResultCode.DUPLICATE):
                result = self._in_the_place_of_forgotten(call, time, result)
            touched = list(journal.touched())
        for item_id in touched:
            recalls, _ = self.notes.get(Decay.wrapper, item_id, (0, 0))
            self.notes.set(Decay.wrapper, item_id, None if self.held.get(item_id) is None else [recalls, self.clock])
        if result.ok and getattr(self, "rewrites", False):
            for item in self.items:
                recalls, last = self.notes.get(Decay.wrapper, item.id, (0, self.clock))
                if item.id not in touched and last < self.clock:
                    self.notes.set(Decay.wrapper, item.id, [recalls + 1, self.clock])
        return result

    def _in_the_place_of_forgotten(self, call: ToolCall, time: str | None, refused: ToolResult) -> ToolResult:
        """Try a refused call again with forgotten items out of its way, the weakest first; they stay where it is
        refused all the same."""
        with self.held.open_journal() as journal:
            for item in itertools.islice(self._in_the_way(call, refused), _MOST_DROPPED):
                for dropping in self.drop(item):
                    super().execute(dropping)
                result = super().execute(call, time=time)
                if result.ok:
                    return result
            journal.undo()
        return refused

    def _in_the_way(self, call: ToolCall, refused: ToolResult) -> Iterator[MemoryItem]:
        gone = sorted(filter(self.forgotten, self.items), key=lambda item: (self.retention(item), item.order))
        if refused.code is ResultCode.OVER_BUDGET:
            return iter(gone)
        told = self.written_by(call)
        return (item for item in gone if all(says(item, text) for text in told))

    def newest(self) -> Iterator[MemoryItem]:
        """Return the items that are remembered, but for the core, the last written first."""
        return itertools.filterfalse(self.forgotten, super().newest())

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return the items that are remembered and match a text, best first."""
        return itertools.filterfalse(self.forgotten, super().relevant(text, budget))
