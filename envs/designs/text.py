"""The memory design `text`: one running text, which each step rewrites.

The text is held by its sentences, so that what was kept, added and lost can be told apart: a sentence that is said
again in its place is the item that it was. Where it does not fit into what is shown, the sentences that match best are.

After MemAgent (Yu et al., arXiv 2507.02259). Left out: its answer from the text alone without any search, where the
whole text fits; and its fixed number of tokens a rewriting: `memory.budget` bounds the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from memrl.envs.building.prose import sentences
from memrl.envs.designs.base import HeldDesign, one_line
from memrl.envs.designs.design import MemoryItem
from memrl.envs.text import fold
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema

REWRITE = ToolSchema(
    name="memory_text",
    description="Write the whole memory anew: what it says and is still of use, and what this text adds.",
    parameters={"content": {"type": "string", "description": "The new memory, in full sentences."}},
    required=("content",),
    effect="changes",
)
_EXAMPLE = (
    "Marie Curie was born in Warsaw. The weather was fine. In 1903 she won a Nobel Prize.",
    (
        ToolCall(
            name=REWRITE.name,
            arguments={"content": "Marie Curie was born in Warsaw. Marie Curie won a Nobel Prize in 1903."},
        ),
    ),
)


@dataclass(frozen=True)
class TextSentence(MemoryItem):
    """A sentence of the text, which is shown as it stands there."""

    def line(self) -> str:
        """Return the sentence alone: no call names it."""
        return self.content


class RunningText(HeldDesign):
    """One text under a token budget."""

    name = "text"
    tools: Sequence[ToolSchema] = (REWRITE,)
    example: tuple[str, Sequence[ToolCall]] = _EXAMPLE
    prefixes: ClassVar = {"text": "text"}
    item_type: ClassVar = TextSentence
    rewrites: ClassVar = True
    """A call says the whole memory: of several in a step only the last one counts."""

    @property
    def text(self) -> str:
        """The whole text."""
        return " ".join(item.content for item in self._in_order())

    def read(self, argument: str) -> str:
        """Return an argument with its lines: a sentence ends with its line, whatever stands at its end."""
        return "\n".join(filter(None, map(one_line, argument.splitlines())))

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        wanted = list({fold(sentence): sentence for sentence in _sentences(arguments["content"])}.values())
        if [item.content for item in self._in_order()] == wanted:
            return ToolResult(name=tool, code=ResultCode.DUPLICATE, message="the memory says the same")
        new = [sentence for sentence in wanted if sentence not in {item.content for item in self.items}]
        with self.held.open_journal() as journal:
            result = self._write_all(tool, wanted)
            if not result.ok:
                journal.undo()
                return result
        told = " ".join(new) or None  # what stood there before was told by earlier steps
        return ToolResult(name=tool, code=ResultCode.OK, item_id=result.item_id, store="text", content=told)

    def _write_all(self, tool: str, wanted: list[str]) -> ToolResult:
        """Hold exactly these sentences, in their order; those that stand where they stood are not touched."""
        held, kept = {item.content: item for item in self.items}, set(wanted)
        for content in [content for content in held if content not in kept]:
            self.held.delete(held.pop(content))
        result = ToolResult(name=tool, code=ResultCode.OK)
        last = 0
        for content in wanted:
            old = held.get(content)
            if old is None:
                result = self.insert(tool, "text", content)
            elif old.order < last:
                self.held.write(replace(old, order=self.held.writes + 1), self.held.tokens(old.id))
            if not result.ok:
                return result
            last = old.order if old is not None and old.order > last else self.held.writes
        return result

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that writes the text as it is with the sentence at its end, or in the place of another."""
        said = [
            sentence if instead_of is not None and item.id == instead_of.id else item.content
            for item in self._in_order()
        ]
        if instead_of is None or sentence not in said:
            said.append(sentence)
        return [ToolCall(name=REWRITE.name, arguments={"content": _text(said)})]

    def drop(self, item: MemoryItem) -> list[ToolCall]:
        """Return the call that writes the text without a sentence; none where no other is left to write."""
        said = [other.content for other in self._in_order() if other.id != item.id]
        return [ToolCall(name=REWRITE.name, arguments={"content": _text(said)})] if said else []

    def _in_order(self) -> list[MemoryItem]:
        return sorted(self.items, key=lambda item: item.order)


def _sentences(text: str) -> list[str]:
    return [sentence for line in text.splitlines() for sentence in sentences(line)]


def _text(said: Sequence[str]) -> str:
    """Return sentences as one text, in lines where they would else run into each other: none ends before a small
    letter, or without a sign at its end."""
    text = " ".join(said)
    return text if sentences(text) == [sentence for each in said for sentence in sentences(each)] else "\n".join(said)
