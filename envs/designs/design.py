"""The interface of a memory, whatever its design, and the view that is shown of one.

`MemoryDesign` is all that the rest of the project knows of a memory.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from memrl.envs.errors import DataError
from memrl.envs.text import is_word, words

if TYPE_CHECKING:
    from memrl.envs.tools import ToolCall, ToolResult, ToolSchema

TokenCounter = Callable[[str], int]
_WORD_OR_SIGN = re.compile(r"\w+|[^\w\s]")


def count_words(text: str) -> int:
    """A token counter for use without a tokenizer: words and single signs, roughly; a character of a script without
    blanks between words is one. No visible text counts 0."""
    if text.isascii():
        return len(_WORD_OR_SIGN.findall(text))
    signs = sum(not (is_word(sign) or sign.isspace()) for sign in text)
    return sum(is_word(word[0]) for word in words(text)) + signs


@dataclass(frozen=True)
class MemoryItem:
    """One item as it stands in the memory. `order` grows with every write, so that the latest can be told."""

    id: str
    store: str
    content: str
    time: str | None
    order: int

    def line(self) -> str:
        """The item as the agent and the reader see it."""
        return f"{self.id} ({self.time}): {self.content}" if self.time else f"{self.id}: {self.content}"


@dataclass(frozen=True)
class MemoryView:
    """A part of the memory chosen under a token budget, in the order it was written."""

    items: tuple[MemoryItem, ...]
    hidden: int
    best: MemoryItem | None = None
    """The item that matches best, for a reader without a model."""

    def text(self) -> str:
        return "\n".join(item.line() for item in self.items)


class MemoryDesign(Protocol):
    """The interface of a memory that can be trained, read and saved.

    In the tools of a design an argument that names an item is called `memory_id`, or ends in `_id`.
    """

    @property
    def tools(self) -> Sequence[ToolSchema]:
        """The tools offered while memorising."""
        ...

    @property
    def example(self) -> tuple[str, Sequence[ToolCall]]:
        """A short text, and the calls that keep what is worth keeping of it: for policies that must be shown one."""
        ...

    def execute(self, call: ToolCall, *, time: str | None = None) -> ToolResult:
        """Carry out one call. Never raises for anything that a model can write."""
        ...

    @property
    def items(self) -> Sequence[MemoryItem]:
        """All items, in a stable order, but for one that is always shown and has no place among them: the core, which
        `get("core")` has where a design keeps one."""
        ...

    def get(self, item_id: str) -> MemoryItem | None:
        """Return the item of that id, if it is held. Every id that a view shows is one."""
        ...

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return items, those that match a text best first.

        Args:
            budget: tokens that are looked at, where that is known.
        """
        ...

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the calls that keep a sentence: for teachers, scripted writers and what a user writes by hand.

        Args:
            event: it tells what happened at a time, not what holds.
            instead_of: the item in whose place it is kept.
        """
        ...

    def drop(self, item: MemoryItem) -> list[ToolCall]:
        """Return the calls that remove an item; none where this design cannot remove it."""
        ...

    def render(self, chunk: str, budget: int) -> MemoryView:
        """Return what is shown while reading `chunk`, at most `budget` tokens of it."""
        ...

    def retrieve(self, question: str, budget: int) -> MemoryView:
        """Return what is shown to the reader for `question`, at most `budget` tokens of it."""
        ...

    def snapshot(self) -> dict[str, Any]:
        """The whole state as JSON data: under `items` each item with its `id` and `content`, which `diff` compares;
        under `design` and `version` those of the design that can restore it."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Become exactly what `snapshot` described.

        Raises:
            DataError: it is a snapshot of another design, or of another version.
        """
        ...

    def token_count(self) -> int:
        """Tokens held."""
        ...

    @property
    def budget(self) -> int:
        """Tokens that may be held."""
        ...


def diff(before: dict[str, Any], after: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what changed between two snapshots: `{op, id, before, after}` an item, `op` being insert, update or
    delete, and `times` (before and after) where an update changed the item's. An item that was only written again as it
    was has not changed."""
    old = {item["id"]: item for item in before["items"]}
    new = {item["id"]: item for item in after["items"]}
    changes: list[dict[str, Any]] = []
    for item_id in [*old, *(item_id for item_id in new if item_id not in old)]:
        was, now = old.get(item_id), new.get(item_id)
        if _but_its_order(was) == _but_its_order(now):
            continue
        op = "insert" if was is None else "delete" if now is None else "update"
        change = {"op": op, "id": item_id, "before": was and was["content"], "after": now and now["content"]}
        if was and now and was.get("time") != now.get("time"):
            change["times"] = [was.get("time"), now.get("time")]
        changes.append(change)
    return changes


def _but_its_order(item: dict[str, Any] | None) -> dict[str, Any] | None:
    return item and {key: value for key, value in item.items() if key != "order"}


def check_snapshot(state: dict[str, Any], design: str, version: int) -> None:
    """Refuse the snapshot of another design or version. One that names none is of `stores`, version 1, as they were
    before there were others.

    Raises:
        DataError: it is one.
    """
    found = state.get("design", "stores"), state.get("version", 1)
    if found != (design, version):
        name, *wrappers = str(found[0]).split("+")
        under = f" memory.wrappers=[{','.join(wrappers)}]" if wrappers else ""
        raise DataError(
            f"the snapshot is of memory design {found[0]!r}, version {found[1]}; this memory is of {design!r}, "
            f"version {version}. Open it with memory.design={name}{under}, by the release that wrote it."
        )
