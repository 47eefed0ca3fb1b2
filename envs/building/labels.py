"""Labelled utterances as streams for test-time learning: read examples with numbers for labels, then label new ones.

Which number a label has is drawn anew for each stream, so that it must be learnt from the chunks and cannot be known.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from envs.building.shuffling import shuffled
from envs.building.splitting import in_split, share_of
from envs.building.stage import Read, Stage
from envs.building.tokens import count_tokens
from envs.stream import Chunk, Question, Stream

QUESTION = (
    "Which number is the label of this text, going by the labelled examples? Answer with \\boxed{{number}} only.\n"
    "Text: {text}"
)
QUESTION_SHARE = 0.2
"""Share of the training utterances that are asked about and never shown."""


@dataclass(frozen=True)
class Example:
    """One labelled utterance."""

    text: str
    label: str
    part: Literal["train", "test"] = "train"
    """The source's own split."""
    group: str | None = None
    """The document it comes from, where utterances of one document must not be torn between train and eval."""

    @property
    def key(self) -> str:
        """Equal for utterances that say the same."""
        return self.group if self.group is not None else " ".join(self.text.casefold().split())


class Labelling(Stage):
    """How labelled utterances become streams.

    `train`: examples and questions from the source's training part, less what its test part says too. `eval`: the rest
    of the training part as examples, and the test part asked about (where there is none, a share of the rest).
    """

    chunk_tokens: int = Field(600, ge=1)
    chunks: int = Field(10, ge=1)
    questions: int = Field(100, ge=1)
    """At most so many a stream, each about a label that the stream has shown."""
    numbers: Literal["drawn", "fixed"] = "drawn"
    """`drawn`: labels are numbered anew for each stream; `fixed`: by their names' order, as the reference does."""

    def one_pass(self, read: Read, source: str, turn: int) -> Iterator[Stream]:
        tested: set[float] = set()
        names: set[str] = set()
        for example in read():
            names.add(example.label)
            if example.part == "test":
                tested.add(share_of(example.key))
        seed = f"{source}:{self.seed}:{turn}"
        shown = shuffled((example for example in read() if self._shown(example, tested)), f"{seed}:shown")
        pool = _Pool(lambda again: shuffled((e for e in read() if self._asked(e, tested)), f"{seed}:asked:{again}"))
        for number in itertools.count():
            order = sorted(names)
            if self.numbers == "drawn":
                random.Random(f"{seed}:{number}").shuffle(order)
            numbers = {label: place for place, label in enumerate(order)}
            chunks, shown = self._chunks(shown, numbers)
            complete = len(chunks) == self.chunks
            if chunks and (complete or number == 0):  # what is left over at the end of a pass is no stream of its own
                questions = self._questions(chunks, numbers, pool)
                if questions:
                    yield Stream(
                        id=f"{source}-{self.split or 'all'}-{self.seed}-{turn}-{number:05d}",
                        source=source,
                        chunks=tuple(Chunk(text="\n\n".join(chunk.lines)) for chunk in chunks),
                        questions=questions,
                        metadata={"labels": {str(place): label for label, place in numbers.items()}},
                    )
            if not complete:
                return

    def _own(self, tested: set[float]) -> bool:
        """Whether questions are drawn from the training part, so that it is divided into shown and asked."""
        return self.split == "train" or not tested

    def _training(self, example: Example, tested: set[float]) -> bool:
        """Of the training part, of this split, and not in the test part as well."""
        own_split = in_split(example.key, self.split, self.eval_share)
        return example.part == "train" and own_split and share_of(example.key) not in tested

    def _shown(self, example: Example, tested: set[float]) -> bool:
        return self._training(example, tested) and not (self._own(tested) and _held(example))

    def _asked(self, example: Example, tested: set[float]) -> bool:
        if self._own(tested):
            return self._training(example, tested) and _held(example)
        return example.part == "test"

    def _chunks(self, shown: Iterator[Example], numbers: dict[str, int]) -> tuple[list[_Shown], Iterator[Example]]:
        """The next stream's chunks, and the examples that are left."""
        chunks: list[_Shown] = []
        room = 0
        for example in shown:
            line = f"{example.text.strip()}\nlabel: {numbers[example.label]}"
            size = count_tokens(line) + 1
            if not chunks or size > room:
                if len(chunks) == self.chunks:
                    return chunks, itertools.chain([example], shown)
                chunks.append(_Shown([], set()))
                room = self.chunk_tokens
            chunks[-1].lines.append(line)
            chunks[-1].labels.add(example.label)
            room -= size
        return chunks, iter(())

    def _questions(self, chunks: list[_Shown], numbers: dict[str, int], pool: _Pool) -> tuple[Question, ...]:
        labels = set().union(*(chunk.labels for chunk in chunks))
        return tuple(
            Question(
                id=f"q{place}",
                text=QUESTION.format(text=example.text.strip()),
                answers=(str(numbers[example.label]),),
                metric="boxed",
                kind="classification",
                evidence=tuple(index for index, chunk in enumerate(chunks) if example.label in chunk.labels),
            )
            for place, example in enumerate(pool.take(self.questions, labels))
        )


@dataclass(frozen=True)
class _Shown:
    """A chunk to be: its examples with their numbers, and which labels they have."""

    lines: list[str]
    labels: set[str]


def _held(example: Example) -> bool:
    """Whether an utterance is asked about and never shown, where both come from one part."""
    return share_of(f"asked/{example.key}") < QUESTION_SHARE


class _Pool:
    """What is asked about, in a seeded order, begun again when it ends."""

    def __init__(self, begin: Callable[[int], Iterator[Example]]) -> None:
        self._begin = begin
        self._turn = 0
        self._rest = begin(0)

    def take(self, most: int, labels: set[str]) -> list[Example]:
        """Up to `most` with one of these labels, no utterance twice."""
        taken: dict[str, Example] = {}
        for _ in range(2):  # to the end of this turn, and once through the next
            for example in self._rest:
                if example.label in labels:
                    taken.setdefault(example.text, example)
                if len(taken) == most:
                    return list(taken.values())
            self._turn += 1
            self._rest = self._begin(self._turn)
        return list(taken.values())
