"""The memory design `pages`: a short index that is in sight, and full pages that are opened when somebody asks.

While reading, every page is one line, its title. For a question the pages are looked for in two rounds, the second with
what the first has found; those found are shown in full as far as they fit, of all others the titles.

After GAM (arXiv 2511.18423). Left out: pages that keep the text itself without a call, and a model that plans further
rounds and judges when it has read enough.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from memrl.envs.designs.base import ITEM_ID, SIGN, HeldDesign, delete_tool
from memrl.envs.designs.design import MemoryItem, MemoryView
from memrl.envs.retrieval.iterative import in_rounds
from memrl.envs.text import fold
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema

_PARTS = {
    "title": {"type": "string", "description": "What the page is about, in a few words: it alone stays in sight."},
    "content": {"type": "string", "description": "All that is to be known: some full sentences."},
}
PAGE = ToolSchema(
    name="memory_page",
    description="Store one new page.",
    parameters=_PARTS,
    required=("title", "content"),
    effect="adds",
)
UPDATE = ToolSchema(
    name="memory_update",
    description="Replace the title or the whole content of a page. What is left out stays.",
    parameters={"memory_id": ITEM_ID, **_PARTS},
    required=("memory_id",),
    effect="changes",
)
DELETE = delete_tool("Remove a page that is wrong or no longer needed.")
_TITLE = 6
"""Words of a sentence that make the title of its page."""
_FIRST = 2
"""Pages of the first round with which the second one asks."""
_ROUND = 8
"""Pages that a round finds."""


class Pages(HeldDesign):
    """Pages under one token budget."""

    name = "pages"
    tools: Sequence[ToolSchema] = (PAGE, UPDATE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (
        "Marie Curie was born in Warsaw. The weather was fine. In 1903 she won a Nobel Prize.",
        (
            ToolCall(
                name=PAGE.name,
                arguments={
                    "title": "Marie Curie's life",
                    "content": "Marie Curie was born in Warsaw. Marie Curie won a Nobel Prize in 1903.",
                },
            ),
        ),
    )
    parted = True
    prefixes: ClassVar = {"page": "page"}
    may_be_empty: ClassVar = frozenset()

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        if tool == PAGE.name:
            return self.insert(tool, "page", SIGN.join(arguments[part] for part in _PARTS), time)
        item = self.held.get(arguments["memory_id"])
        if item is None:
            return self.unknown(tool, arguments["memory_id"])
        if tool == DELETE.name:
            return self.delete(tool, item)
        if not arguments.keys() & _PARTS.keys():
            return ToolResult(name=tool, code=ResultCode.EMPTY, message="nothing is to be changed")
        now = [arguments.get(part, old) for part, old in zip(_PARTS, parts(item), strict=True)]
        return self.update(tool, item, SIGN.join(now))

    def says(self, item: MemoryItem) -> str:
        """Return the content of a page: under another title it is a repetition."""
        return parts(item)[1]

    def told(self, item: MemoryItem) -> str:
        """Return the content of a page."""
        return parts(item)[1]

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that gives a sentence a page of its own, under its first words."""
        title, _, content = sentence.partition(SIGN) if instead_of is not None else ("", "", "")  # as one is shown
        if not (fold(title) and fold(content)):
            title, content = " ".join(sentence.split()[:_TITLE]), sentence
        arguments = {"title": title, "content": content}
        if instead_of is not None:
            return [ToolCall(name=UPDATE.name, arguments={"memory_id": instead_of.id, **arguments})]
        return [ToolCall(name=PAGE.name, arguments=arguments)]

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return the pages that a text and what it leads to find, then all others that match it."""
        search = super().relevant
        return in_rounds(
            lambda asked: search(asked, budget), lambda page: page.content, lambda page: page.id, text,
            first=_FIRST, each=_ROUND,
        )  # fmt: skip

    def render(self, chunk: str, budget: int) -> MemoryView:
        """Return the titles: of the last pages, of the most relevant, then of the others."""
        recent = itertools.islice(self.newest(), self.recent)
        return self.view(itertools.chain(recent, map(title_of, self.relevant(chunk, budget))), budget)

    def retrieve(self, question: str, budget: int) -> MemoryView:
        """Return the pages that are found in full, as far as they fit, and in what is left titles."""
        return self.view(self._opened(self.relevant(question, budget), budget), budget)

    def newest(self) -> Iterator[MemoryItem]:
        """Return the titles, the last written first."""
        return map(title_of, super().newest())

    def _opened(self, pages: Iterable[MemoryItem], budget: int) -> Iterator[MemoryItem]:
        left = budget
        for page in pages:
            shown = page if self.held.line_tokens(page) < left else title_of(page)
            yield shown
            tokens = self.held.line_tokens(shown) + 1  # the line break
            left -= tokens if tokens <= left else 0


def parts(page: MemoryItem) -> tuple[str, str]:
    """Return title and content of a page."""
    title, _, content = page.content.partition(SIGN)
    return title, content


def title_of(page: MemoryItem) -> MemoryItem:
    """Return a page as one line of the index."""
    return replace(page, content=parts(page)[0])
