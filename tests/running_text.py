"""A memory design that is not laid out like `stores`: one running text, which a single tool writes anew.

Each of its sentences is an item. What is not in the items is state too: how often it was written, which sentence stood
beside which, and what was last let go.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from memrl.envs.building.prose import sentences
from memrl.envs.designs import MemoryItem, MemoryView, TokenCounter, check_snapshot, count_words
from memrl.envs.tools import ResultCode, ToolCall, ToolResult, ToolSchema, check_arguments, clean_text
from memrl.rewards.content import content_words

PATH = "tests.running_text:RunningText"
HOARDER = "tests.running_text:Hoarder"
PINNED = "Always "
"""Sentences that begin so cannot be removed."""
REWRITE = ToolSchema("text_rewrite", "Write the text anew.", {"text": {"type": "string"}}, ("text",))


def rewrite(text: str) -> ToolCall:
    return ToolCall(name=REWRITE.name, arguments={"text": text})


class RunningText:
    """One text under a budget."""

    name = "running-text"
    tools: Sequence[ToolSchema] = (REWRITE,)
    example = ("Ada lives in Rome.", (rewrite("Ada lives in Rome."),))

    def __init__(self, budget: int, core_budget: int, count_tokens: TokenCounter = count_words) -> None:
        self.budget = budget
        self._count = count_tokens
        self._said: dict[str, str] = {}
        """Sentences by their ids, in the order of the text."""
        self._beside: dict[str, list[str]] = {}
        self._written = 0
        self._let_go: str | None = None

    def execute(self, call: ToolCall, *, time: str | None = None) -> ToolResult:
        problem = None if call.error else check_arguments(REWRITE, call.arguments)
        if call.error or call.name != REWRITE.name or problem:
            code = call.error or (ResultCode.BAD_ARGUMENTS if call.name == REWRITE.name else ResultCode.UNKNOWN_TOOL)
            return ToolResult(name=call.name, code=code, message=problem or call.message)
        text = " ".join(clean_text(call.arguments["text"]).split())
        if self._count(text) > self.budget:
            return ToolResult(name=call.name, code=ResultCode.OVER_BUDGET, message=f"{self.budget} tokens are allowed")
        said = list(dict.fromkeys(sentences(text)))
        if said == list(self._said.values()):
            return ToolResult(name=call.name, code=ResultCode.DUPLICATE, message="the text says so already")
        known = {sentence: name for name, sentence in self._said.items()}
        new = {sentence: f"s{self._written + 1}-{place}" for place, sentence in enumerate(said)}
        gone = [sentence for sentence in known if sentence not in new]
        self._written += 1
        self._let_go = known[gone[-1]] if gone else self._let_go
        self._said = {known.get(sentence, name): sentence for sentence, name in new.items()}
        names = list(self._said)
        self._beside = {name: names[max(place - 1, 0) : place] for place, name in enumerate(names)}
        last = names[-1] if names else None
        return ToolResult(
            name=call.name, code=ResultCode.OK, item_id=last, store="text", content=self._said[last] if last else None
        )

    @property
    def items(self) -> Sequence[MemoryItem]:
        return tuple(MemoryItem(name, "text", said, None, n) for n, (name, said) in enumerate(self._said.items(), 1))

    def get(self, item_id: str) -> MemoryItem | None:
        return next((item for item in self.items if item.id == item_id), None)

    def relevant(self, text: str, budget: int | None = None) -> Iterator[MemoryItem]:
        words = content_words(text)
        scored = [(len(words & content_words(item.content)), item) for item in self.items]
        return (item for score, item in sorted(scored, key=lambda pair: -pair[0]) if score)

    def keep(self, sentence: str, *, event: bool = False, instead_of: MemoryItem | None = None) -> list[ToolCall]:
        if instead_of is None:
            return [self._rewritten([*self._said.values(), sentence])]
        return [self._rewritten(sentence if name == instead_of.id else said for name, said in self._said.items())]

    def drop(self, item: MemoryItem) -> list[ToolCall]:
        if item.content.startswith(PINNED):
            return []
        return [self._rewritten(said for name, said in self._said.items() if name != item.id)]

    def render(self, chunk: str, budget: int) -> MemoryView:
        return self._view(self.items, budget)

    def retrieve(self, question: str, budget: int) -> MemoryView:
        return self._view(self.relevant(question), budget)

    def snapshot(self) -> dict[str, Any]:
        return {
            "design": self.name,
            "version": 1,
            "items": [{"content": said, "id": name, "length": len(said)} for name, said in self._said.items()],
            "beside": {name: list(names) for name, names in self._beside.items()},
            "written": self._written,
            "let_go": self._let_go,
        }

    def restore(self, state: dict[str, Any]) -> None:
        check_snapshot(state, self.name, 1)
        self._said = {item["id"]: item["content"] for item in state["items"]}
        self._beside = {name: list(names) for name, names in state["beside"].items()}
        self._written = state["written"]
        self._let_go = state["let_go"]

    def token_count(self) -> int:
        return self._count(" ".join(self._said.values()))

    def _rewritten(self, said: Iterable[str]) -> ToolCall:
        return rewrite(" ".join(said))

    def _view(self, wanted: Iterable[MemoryItem], budget: int) -> MemoryView:
        chosen: list[MemoryItem] = []
        for item in wanted:
            budget -= self._count(item.line()) + 1
            if budget < 0:
                break
            chosen.append(item)
        shown = tuple(sorted(chosen, key=lambda item: item.order))
        return MemoryView(shown, len(self._said) - len(shown), chosen[0] if chosen else None)


class Hoarder(RunningText):
    """A text that keeps all that was ever written, beside its items."""

    name = "hoarder"

    def __init__(self, budget: int, core_budget: int, count_tokens: TokenCounter = count_words) -> None:
        super().__init__(budget, core_budget, count_tokens)
        self._attic: list[str] = []

    def execute(self, call: ToolCall, *, time: str | None = None) -> ToolResult:
        result = super().execute(call, time=time)
        if result.ok:
            self._attic.append(call.arguments["text"])
        return result

    def snapshot(self) -> dict[str, Any]:
        return {**super().snapshot(), "attic": list(self._attic)}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._attic = list(state["attic"])
