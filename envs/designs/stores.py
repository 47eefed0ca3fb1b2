"""The memory design `stores`: a core paragraph, semantic items (facts) and episodic items (dated events).

Invariant: ids are monotonic and never reused, so the same calls always give the same memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

from memrl.envs.designs.design import MemoryItem, MemoryView, TokenCounter, check_snapshot, count_words
from memrl.envs.designs.held import HeldItems, ItemJournal, counted
from memrl.envs.errors import EnvironmentFault
from memrl.envs.retrieval import WANTED
from memrl.envs.text import fold
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema, check_arguments, clean_text

INSERT = ToolSchema(
    name="memory_insert",
    description="Store one new item: a fact in semantic memory, or an event in episodic memory.",
    parameters={
        "memory_type": {"type": "string", "enum": ["semantic", "episodic"]},
        "content": {"type": "string", "description": "One self-contained sentence."},
        "time": {"type": "string", "description": "When it happened; episodic only. Default: the text's date."},
    },
    required=("memory_type", "content"),
)
UPDATE = ToolSchema(
    name="memory_update",
    description="Replace the text of an item, or of the core paragraph (memory_id: core).",
    parameters={
        "memory_id": {"type": "string", "description": "An id as shown, or core."},
        "content": {"type": "string", "description": "The new text."},
    },
    required=("memory_id", "content"),
)
DELETE = ToolSchema(
    name="memory_delete",
    description="Remove an item that is wrong or no longer needed.",
    parameters={"memory_id": {"type": "string", "description": "An id as shown."}},
    required=("memory_id",),
)
_EXAMPLE_TEXT = "Marie Curie was born in Warsaw. The weather was fine. In 1903 she won a Nobel Prize."
_EXAMPLE_CALLS = tuple(
    ToolCall(name=INSERT.name, arguments={"memory_type": store, "content": content})
    for store, content in (
        ("semantic", "Marie Curie was born in Warsaw."),
        ("episodic", "Marie Curie won a Nobel Prize in 1903."),
    )
)
_PREFIX = {"semantic": "sem", "episodic": "epi"}
_NAME = 3
"""Tokens, about, that a view adds to an item's own: its id and the line break."""
_MISFITS = 8
"""Items that may lack room in a view before it counts as full."""


