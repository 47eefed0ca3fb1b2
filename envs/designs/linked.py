"""The memory design `linked`: notes with keywords and tags, and links from note to note. A note that is found brings
those that it is linked with.

A note is one line, `TEXT | keywords: a, b | tags: c | links: note_0002`, and all of it is searched and counted.

After A-MEM (Xu et al., arXiv 2502.12110), whose linking and whose updates of neighbours are tools here, so that they
are learned. Left out: a model that writes keywords, tags and a context to each note, and embeddings that propose links.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

from memrl.envs.designs.base import ITEM_ID, HeldDesign, delete_tool
from memrl.envs.designs.design import MemoryItem
from memrl.envs.text import words
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema

_TEXT = {"type": "string", "description": "One self-contained sentence."}
_KEYWORDS = {"type": "string", "description": "The words by which it will be looked for, with commas between them."}
_TAGS = {"type": "string", "description": "What it is about, with commas between them."}
NOTE = ToolSchema(
    name="memory_note",
    description="Keep one new note.",
    parameters={"content": _TEXT, "keywords": _KEYWORDS, "tags": _TAGS},
    required=("content",),
    effect="adds",
)
UPDATE = ToolSchema(
    name="memory_update",
    description="Change a note's text, keywords or tags. What is left out stays, and so do its links.",
    parameters={"memory_id": ITEM_ID, "content": _TEXT, "keywords": _KEYWORDS, "tags": _TAGS},
    required=("memory_id",),
    effect="changes",
)
LINK = ToolSchema(
    name="memory_link",
    description="Link two notes that belong together: whoever finds one is shown the other.",
    parameters={"memory_id": ITEM_ID, "other_id": ITEM_ID},
    required=("memory_id", "other_id"),
    effect="adds",
)
UNLINK = replace(LINK, name="memory_unlink", description="Take the link between two notes away.")
DELETE = delete_tool("Remove a note that is wrong or no longer needed, and its links.")
_EXAMPLE = (
    "Marie Curie was born in Warsaw. The weather was fine. In 1903 she won a Nobel Prize.",
    (
        ToolCall(name=NOTE.name, arguments={"content": "Marie Curie was born in Warsaw.", "tags": "origin"}),
        ToolCall(name=NOTE.name, arguments={"content": "Marie Curie won a Nobel Prize in 1903.", "keywords": "award"}),
        ToolCall(name=LINK.name, arguments={"memory_id": "note_0001", "other_id": "note_0002"}),
    ),
)
_PARTS = re.compile(r"(.*?)(?: \| keywords: ([^|]*))?(?: \| tags: ([^|]*))?(?: \| links: ([^|]*))?")
MOST_LINKS = 16
"""Links of a note: what is read and written with it stays short."""


class Note(NamedTuple):
    """The parts of a note."""

    text: str
    keywords: str = ""
    tags: str = ""
    links: tuple[str, ...] = ()

    def content(self) -> str:
        """Return the note as one line."""
        named = {"keywords": self.keywords, "tags": self.tags, "links": " ".join(self.links)}
        return " | ".join([self.text, *(f"{name}: {value}" for name, value in named.items() if value)])


class LinkedNotes(HeldDesign):
    """Notes and their links, under one token budget."""

    name = "linked"
    tools: Sequence[ToolSchema] = (NOTE, UPDATE, LINK, UNLINK, DELETE)
    example: tuple[str, Sequence[ToolCall]] = _EXAMPLE
    parted = True
    prefixes: ClassVar = {"note": "note"}
    may_be_empty: ClassVar = frozenset(["content", "keywords", "tags"])

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        named = {"content": "text", "keywords": "keywords", "tags": "tags"}
        given: dict[str, Any] = {named[key]: value for key, value in arguments.items() if key in named}
        if tool == NOTE.name:
            if "text" not in given:
                return ToolResult(name=tool, code=ResultCode.EMPTY, message="content is empty")
            return self.insert(tool, "note", Note(**given).content(), time)
        item = self.held.get(arguments["memory_id"])
        if item is None:
            return self.unknown(tool, arguments["memory_id"])
        note = self._note(item)
        if tool == UPDATE.name:
            if not given:
                return ToolResult(name=tool, code=ResultCode.EMPTY, message="nothing is to be changed")
            return self.update(tool, item, note._replace(**given).content())
        if tool == DELETE.name:
            neighbours = [other for name in note.links if (other := self.held.get(name)) is not None]
            cut = [partial(self._cut, tool, other, item) for other in neighbours]
            return self.together(*cut, lambda: self.delete(tool, item))
        other = self.held.get(arguments["other_id"])
        if other is None or other.id == item.id:
            return self.unknown(tool, arguments["other_id"])
        if tool == UNLINK.name:
            if other.id not in note.links:
                return self.unknown(tool, other.id)
            return self.together(lambda: self._cut(tool, other, item), lambda: self._cut(tool, item, other))
        if other.id in note.links:
            return ToolResult(name=tool, code=ResultCode.DUPLICATE, message="the two are linked already")
        return self.together(lambda: self._link(tool, other, item), lambda: self._link(tool, item, other))

    def _link(self, tool: str, item: MemoryItem, other: MemoryItem) -> ToolResult:
        note = self._note(item)
        if len(note.links) == MOST_LINKS:
            message = f"{item.id} has {MOST_LINKS} links, as many as a note may have"
            return ToolResult(name=tool, code=ResultCode.OVER_BUDGET, message=message)
        return self.update(tool, item, note._replace(links=(*note.links, other.id)).content())

    def _cut(self, tool: str, item: MemoryItem, other: MemoryItem) -> ToolResult:
        note = self._note(item)
        if other.id not in note.links:
            return ToolResult(name=tool, code=ResultCode.OK, item_id=item.id, store=item.store, content="")
        links = tuple(name for name in note.links if name != other.id)
        return self.update(tool, item, note._replace(links=links).content())

    def _note(self, item: MemoryItem) -> Note:
        """Return a note with those of its links that lead somewhere: what it was linked with may have been erased."""
        note = parts(item)
        return note._replace(links=tuple(name for name in note.links if self.held.get(name) is not None))

    def says(self, item: MemoryItem) -> str:
        """Return a note's text and time: another one that says it is a repetition, whatever its keywords are."""
        return f"{item.time or ''} {parts(item).text}"

    def told(self, item: MemoryItem) -> str:
        """Return a note's text."""
        return parts(item).text

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that notes a sentence, under its longest words, events tagged as such."""
        if instead_of is not None and (said := parts(replace(instead_of, content=sentence))).text != sentence:
            arguments = {"content": said.text, "keywords": said.keywords, "tags": said.tags}  # as an item is shown
            return [ToolCall(name=UPDATE.name, arguments={"memory_id": instead_of.id, **arguments})]
        longest = sorted(dict.fromkeys(words(sentence)), key=len, reverse=True)[:2]
        arguments = {"content": sentence, "keywords": ", ".join(longest), "tags": "event" if event else "fact"}
        if instead_of is not None:
            return [ToolCall(name=UPDATE.name, arguments={"memory_id": instead_of.id, **arguments})]
        return [ToolCall(name=NOTE.name, arguments=arguments)]

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return the notes that match a text best, each followed by those that it is linked with."""
        given: set[str] = set()
        for item in super().relevant(text, budget):
            for name in (item.id, *parts(item).links):
                if name not in given and (found := self.held.get(name)) is not None:
                    given.add(name)
                    yield found


def parts(item: MemoryItem) -> Note:
    """Return a note taken apart."""
    found = _PARTS.fullmatch(item.content)
    if found is None:
        return Note(item.content)
    text, keywords, tags, links = found.groups(default="")
    return Note(text, keywords, tags, tuple(links.split()))
