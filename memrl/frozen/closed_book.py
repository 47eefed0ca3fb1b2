"""The closed-book check: which questions a reader answers from an empty memory; what it scores there no memory has
earned.

The reader is the run's own, with its instruction, so a question whose gold is "unknown" counts as answered; what a
model knows of the text by heart shows best with an instruction to guess (`reader.instruction`).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator
from heapq import heappush, heappushpop
from itertools import count

from pydantic import BaseModel, ConfigDict
from rich.table import Table

from memrl.config import ReaderConfig
from memrl.data.show import plain_table
from memrl.endpoints.client import Endpoint, open_endpoint
from memrl.envs.building.splitting import share_of
from memrl.envs.designs import MemoryView
from memrl.envs.dialects.thoughts import said
from memrl.envs.stream import Question, Stream
from memrl.frozen.reader import reader_messages
from memrl.rewards.metrics import score

RIGHT = 0.5
"""A score from which on an answer is shown as an example."""
_EXAMPLES = 10


class Guess(BaseModel):
    """A question that was answered from nothing."""

    model_config = ConfigDict(frozen=True)

    source: str
    stream: str
    question: str
    text: str
    answer: str
    golds: tuple[str, ...]
    score: float


class Row(BaseModel):
    """The questions of one source and kind."""

    model_config = ConfigDict(frozen=True)

    source: str
    kind: str
    asked: int
    score: float
    """Mean."""
    right: int
    """Answers that score `RIGHT` or more."""


class ClosedBook(BaseModel):
    """The score of a reader without a memory."""

    model_config = ConfigDict(frozen=True)

    model: str
    rows: tuple[Row, ...]
    examples: tuple[Guess, ...]


def closed_book(
    streams: Iterable[Stream], reader: ReaderConfig, run_dir: str | None, *, most: int = 100, seed: int = 0
) -> ClosedBook:
    """Ask the reader's endpoint; answers come from its cache where it has been asked before.

    Args:
        run_dir: `run.dir`, where the cache is if `reader.endpoint` does not say.
        most: questions of each source; which ones depends on `seed` and on what they are called.

    Raises:
        ReaderError: a question got no answer.
        ConfigError: the endpoint's key is not in this machine's environment.
    """

    async def ask() -> ClosedBook:
        endpoint = open_endpoint(reader.endpoint, "reader", run_dir)
        try:
            return await ask_closed_book(streams, endpoint, reader, most=most, seed=seed)
        finally:
            await endpoint.close()

    return asyncio.run(ask())


async def ask_closed_book(
    streams: Iterable[Stream], endpoint: Endpoint, reader: ReaderConfig, *, most: int = 100, seed: int = 0
) -> ClosedBook:
    """The same, of an endpoint that is open."""
    sampled = list(_sample(streams, most, seed))
    nothing = MemoryView((), 0)

    async def one(source: str, stream: str, question: Question) -> Guess:
        messages = reader_messages(question.text, nothing, reader)
        reply = await endpoint.complete(messages, reader.max_tokens)
        return Guess(
            source=source,
            stream=stream,
            question=question.id,
            text=question.text,
            answer=said(reply.text),
            golds=question.answers,
            score=score(question.metric, said(reply.text), question.answers),
        )

    guesses = await asyncio.gather(*(one(*item) for item in sampled))
    groups: defaultdict[tuple[str, str], list[Guess]] = defaultdict(list)
    for (source, _, question), guess in zip(sampled, guesses, strict=True):
        groups[source, question.kind].append(guess)
    best = sorted((guess for guess in guesses if guess.score >= RIGHT), key=lambda guess: -guess.score)
    return ClosedBook(
        model=str(reader.endpoint.model),
        rows=tuple(
            Row(
                source=source,
                kind=kind,
                asked=len(group),
                score=sum(guess.score for guess in group) / len(group),
                right=sum(guess.score >= RIGHT for guess in group),
            )
            for (source, kind), group in sorted(groups.items())
        ),
        examples=tuple(best[:_EXAMPLES]),
    )


def _sample(streams: Iterable[Stream], most: int, seed: int) -> Iterator[tuple[str, str, Question]]:
    """Yield up to `most` questions of each source, by lot: in one pass, whatever the order."""
    drawn: defaultdict[str, list[tuple[float, str, int, Question]]] = defaultdict(list)
    numbers = count()  # so that two of one name are told apart
    for stream in streams:
        held = drawn[stream.source]
        for question in stream.questions:
            lot = -share_of(f"{seed}/{stream.source}/{stream.id}/{question.id}")
            (heappush if len(held) < most else heappushpop)(held, (lot, stream.id, next(numbers), question))
    for source, held in sorted(drawn.items()):
        for _, stream_id, _, question in sorted(held):
            yield source, stream_id, question


def closed_book_table(found: ClosedBook) -> Table:
    """Return the table of what a model answers without any memory."""
    table = plain_table("source", "kind", "asked", "mean score", "right", title=f"without memory: {found.model}")
    for row in found.rows:
        table.add_row(row.source, row.kind, f"{row.asked:,}", f"{row.score:.3f}", f"{row.right:,}")
    return table
