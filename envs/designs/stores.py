"""The memory design `stores`: a core paragraph, semantic items (facts) and episodic items (dated events).

Invariant: ids are monotonic and never reused, so the same calls always give the same memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from memrl.envs.designs.design import MemoryItem, MemoryView, TokenCounter, count_words
from memrl.envs.retrieval import Index
from memrl.envs.retrieval.bm25 import BM25Index
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

    tools: Sequence[ToolSchema] = (INSERT, UPDATE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (_EXAMPLE_TEXT, _EXAMPLE_CALLS)

    def __init__(
        self, budget: int, core_budget: int, count_tokens: TokenCounter = count_words, *, recent: int = 2
    ) -> None:
        self.budget = budget
        self.core_budget = core_budget
        self.recent = recent
        self._count = count_tokens
        self._clear()

    def _clear(self) -> None:
        self._core: MemoryItem | None = None
        self._items: dict[str, MemoryItem] = {}
        self._tokens: dict[str, int] = {}
        self._held = 0
        self._latest: dict[str, MemoryItem] = {}
        """All items, the last written last."""
        self._seen: dict[tuple[str, str], str] = {}
        self._counters = {"semantic": 0, "episodic": 0}
        self._writes = 0
        self._index: Index = BM25Index()

    @property
    def items(self) -> tuple[MemoryItem, ...]:
        """All items but the core, oldest id first within each store."""
        return tuple(self._items.values())

    def get(self, item_id: str) -> MemoryItem | None:
        """The item of that id (`core` for the core paragraph), if it is held; white space around it does not count, as
        in calls."""
        name = _one_line(item_id)
        return self._core if name == "core" else self._items.get(name)

    @property
    def core(self) -> str:
        return self._core.content if self._core else ""

    def token_count(self) -> int:
        return self._held

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
        item = MemoryItem(f"{_PREFIX[store]}_{self._counters[store] + 1:04d}", store, content, time, self._writes + 1)
        refused = self._refuse(INSERT.name, item)
        if refused:
            return refused
        self._counters[store] += 1
        return self._put(INSERT.name, item)

    def _update(self, item_id: str, content: str) -> ToolResult:
        if item_id == "core":
            old = self._core or MemoryItem("core", "core", "", None, 0)
        elif item_id in self._items:
            old = self._items[item_id]
        else:
            return ToolResult(name=UPDATE.name, code=ResultCode.UNKNOWN_ID, message=f"no item {item_id[:80]!r}")
        item = replace(old, content=content, order=self._writes + 1)
        return self._refuse(UPDATE.name, item) or self._put(UPDATE.name, item)

    def _delete(self, item_id: str) -> ToolResult:
        item = self._items.get(item_id)
        if item is None:
            return ToolResult(name=DELETE.name, code=ResultCode.UNKNOWN_ID, message=f"no item {item_id[:80]!r}")
        self._forget(item)
        del self._items[item_id]
        return ToolResult(name=DELETE.name, code=ResultCode.OK, item_id=item_id, store=item.store)

    def _refuse(self, tool: str, item: MemoryItem) -> ToolResult | None:
        """Return why `item` may not be written, or None."""
        twin = self._seen.get(_key(item))
        held = self.get(twin) if twin else None
        # An item may correct its own capitals, not repeat itself.
        if held is not None and (twin != item.id or held.content == item.content):
            return ToolResult(name=tool, code=ResultCode.DUPLICATE, message=f"{twin} says the same")
        tokens = self._count(_counted(item))
        if item.store == "core" and tokens > self.core_budget:
            message = f"{tokens} tokens are more than core memory holds ({self.core_budget})"
            return ToolResult(name=tool, code=ResultCode.OVER_BUDGET, message=message)
        total = self.token_count() - self._tokens.get(item.id, 0) + tokens
        if total > self.budget:
            message = f"the memory would hold {total} tokens, {self.budget} are allowed"
            return ToolResult(name=tool, code=ResultCode.OVER_BUDGET, message=message)
        return None

    def _put(self, tool: str, item: MemoryItem) -> ToolResult:
        old = self._core if item.store == "core" else self._items.get(item.id)
        if old is not None:
            self._forget(old)
        self._writes += 1
        self._keep(item)
        return ToolResult(name=tool, code=ResultCode.OK, item_id=item.id, store=item.store, content=item.content)

    def _keep(self, item: MemoryItem) -> None:
        self._tokens[item.id] = self._count(_counted(item))
        self._held += self._tokens[item.id]
        self._latest[item.id] = item
        self._seen[_key(item)] = item.id
        if item.store == "core":
            self._core = item
        else:
            self._items[item.id] = item
            self._index.add(item.id, _counted(item))

    def _forget(self, item: MemoryItem) -> None:
        self._held -= self._tokens.pop(item.id)
        del self._latest[item.id]
        del self._seen[_key(item)]
        self._index.remove(item.id)

    # Views ------------------------------------------------------------------------------------------------------

    def render(self, chunk: str, budget: int) -> MemoryView:
        """Core, then the last `recent` writes, then the items most relevant to the chunk, then the others."""
        recent = itertools.islice(self.newest(), self.recent)
        return self.view(itertools.chain(recent, self.relevant(chunk)), budget)

    def retrieve(self, question: str, budget: int) -> MemoryView:
        """Core, then the items that match the question best, then the others."""
        return self.view(self.relevant(question), budget)

    def newest(self) -> Iterator[MemoryItem]:
        """Return the items but for the core, the last written first."""
        return (item for item in reversed(self._latest.values()) if item is not self._core)

    def relevant(self, text: str) -> Iterator[MemoryItem]:
        """Return the items but for the core, those that match a text best first."""
        return (self._items[item_id] for item_id, _ in self._index.ranked(text))

    def view(self, wanted: Iterable[MemoryItem], budget: int) -> MemoryView:
        """Return what is shown in `budget` tokens: the core, `wanted`, and in what is left the newest of the others.

        A memory that fits is shown whole, and so the same for every question: a reader's prompts then share their
        beginning. Only one of `wanted` can be the best match.
        """
        chosen: list[MemoryItem] = []
        seen: set[str] = set()
        best: MemoryItem | None = None
        left, misfits = budget, 0
        core = [self._core] if self._core else []
        for matches, item in itertools.chain(
            zip(itertools.repeat(False), core),
            zip(itertools.repeat(True), wanted),
            zip(itertools.repeat(False), self.newest()),
        ):
            if item.id in seen:
                continue
            seen.add(item.id)
            tokens = self._count(item.line()) + 1  # the line break
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
        held = len(self._items) + (self._core is not None)
        return MemoryView(tuple(sorted(chosen, key=lambda item: item.order)), held - len(chosen), best)

    # State ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> dict[str, Any]:
        held = ([self._core] if self._core else []) + list(self._items.values())
        return {"items": [dict(vars(item)) for item in held], **self.counts()}

    def counts(self) -> dict[str, Any]:
        """Return what `snapshot` holds beside the items: `counters` of ids given out, and `writes` so far."""
        return {"counters": dict(self._counters), "writes": self._writes}

    def restore(self, state: dict[str, Any]) -> None:
        self._clear()
        # In the order of writing, so that the index ranks equals as it did.
        for raw in sorted(state["items"], key=lambda raw: raw["order"]):
            self._keep(MemoryItem(**raw))
        self._items = {raw["id"]: self._items[raw["id"]] for raw in state["items"] if raw["store"] != "core"}
        self._counters = dict(state["counters"])
        self._writes = state["writes"]


def _one_line(text: str) -> str:
    """One line an item: no content can draw a heading or a second item into a prompt."""
    return " ".join(clean_text(text).split())


def _counted(item: MemoryItem) -> str:
    return f"{item.time} {item.content}" if item.time else item.content


def _key(item: MemoryItem) -> tuple[str, str]:
    return item.store, fold(_counted(item))
