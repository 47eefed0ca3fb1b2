"""The memory design `triples`: subject, relation, object, one line each, found by pattern.

What a question names is a pattern: triples of which the subject or object stands in it come first, then those that
begin where the first of them end, so that "the city of Ann's sister" is reached over the sister; then all others by
their words.

After RET-LLM (Modarressi et al., arXiv 2305.14322). Left out: its reads by the model itself, and likeness by embeddings
where a name is spelt otherwise.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import ClassVar

from memrl.envs.designs.base import ITEM_ID, SIGN, HeldDesign, delete_tool
from memrl.envs.designs.design import MemoryItem
from memrl.envs.retrieval import WANTED
from memrl.envs.text import fold, stands_in
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema

TODAY = "today"
_PARTS = {
    "subject": {"type": "string", "description": "Who or what it is said of, by name."},
    "relation": {"type": "string", "description": "What is said: a verb, or a verb with a preposition."},
    "object": {"type": "string", "description": "The other end of the relation: a name or a value."},
}
INSERT = ToolSchema(
    name="memory_triple",
    description="Keep one relation between two things.",
    parameters={**_PARTS, "time": {"type": "string", "description": f"Of events: a date, or {TODAY}."}},
    required=("subject", "relation", "object"),
    effect="adds",
)
UPDATE = ToolSchema(
    name="memory_update",
    description="Change parts of a triple. What is left out stays.",
    parameters={"memory_id": ITEM_ID, **_PARTS},
    required=("memory_id",),
    effect="changes",
)
DELETE = delete_tool("Remove a triple that is wrong or no longer needed.")
_HOPS = 4
"""Triples from which one goes on to others, and others that are taken from each."""


class Triples(HeldDesign):
    """Triples under one token budget."""

    name = "triples"
    tools: Sequence[ToolSchema] = (INSERT, UPDATE, DELETE)
    example: tuple[str, Sequence[ToolCall]] = (
        "Marie Curie was born in Warsaw. The weather was fine. Today she won a Nobel Prize.",
        (
            ToolCall(
                name=INSERT.name, arguments={"subject": "Marie Curie", "relation": "was born in", "object": "Warsaw"}
            ),
            ToolCall(
                name=INSERT.name,
                arguments={"subject": "Marie Curie", "relation": "won", "object": "a Nobel Prize", "time": TODAY},
            ),
        ),
    )
    parted = True
    prefixes: ClassVar = {"triple": "triple"}
    may_be_empty: ClassVar = frozenset(["time"])

    def carry_out(self, tool: str, arguments: dict[str, str], time: str | None) -> ToolResult:
        if tool == INSERT.name:
            told = arguments.get("time")
            content = SIGN.join(arguments[part] for part in _PARTS)
            return self.insert(tool, "triple", content, time if told == TODAY else told)
        item = self.held.get(arguments["memory_id"])
        if item is None:
            return self.unknown(tool, arguments["memory_id"])
        if tool == DELETE.name:
            return self.delete(tool, item)
        if not arguments.keys() & _PARTS.keys():
            return ToolResult(name=tool, code=ResultCode.EMPTY, message="nothing is to be changed")
        now = [arguments.get(part, old) for part, old in zip(_PARTS, parts(item), strict=True)]
        return self.update(tool, item, SIGN.join(now))

    def told(self, item: MemoryItem) -> str:
        """Return a triple as the sentence that it makes."""
        return " ".join(parts(item))

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        """Return the call that keeps a sentence, cut where its words suggest (`cut`), or as a triple is shown that is
        written anew."""
        shown = None if instead_of is None else parts(replace(instead_of, content=sentence))
        arguments = dict(zip(_PARTS, shown if shown and all(map(fold, shown)) else cut(sentence), strict=True))
        if instead_of is not None:
            return [ToolCall(name=UPDATE.name, arguments={"memory_id": instead_of.id, **arguments})]
        return [ToolCall(name=INSERT.name, arguments={**arguments, **({"time": TODAY} if event else {})})]

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        """Return the triples with an end that stands in a text, those that go on from there, then all that match."""
        found = super().relevant(text, budget)
        first = list(itertools.islice(found, WANTED))
        named = [item for item in first if any(stands_in(end, text) for end in parts(item)[::2])]
        further = (other for item in named[:_HOPS] for other in self._from(parts(item)[2]))
        given: set[str] = set()
        for item in itertools.chain(named, further, first, found):
            if item.id not in given:
                given.add(item.id)
                yield item

    def _from(self, subject: str) -> Iterator[MemoryItem]:
        """Yield some triples of a subject."""
        likely = itertools.islice(super().relevant(subject), WANTED)
        return itertools.islice((item for item in likely if stands_in(parts(item)[0], subject)), _HOPS)


def parts(item: MemoryItem) -> tuple[str, str, str]:
    """Return subject, relation and object."""
    subject, _, rest = item.content.partition(SIGN)
    relation, _, thing = rest.partition(SIGN)
    return subject, relation, thing


def cut(sentence: str) -> tuple[str, str, str]:
    """Return a sentence cut into three, all words kept in their order: the names that it begins with, what follows in
    small letters, and the rest from the next name or number on, or its last word."""
    words, glue = sentence.split(), " "
    if len(words) == 2:
        return words[0], words[1].rstrip(".!?") or words[1], "." if words[1][-1:] in ".!?" else "so"
    if len(words) == 1:  # a script without blanks, or a word
        words, glue = list(words[0]), ""
    if len(words) < len(_PARTS):
        return sentence, "is", "so"
    names = next((place for place, word in enumerate(words) if not _is_name(word)), len(words))
    begin = min(max(names, 1), len(words) - 2)
    end = next((place for place in range(begin + 1, len(words)) if _is_name(words[place])), len(words) - 1)
    return glue.join(words[:begin]), glue.join(words[begin:end]), glue.join(words[end:])


def _is_name(word: str) -> bool:
    return word[:1].isupper() or word[:1].isdigit()
