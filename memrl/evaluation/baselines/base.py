"""The interface of a baseline, and a memory of passages for those that keep text as it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from memrl.engines.engine import Place, Sampling
from memrl.envs.building.prose import sentences
from memrl.envs.designs import MemoryDesign, MemoryItem, MemoryView, TokenCounter
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.thoughts import said
from memrl.envs.retrieval import NewIndex
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.stream import Chunk, Stream
from memrl.envs.tools import ToolCall, ToolResult
from memrl.rollout.worker import RolloutWorker

PASSAGES_SHOWN = 4
"""So many passages should fit in what is shown."""


@dataclass(frozen=True)
class Kept:
    """A memory, and what it cost to write."""

    memory: MemoryDesign
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Speaker:
    """The untrained model, asked greedily; counts what it costs."""

    def __init__(self, worker: RolloutWorker) -> None:
        self._worker = worker
        self._prompted = self._written = 0

    async def say(self, instruction: str, text: str, place: Place) -> str:
        """Return its reply to an instruction and a text, of which the end counts where both do not fit."""
        worker, rollout = self._worker, self._worker.rollout
        messages = [{"role": "system", "content": instruction}, {"role": "user", "content": text}]
        ids = worker.prompter.encode(messages)[-rollout.max_prompt_tokens :]
        completion = await worker.engine.generate(ids, Sampling(rollout.max_completion_tokens, 0.0), None, place=place)
        self._prompted += len(ids)
        self._written += len(completion.ids)
        return said(worker.prompter.decode(completion.ids))

    def kept(self, memory: MemoryDesign) -> Kept:
        """A memory that it was asked for."""
        return Kept(memory, self._prompted, self._written)


class Baseline(Protocol):
    """Reads a stream. Raises `EngineError` when its model fails."""

    async def read(self, stream: Stream, place: Place) -> Kept:
        """`place` is where its requests stand among all others: the step, the stream, the episode."""
        ...


def page(chunk: Chunk) -> str:
    """A chunk under its heading."""
    heading = f"# Text ({chunk.time})" if chunk.time else "# Text"
    return f"{heading}\n{chunk.text}"


def lines(stream: Stream) -> list[tuple[str, str | None]]:
    """A stream's sentences and when they were said, in order; a dialogue's turns stay on their lines."""
    return [
        (sentence, chunk.time)
        for chunk in stream.chunks
        for line in chunk.text.splitlines()
        for sentence in sentences(line)
    ]


def passages(stream: Stream, most: int, count: TokenCounter) -> list[tuple[str, str | None]]:
    """A stream's sentences, joined to passages of at most `most` tokens, and when they were said; a longer sentence is
    a passage of its own."""
    found: list[tuple[str, str | None]] = []
    for text, time in lines(stream):
        if found and found[-1][1] == time:
            joined = f"{found[-1][0]} {text}"
            if count(joined) <= most:
                found[-1] = (joined, time)
                continue
        found.append((text, time))
    return found


def keep(memory: MemoryDesign, text: str, time: str | None) -> ToolResult:
    """Insert one passage, dated where it has a time."""
    arguments = {"memory_type": "episodic" if time else "semantic", "content": text}
    return memory.execute(ToolCall(name="memory_insert", arguments=arguments), time=time)


@dataclass(frozen=True)
class Passage(MemoryItem):
    """Shown under its number in the view: its id grows with the text, and so does what some tokenizers take for it."""

    number: int = 1

    def line(self) -> str:
        shown = f"{self.id[:4]}{self.number:04d}"
        return MemoryItem(shown, self.store, self.content, self.time, self.order).line()


class Notes(StoreMemory):
    """Passages of the text under a budget."""

    def newest(self) -> Iterator[MemoryItem]:
        return (_passage(item, 1) for item in super().newest())

    def view(self, wanted: Iterable[MemoryItem], budget: int) -> MemoryView:
        chosen = super().view((_passage(item, 1) for item in wanted), budget)
        items = tuple(_passage(item, number) for number, item in enumerate(chosen.items, start=1))
        return MemoryView(items, chosen.hidden, chosen.best)


def _passage(item: MemoryItem, number: int) -> Passage:
    return Passage(item.id, item.store, item.content, item.time, item.order, number)


class Passages(Notes):
    """Passages of the text. Nothing limits what is held: only what is shown for a question is limited."""

    def __init__(
        self, held: Sequence[tuple[str, str | None]], count: TokenCounter, new_index: NewIndex = BM25Index
    ) -> None:
        super().__init__(2**62, 0, count)
        self.search_by(new_index)
        for text, time in held:
            keep(self, text, time)


class Newest(Passages):
    """Shows the newest passages that fit, whatever is asked."""

    def retrieve(self, question: str, budget: int) -> MemoryView:
        view = self.view(sorted(self.items, key=lambda item: -item.order), budget)
        shown = {item.id for item in view.items}
        best = next((item for item in self.relevant(question) if item.id in shown), None)
        return MemoryView(view.items, view.hidden, best)
