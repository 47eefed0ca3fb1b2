"""The parts that designs of items share: calls checked, budgets kept, views, snapshots, journals.

Invariant: ids are monotonic and never reused, so the same calls always give the same memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any, ClassVar

from memrl.envs.designs.design import MemoryItem, MemoryView, TokenCounter, check_snapshot, count_words
from memrl.envs.designs.held import HeldItems, ItemJournal, counted
from memrl.envs.errors import EnvironmentFault
from memrl.envs.retrieval import WANTED, NewIndex
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.text import fold
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema, check_arguments, clean_text

CORE = "core"
"""The id of the item that is always shown, and the store that it alone is in."""
SIGN = " | "
"""The sign that stands between the parts of an item."""
DELETE = "memory_delete"
"""The name of the tool by which an item is deleted."""
ITEM_ID = {"type": "string", "description": "An id as shown."}
_NAME = 3
"""Tokens, about, that a view adds to an item's own: its id and the line break."""
_MISFITS = 8
"""Items that may lack room in a view before it counts as full."""


class HeldDesign:
    """A memory of items under one token budget. A design names its stores and tools, and says what a call does.

    Args:
        budget: tokens that the whole memory may hold; a write past it fails with `over_budget`.
        core_budget: tokens that the core may hold, where the design has one.
        count_tokens: tokens of a text, by the policy's tokenizer in training.
        recent: items of the last writes that are shown beside the relevant ones while reading.
    """

    name: ClassVar[str]
    """The name of the design in snapshots."""
    version: ClassVar[int] = 1
    """Grows with every change after which older snapshots mean something else."""
    tools: Sequence[ToolSchema]
    example: tuple[str, Sequence[ToolCall]]
    prefixes: ClassVar[Mapping[str, str]]
    """The store -> what the ids of its items begin with."""
    item_type: ClassVar[type[MemoryItem]] = MemoryItem
    parted: ClassVar[bool] = False
    """Whether an item has parts, with `SIGN` between them, which no argument can hold then."""
    core_by_hand: ClassVar[bool] = False
    """Whether a user may write the core before there is one."""
    may_be_empty: ClassVar[frozenset[str]] = frozenset(["time"])
    """Arguments that may be given without anything in them: as if they had been left out."""

    def __init__(
        self, budget: int, core_budget: int, count_tokens: TokenCounter = count_words, *, recent: int = 2
    ) -> None:
        self.budget = budget
        self.core_budget = core_budget
        self.recent = recent
        self._count = count_tokens
        self._new_index: NewIndex = BM25Index
        self.held = self._new_held()

    def _new_held(self) -> HeldItems:
        return HeldItems(self._count, self.prefixes, self.says, self._new_index())

    def search_by(self, new_index: NewIndex) -> None:
        """Find items by another index from now on.

        Args:
            new_index: makes an empty one (`memrl.envs.retrieval.open_retrieval`).

        Raises:
            EnvironmentFault: a journal is open.
        """
        state, before, self._new_index = self.snapshot(), self._new_index, new_index
        try:
            self.restore(state)
        except BaseException:
            self._new_index = before
            raise

    @property
    def items(self) -> tuple[MemoryItem, ...]:
        """All items but the core, in the order in which they came."""
        return self.held.items

    def get(self, item_id: str) -> MemoryItem | None:
        """The item of that id (`core` for the core), if it is held; white space around it does not count, as in
        calls."""
        return self.held.get(one_line(item_id))

    @property
    def core(self) -> str:
        """The text of the core; empty where there is none."""
        return self.held.core.content if self.held.core else ""

    def token_count(self) -> int:
        return self.held.total

    # Tools ------------------------------------------------------------------------------------------------------

    def execute(self, call: ToolCall, *, time: str | None = None) -> ToolResult:
        """Carry out one call: it is read as the tool's schema says before `carry_out` has it."""
        if call.error is not None:
            return ToolResult(name=call.name, code=call.error, message=call.message)
        schema = next((tool for tool in self.tools if tool.name == call.name), None)
        if schema is None:
            offered = ", ".join(tool.name for tool in self.tools)
            return ToolResult(name=call.name, code=ResultCode.UNKNOWN_TOOL, message=f"offered here: {offered}")
        problem = check_arguments(schema, call.arguments)
        if problem:
            return ToolResult(name=call.name, code=ResultCode.BAD_ARGUMENTS, message=problem)
        arguments = {key: self.read(value) for key, value in call.arguments.items() if value is not None}
        for key, value in list(arguments.items()):
            if key.endswith("_id") or fold(value):
                continue
            if key not in self.may_be_empty:  # nothing that could be seen
                return ToolResult(name=call.name, code=ResultCode.EMPTY, message=f"{key} is empty")
            del arguments[key]
        return self.carry_out(call.name, arguments, one_line(time or "") or None)

    def drop(self, item: MemoryItem) -> list[ToolCall]:
        """Return the call that deletes an item, where the design has a tool for it; the core stays."""
        if item.id == CORE or all(tool.name != DELETE for tool in self.tools):
            return []
        return [ToolCall(name=DELETE, arguments={"memory_id": item.id})]

    def read(self, argument: str) -> str:
        """Return an argument as it is stored."""
        return one_part(argument) if self.parted else one_line(argument)

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        """Do what a call says.

        Args:
            arguments: checked, each of them one line; optional ones are left out where nothing is in them.
            time: the text's.
        """
        raise NotImplementedError

    def says(self, item: MemoryItem) -> str:
        """Return the text that no other item of the store may repeat."""
        return counted(item)

    def told(self, item: MemoryItem) -> str:
        """Return the text of an item as the call told it: what is judged for its truth."""
        return item.content

    def insert(self, tool: str, store: str, content: str, time: str | None = None) -> ToolResult:
        """Hold a new item, under the next id of its store."""
        number = self.held.counters[store] + 1
        item_id = f"{self.prefixes[store]}_{number:04d}"
        result = self.write(tool, self.item_type(item_id, store, content, time, self.held.writes + 1))
        self.held.counters[store] += result.ok
        return result

    def update(self, tool: str, item: MemoryItem, content: str) -> ToolResult:
        """Replace the text of an item."""
        return self.write(tool, replace(item, content=content, order=self.held.writes + 1))

    def write_core(self, tool: str, content: str) -> ToolResult:
        """Replace the text of the core, or make it."""
        return self.update(tool, self.held.core or MemoryItem(CORE, CORE, "", None, 0), content)

    def delete(self, tool: str, item: MemoryItem) -> ToolResult:
        """Forget an item, which is not the core."""
        self.held.delete(item)
        return ToolResult(name=tool, code=ResultCode.OK, item_id=item.id, store=item.store)

    def unknown(self, tool: str, item_id: str) -> ToolResult:
        """Return the result of a call that names an item which is not held, or cannot be changed by that tool."""
        return ToolResult(name=tool, code=ResultCode.UNKNOWN_ID, message=f"no item {item_id[:80]!r}")

    def write(self, tool: str, item: MemoryItem) -> ToolResult:
        """Hold an item, in the place of the one of its id if there is one, unless that is refused."""
        twin = self.held.twin(item)
        # An item may correct its own capitals, not repeat itself.
        if twin is not None and (twin.id != item.id or counted(twin) == counted(item)):
            return ToolResult(name=tool, code=ResultCode.DUPLICATE, message=f"{twin.id} says the same")
        tokens, before = self._count(counted(item)), self.held.tokens(item.id)
        # A memory that came from a larger budget must be able to shrink.
        grows = tokens > before
        if grows and item.store == CORE and tokens > self.core_budget:
            message = f"{tokens} tokens are more than core memory holds ({self.core_budget})"
            return ToolResult(name=tool, code=ResultCode.OVER_BUDGET, message=message)
        total = self.held.total - before + tokens
        if grows and total > self.budget:
            message = f"the memory would hold {total} tokens, {self.budget} are allowed"
            return ToolResult(name=tool, code=ResultCode.OVER_BUDGET, message=message)
        old, told = self.held.get(item.id), self.told(item)
        self.held.write(item, tokens)
        said = "" if old is not None and self.told(old) == told else told
        return ToolResult(
            name=tool, code=ResultCode.OK, item_id=item.id, store=item.store, content=said, time=item.time
        )

    def together(self, *writes: Callable[[], ToolResult]) -> ToolResult:
        """Carry out writes one after the other; where one is refused, none. Returns the last one's result."""
        with self.held.open_journal() as journal:
            for write in writes:
                result = write()
                if not result.ok:
                    journal.undo()
                    break
        return result

    # Views ------------------------------------------------------------------------------------------------------

    def render(self, chunk: str, budget: int) -> MemoryView:
        """Core, then the last `recent` writes, then the items most relevant to the chunk, then the others."""
        recent = itertools.islice(self.newest(), self.recent)
        return self.view(itertools.chain(recent, self.relevant(chunk, budget)), budget)

    def retrieve(self, question: str, budget: int) -> MemoryView:
        """Core, then the items that match the question best, then the others."""
        return self.view(self.relevant(question, budget), budget)

    def newest(self) -> Iterator[MemoryItem]:
        """Return the items but for the core, the last written first."""
        return self.held.newest()

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return the items but for the core, those that match a text best first.

        Args:
            budget: tokens that are looked at, where that is known: the items that fit are found faster.
        """
        wanted = WANTED
        if budget is not None:
            wanted = _MISFITS + budget * len(self.held) // (self.held.total + _NAME * len(self.held) + 1)
        return self.held.ranked(text, wanted)

    def view(self, wanted: Iterable[MemoryItem], budget: int) -> MemoryView:
        """Return what is shown in `budget` tokens: the core, `wanted`, and in what is left the newest of the others.

        A memory that fits is shown whole, and so the same for every question: a reader's prompts then share their
        beginning. Only one of `wanted` can be the best match.
        """
        chosen: list[MemoryItem] = []
        seen: set[str] = set()
        best: MemoryItem | None = None
        left, misfits = budget, 0
        core = [self.held.core] if self.held.core else []
        for matches, item in itertools.chain(
            zip(itertools.repeat(False), core),
            zip(itertools.repeat(True), wanted),
            zip(itertools.repeat(False), self.newest()),
        ):
            if item.id in seen:
                continue
            seen.add(item.id)
            tokens = self.held.line_tokens(item) + 1  # the line break
            if tokens > left:
                # What could never be shown must not hide what can; what only lacks room may leave some to smaller ones.
                misfits += tokens <= budget
                if misfits > _MISFITS:
                    break
                continue
            chosen.append(item)
            left -= tokens
            if matches and best is None:
                best = item
        hidden = len(self.held) - len(chosen)
        return MemoryView(tuple(sorted(chosen, key=lambda item: item.order)), hidden, best)

    # State ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        held = ([self.held.core] if self.held.core else []) + list(self.items)
        stamp = {"design": self.name, "version": self.version}
        return {**stamp, "items": [dict(vars(item)) for item in held], **self.counts()}

    def counts(self) -> dict[str, Any]:
        """Return what `snapshot` holds beside the items: `counters` of ids given out, and `writes` so far."""
        return {"counters": dict(self.held.counters), "writes": self.held.writes}

    def restore(self, state: dict[str, Any]) -> None:
        """Become what `snapshot` described.

        Raises:
            DataError: it is a snapshot of another design, or of another version.
            EnvironmentFault: a journal is open.
        """
        check_snapshot(state, self.name, self.version)
        if self.held.journals:
            raise EnvironmentFault("a memory cannot be restored while its journal is open; leave the journal first")
        self.held = self._new_held()
        # In the order of writing, so that the index ranks equals as it did.
        for raw in sorted(state["items"], key=lambda raw: raw["order"]):
            item = MemoryItem(**raw) if raw["store"] == CORE else self.item_type(**raw)
            self.held.keep(item, self._count(counted(item)))
        self.held.sort([raw["id"] for raw in state["items"] if raw["store"] != CORE])
        self.held.counters = dict(state["counters"])
        self.held.writes = state["writes"]

    def open_journal(self) -> AbstractContextManager[ItemJournal]:
        """Return a journal that is kept until the context is left. Journals may be opened one in another."""
        return self.held.open_journal()


def one_line(text: str) -> str:
    """One line an item: no content can draw a heading or a second item into a prompt."""
    return " ".join(clean_text(text).split())


def one_part(text: str) -> str:
    """Return a text as one line, without the sign that stands between parts."""
    return one_line(text.replace(SIGN.strip(), "/"))


def delete_tool(description: str) -> ToolSchema:
    """Return the tool by which an item is deleted."""
    return ToolSchema(DELETE, description, {"memory_id": ITEM_ID}, ("memory_id",), effect="changes")
