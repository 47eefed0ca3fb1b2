"""The memory design `hierarchy`: domains, topics in them, traces under the topics; read from the top down.

An item is one line with its path before it, `work > Ann > Ann is a baker.`, and a topic may have a summary. For a
question the domain whose traces match best comes first, in it the best topic with its summary, and then its traces.

After H-MEM (Sun and Zeng, arXiv 2507.22925). Left out: embeddings and pointers by number at each level, where the path
itself is the pointer; weights that grow with feedback; G-Memory's graphs of queries.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import ClassVar

from memrl.envs.designs.base import ITEM_ID, HeldDesign, delete_tool
from memrl.envs.designs.design import MemoryItem
from memrl.envs.retrieval import WANTED
from memrl.envs.text import words
from memrl.envs.tools import ToolCall, ToolResult, ToolSchema

_PLACE = {
    "domain": {"type": "string", "description": "The wide field, one or two words."},
    "topic": {"type": "string", "description": "The matter or person in it, one or two words."},
}
_CONTENT = {"type": "string", "description": "One self-contained sentence."}
INSERT = ToolSchema(
    name="memory_trace",
    description="Store one sentence under a topic of a domain; both are made where they are new.",
    parameters={**_PLACE, "content": _CONTENT},
    required=("domain", "topic", "content"),
    effect="adds",
)
SUMMARY = ToolSchema(
    name="memory_summary",
    description="Write what a topic comes to, in the place of its summary if it has one.",
    parameters={**_PLACE, "content": _CONTENT},
    required=("domain", "topic", "content"),
    effect="changes",
)
UPDATE = ToolSchema(
    name="memory_update",
    description="Replace the sentence of a trace or summary, which stays where it is.",
    parameters={"memory_id": ITEM_ID, "content": _CONTENT},
    required=("memory_id", "content"),
    effect="changes",
)
DELETE = delete_tool("Remove a trace or summary that is wrong or no longer needed.")
_SIGN = " > "
Path = tuple[str, str]


class Hierarchy(HeldDesign):
    """Traces and summaries of topics under one token budget."""

    name = "hierarchy"
    tools: Sequence[ToolSchema] = (INSERT, SUMMARY, UPDATE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (
        "Marie Curie was born in Warsaw. The weather was fine. In 1903 she won a Nobel Prize.",
        tuple(
            ToolCall(name=INSERT.name, arguments={"domain": domain, "topic": "Marie Curie", "content": content})
            for domain, content in (
                ("life", "Marie Curie was born in Warsaw."),
                ("work", "Marie Curie won a Nobel Prize in 1903."),
            )
        ),
    )
    prefixes: ClassVar = {"topic": "topic", "trace": "trace"}

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        if tool in (INSERT.name, SUMMARY.name):
            path = _name(arguments["domain"]), _name(arguments["topic"])
            if tool == INSERT.name:
                return self.insert(tool, "trace", _line(path, arguments["content"]), time)
            old = self.summary(path)
            if old is not None:
                return self.update(tool, old, _line(path, arguments["content"]))
            return self.insert(tool, "topic", _line(path, arguments["content"]))
        item = self.held.get(arguments["memory_id"])
        if item is None:
            return self.unknown(tool, arguments["memory_id"])
        if tool == DELETE.name:
            return self.delete(tool, item)
        return self.update(tool, item, _line(place(item), arguments["content"]))

    def summary(self, path: Path) -> MemoryItem | None:
        """Return the summary of a topic, if it has one."""
        return self.held.twin(MemoryItem("", "topic", _line(path, ""), None, 0))

    def says(self, item: MemoryItem) -> str:
        """Return what an item says and where; of a summary where alone, as a topic has one."""
        return super().says(item) if item.store == "trace" else _SIGN.join(place(item))

    def told(self, item: MemoryItem) -> str:
        """Return the sentence of an item."""
        return item.content.removeprefix(_line(place(item), ""))

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that keeps a sentence: under what it begins with, in the domain of events or of facts."""
        if instead_of is not None:
            said = sentence.removeprefix(_line(place(instead_of), ""))  # as the item is shown
            return [ToolCall(name=UPDATE.name, arguments={"memory_id": instead_of.id, "content": said})]
        topic = next(iter(words(sentence)), "")
        domain = "events" if event else "facts"
        return [ToolCall(name=INSERT.name, arguments={"domain": domain, "topic": topic, "content": sentence})]

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return what matches a text from the top down: by domains, in them by topics, the summary of each first."""
        found = super().relevant(text, budget)
        domains: dict[str, float] = defaultdict(float)
        topics: dict[Path, float] = defaultdict(float)
        under: dict[Path, list[MemoryItem]] = defaultdict(list)
        for rank, item in enumerate(itertools.islice(found, WANTED), start=1):
            path = place(item)
            domains[path[0]] += 1.0 / rank
            topics[path] += 1.0 / rank
            under[path].append(item)
        given: set[str] = set()
        # Sorting is stable: of equals the first found comes first.
        for path in sorted(topics, key=lambda path: (-domains[path[0]], -topics[path])):
            summary = self.summary(path)
            for item in itertools.chain([summary] if summary else [], under[path]):
                if item.id not in given:
                    given.add(item.id)
                    yield item
        yield from (item for item in found if item.id not in given)


def place(item: MemoryItem) -> Path:
    """Return the domain and topic of an item."""
    domain, _, rest = item.content.partition(_SIGN)
    return domain, rest.partition(_SIGN)[0]


def _name(told: str) -> str:
    return told.replace(">", "/")


def _line(path: Path, content: str) -> str:
    return f"{path[0]}{_SIGN}{path[1]}{_SIGN}{content}"
