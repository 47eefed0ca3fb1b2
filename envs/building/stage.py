"""A stage makes streams of what a source's reader yields; its fields are options that all sources of its kind share."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import count as numbers
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from memrl.envs.building.splitting import Split
from memrl.envs.errors import NoStream
from memrl.envs.stream import Stream

Read = Callable[[], Iterable[Any]]
"""Begin to read a source's records from the start."""


class Stage(BaseModel):
    """The options that all stages have."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: int = 0
    count: int | None = Field(None, ge=0)
    """How many streams; past one pass over the records, go on with a new seeded order. None: one pass."""
    split: Split | None = None
    """Only what belongs to this split; None: all."""
    eval_share: float = Field(0.2, ge=0, le=1)
    """About this share of the documents belongs to the eval split, by what they are called; all of a file that its
    publisher calls test or dev, unless this is given."""
    chunk_tokens: int = Field(1024, ge=1)
    """Longest chunk, in estimated tokens."""

    @abstractmethod
    def one_pass(self, read: Read, source: str, turn: int) -> Iterator[Stream]:
        """The streams of one pass over the records, in the order of pass `turn`."""

    def streams(self, read: Read, source: str) -> Iterator[Stream]:
        """Streams of a source, pass after pass until `count`.

        Raises:
            NoStream: nothing can be built from what there is.
        """
        given = 0
        for turn in numbers():
            before = given
            for stream in self.one_pass(read, source, turn):
                if self.count is not None and given >= self.count:
                    return
                yield stream
                given += 1
            if given == before and (self.count is None or given < self.count):
                raise NoStream(
                    f"source {source!r}: no stream can be built with split={self.split!r}, "
                    f"eval_share={self.eval_share:g} and the other options. Change them, or give it more data"
                    f"{'; eval_share=0.2 trains on what is published for evaluation' if self.eval_share == 1 else ''}."
                )
            if self.count is None:
                return