class StoreMemory:
    """Three stores under one token budget. Implements `MemoryDesign`.

    Args:
        budget: tokens that the whole memory may hold; a write past it fails with `over_budget`.
        core_budget: tokens that the core paragraph may hold.
        count_tokens: tokens of a text, by the policy's tokenizer in training.
        recent: items of the last writes that are shown beside the relevant ones while reading.
    """

    name = "stores"
    version = 1
    tools: Sequence[ToolSchema] = (INSERT, UPDATE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (_EXAMPLE_TEXT, _EXAMPLE_CALLS)

    def __init__(
        self, budget: int, core_budget: int, count_tokens: TokenCounter = count_words, *, recent: int = 2
    ) -> None:
        self.budget = budget
        self.core_budget = core_budget
        self.recent = recent
        self._count = count_tokens
        self.held = HeldItems(count_tokens)

    @property
    def items(self) -> tuple[MemoryItem, ...]:
        """All items but the core, oldest id first within each store."""
        return self.held.items

    def get(self, item_id: str) -> MemoryItem | None:
        """The item of that id (`core` for the core paragraph), if it is held; white space around it does not count, as
        in calls."""
        return self.held.get(_one_line(item_id))

    @property
    def core(self) -> str:
        return self.held.core.content if self.held.core else ""

    def token_count(self) -> int:
        return self.held.total

    # Tools ------------------------------------------------------------------------------------------------------

    def execute(self, call: ToolCall, *, time: str | None = None) -> ToolResult:
        if call.error is not None:
            return ToolResult(name=call.name, code=call.error, message=call.message)
        schema = next((tool for tool in self.tools if tool.name == call.name), None)
        if schema is None:
            offered = ", ".join(tool.name for tool in self.tools)
            return ToolResult(name=call.name, code=ResultCode.UNKNOWN_TOOL, message=f"offered here: {offered}")
        problem = check_arguments(schema, call.arguments)
        if problem:
            return ToolResult(name=call.name, code=ResultCode.BAD_ARGUMENTS, message=problem)
        arguments = {key: _one_line(value) for key, value in call.arguments.items() if value is not None}
        if schema is DELETE:
            return self._delete(arguments["memory_id"])
        if not fold(arguments["content"]):  # nothing that could be seen
            return ToolResult(name=call.name, code=ResultCode.EMPTY, message="content is empty")
        if schema is UPDATE:
            return self._update(arguments["memory_id"], arguments["content"])
        return self._insert(
            arguments["memory_type"], arguments["content"], arguments.get("time") or _one_line(time or "") or None
        )

    def _insert(self, store: str, content: str, time: str | None) -> ToolResult:
        time = time if store == "episodic" else None
        number = self.held.counters[store] + 1
        item = MemoryItem(f"{_PREFIX[store]}_{number:04d}", store, content, time, self.held.writes + 1)
        result = self._write(INSERT.name, item)
        self.held.counters[store] += result.ok
        return result

    def _update(self, item_id: str, content: str) -> ToolResult:
        old = self.held.get(item_id)
        if old is None and item_id == "core":
            old = MemoryItem("core", "core", "", None, 0)
        if old is None:
            return ToolResult(name=UPDATE.name, code=ResultCode.UNKNOWN_ID, message=f"no item {item_id[:80]!r}")
        return self._write(UPDATE.name, replace(old, content=content, order=self.held.writes + 1))

    def _delete(self, item_id: str) -> ToolResult:
        item = None if item_id == "core" else self.held.get(item_id)
        if item is None:
            return ToolResult(name=DELETE.name, code=ResultCode.UNKNOWN_ID, message=f"no item {item_id[:80]!r}")
        self.held.delete(item)
        return ToolResult(name=DELETE.name, code=ResultCode.OK, item_id=item_id, store=item.store)

    def _write(self, tool: str, item: MemoryItem) -> ToolResult:
        """Hold an item, in the place of the one of its id if there is one, unless that is refused."""
        twin = self.held.twin(item)
        # An item may correct its own capitals, not repeat itself.
        if twin is not None and (twin.id != item.id or twin.content == item.content):
            return ToolResult(name=tool, code=ResultCode.DUPLICATE, message=f"{twin.id} says the same")
        tokens = self._count(counted(item))
        if item.store == "core" and tokens > self.core_budget:
            message = f"{tokens} tokens are more than core memory holds ({self.core_budget})"
            return ToolResult(name=tool, code=ResultCode.OVER_BUDGET, message=message)
        total = self.held.total - self.held.tokens(item.id) + tokens
        if total > self.budget:
            message = f"the memory would hold {total} tokens, {self.budget} are allowed"
            return ToolResult(name=tool, code=ResultCode.OVER_BUDGET, message=message)
        self.held.write(item, tokens)
        return ToolResult(name=tool, code=ResultCode.OK, item_id=item.id, store=item.store, content=item.content)

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that keeps a sentence, an event in episodic memory."""
        if instead_of is not None:
            return [ToolCall(name=UPDATE.name, arguments={"memory_id": instead_of.id, "content": sentence})]
        store = "episodic" if event else "semantic"
        return [ToolCall(name=INSERT.name, arguments={"memory_type": store, "content": sentence})]

    def drop(self, item: MemoryItem) -> list[ToolCall]:
        """Return the call that deletes an item; the core stays."""
        return [] if item.id == "core" else [ToolCall(name=DELETE.name, arguments={"memory_id": item.id})]

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
        ranked = self.held.index.ranked(text, wanted)
        return (item for item_id, _ in ranked if (item := self.held.get(item_id)) is not None)

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
        self.held = HeldItems(self._count)
        # In the order of writing, so that the index ranks equals as it did.
        for raw in sorted(state["items"], key=lambda raw: raw["order"]):
            item = MemoryItem(**raw)
            self.held.keep(item, self._count(counted(item)))
        self.held.sort([raw["id"] for raw in state["items"] if raw["store"] != "core"])
        self.held.counters = dict(state["counters"])
        self.held.writes = state["writes"]

    def open_journal(self) -> AbstractContextManager[ItemJournal]:
        """Return a journal that is kept until the context is left. Journals may be opened one in another."""
        return self.held.open_journal()


def _one_line(text: str) -> str:
    """One line an item: no content can draw a heading or a second item into a prompt."""
    return " ".join(clean_text(text).split())
