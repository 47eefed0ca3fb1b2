"""Logs packed into streams by time: what was said last is for evaluation, and questions are written from the text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import Field

from memrl.envs.asking import QUOTES, SPEAKERS, ask_chunks
from memrl.envs.building.chunking import Piece, Unit, cut
from memrl.envs.building.left_out import leave_out
from memrl.envs.building.shuffling import shuffled
from memrl.envs.building.splitting import in_split
from memrl.envs.building.stage import Read, Stage
from memrl.envs.stream import Chunk, Stream


@dataclass(frozen=True)
class LogRecord:
    """A log in the order in which it is read."""

    name: str
    units: tuple[Unit, ...]
    speakers: frozenset[str] = frozenset()
    """Who speaks in it; nobody in documents."""


class LogPacking(Stage):
    """The stage that makes streams of logs."""

    chunks: int = Field(10, ge=1)
    """Chunks of a stream at most; a stream never joins two logs."""
    questions: int = Field(20, ge=1)
    """At most so many a stream, written from its text without a model."""
    kinds: tuple[str, ...] | None = None
    """Only questions of these kinds; None: all that `memrl.envs.asking.KINDS` has."""
    longest: int | None = Field(None, ge=1)
    """A turn or a sentence of more estimated tokens than this is cut, at blanks; None: each stays whole."""

    def one_pass(self, read: Read, source: str, turn: int) -> Iterator[Stream]:
        streams = [stream for log in read() for stream in self._of_log(log, source, turn)]
        yield from shuffled(streams, f"{source}:{self.seed}:{turn}") if self.split == "train" else streams

    def _of_log(self, log: LogRecord, source: str, turn: int) -> Iterator[Stream]:
        pieces = cut(log.units, self.chunk_tokens, longest=self.longest)
        first = _boundary(pieces, self.eval_share, log.name)
        chosen = {"train": [(0, first)], "eval": [(first, len(pieces))], None: [(0, first), (first, len(pieces))]}
        for begin, end in chosen[self.split]:
            for start in range(begin, end, self.chunks):
                part = pieces[start : min(start + self.chunks, end)]
                again = f"-{turn}" if turn else ""
                name = f"{source}-{log.name}-{start:05d}{again}"
                chunks = tuple(Chunk(text=piece.text, time=piece.time) for piece in part)
                asked = ask_chunks(chunks, name, self.questions, seed=self.seed, kinds=self.kinds, who=log.speakers)
                if not asked:
                    leave_out("for a part of a log in which nothing can be asked", f"{log.name}/{start}")
                    continue
                metadata: dict[str, Any] = {
                    "documents": [f"{log.name}/{start}"],
                    "part": start,
                    SPEAKERS: sorted(log.speakers),
                    QUOTES: {one.question.id: list(one.quotes) for one in asked},
                }
                yield Stream(
                    id=name,
                    source=source,
                    chunks=chunks,
                    questions=tuple(one.question for one in asked),
                    metadata=metadata,
                )


def _boundary(pieces: Sequence[Piece], eval_share: float, name: str) -> int:
    """The first piece that is for evaluation: the beginning of a session, where one begins about there.

    A log of one piece belongs to one side whole, by its name.
    """
    count = len(pieces)
    if eval_share in (0, 1) or count < 2:
        return count if (eval_share == 0 or not in_split(name, "eval", eval_share)) and eval_share != 1 else 0
    wanted = min(max(count - round(eval_share * count), 1), count - 1)
    begins = [place for place in range(1, count) if pieces[place].section != pieces[place - 1].section]
    near = min(begins, key=lambda place: abs(place - wanted), default=wanted)
    return near if abs(near - wanted) <= max(1, eval_share * count / 2) else wanted
