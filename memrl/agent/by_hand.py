"""The hand of a user in a memory: a sentence kept, replaced or removed, in the words of its design.

Invariant: what takes several calls is done whole or not at all, and what a design cannot do is a result that says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from memrl.envs.designs import MemoryDesign, MemoryItem, open_journal
from memrl.envs.designs.base import CORE, HeldDesign
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, clean_text

KEEP, DROP = "keep", "drop"
"""The names of results that no tool has given."""


@dataclass(frozen=True)
class Hand:
    """A hand that writes in a memory.

    Args:
        design: the name of its design, for messages.
    """

    memory: MemoryDesign
    design: str

    def keep(self, sentence: str, *, event: bool, time: str | None) -> list[ToolResult]:
        """Keep a sentence; the results of the calls that it took."""
        calls = self.memory.keep(clean_text(sentence), event=event)
        return self._carry_out(calls, time) if calls else [self._not_offered(KEEP, "keeps a sentence")]

    def replace(self, item_id: str, text: str) -> ToolResult:
        """Keep a text in the place of an item."""
        item = self.find(item_id) or self._core(item_id)
        if item is None:
            return unknown(KEEP, item_id)
        calls = self.memory.keep(clean_text(text), instead_of=item)
        return one_of(self._carry_out(calls)) if calls else self._not_offered(KEEP, "replaces an item")

    def unchanged(self, item: MemoryItem) -> ToolResult:
        """Return the result of a replacement that leaves an item's text as it is."""
        calls = self.memory.keep(item.content, instead_of=item)
        name = calls[-1].name if calls else KEEP
        return ToolResult(name=name, code=ResultCode.OK, item_id=item.id, store=item.store, content=item.content)

    def drop(self, item_id: str) -> ToolResult:
        """Remove an item."""
        item = self.find(item_id)
        if item is None:
            return unknown(DROP, item_id)
        calls = self.memory.drop(item)
        return one_of(self._carry_out(calls)) if calls else self._not_offered(DROP, f"removes {item.id}")

    def find(self, item_id: str) -> MemoryItem | None:
        """Return the item of an id; white space around it does not count."""
        return self.memory.get(clean_text(item_id).strip())

    def _core(self, item_id: str) -> MemoryItem | None:
        """Return the core paragraph that is not there yet, where the design has one that a replacement makes."""
        by_hand = isinstance(self.memory, HeldDesign) and self.memory.core_by_hand
        return MemoryItem(CORE, CORE, "", None, 0) if by_hand and item_id.strip() == CORE else None

    def _carry_out(self, calls: Sequence[ToolCall], time: str | None = None) -> list[ToolResult]:
        if len(calls) == 1:
            return [self.memory.execute(calls[0], time=time)]
        with open_journal(self.memory) as journal:
            results = []
            for call in calls:
                results.append(self.memory.execute(call, time=time))
                if not results[-1].ok:
                    journal.undo()
                    return results[-1:]
        return results

    def _not_offered(self, name: str, does: str) -> ToolResult:
        message = f"a memory of the design {self.design} has no tool that {does}"
        return ToolResult(name=name, code=ResultCode.UNKNOWN_TOOL, message=message)


def one_of(results: Sequence[ToolResult]) -> ToolResult:
    """Return the result that tells what became of an item: what failed, else what was written last."""
    failed = [result for result in results if not result.ok]
    written = [result for result in results if result.content]
    return failed[0] if failed else (written or results)[-1]


def unknown(name: str, item_id: str) -> ToolResult:
    """Return the result of what was asked of an item that is not there."""
    return ToolResult(name=name, code=ResultCode.UNKNOWN_ID, message=f"no item {clean_text(item_id)[:80]!r}")
