"""Labelled utterances as streams for test-time learning: read examples with numbers for labels, then label new ones.

Which number a label has is drawn anew for each stream, so that it must be learnt from the chunks and cannot be known.
An utterance is shown or asked about, in train or in eval, and never in two of these.
"""

from __future__ import annotations

import hashlib
import itertools
import random
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal

from pydantic import Field

from memrl.envs.building.splitting import Split, in_split, share_of
from memrl.envs.building.stage import Read, Stage
from memrl.envs.building.tokens import count_tokens
from memrl.envs.stream import Chunk, Question, Stream

HEAD = "Labelled examples: each a text and the number of its label."
QUESTION = (
    "Which number is the label of this text, going by the labelled examples? Answer with \\boxed{{number}} only.\n"
    "Text: {text}"
)
QUESTION_SHARE = 0.2
"""Share of the training utterances that are asked about and never shown."""


@dataclass(frozen=True)
class Labelled:
    """One labelled utterance."""

    text: str
    label: str
    part: Literal["train", "test"] = "train"
    """The source's own split."""
    group: str | None = None
    """What tells its document from others, where utterances of one document must not be torn apart."""


class _Role(IntEnum):
    """The purpose of an utterance. One that several records have takes the first of theirs."""

    TEST = 0
    EVAL_ASKED = 1
    EVAL_SHOWN = 2
    TRAIN_ASKED = 3
    TRAIN_SHOWN = 4


def _shown_and_asked(split: Split | None, tested: bool) -> tuple[set[_Role], set[_Role]]:
    """Return what a split's streams show and ask about, where there is a test part and where there is none."""
    shown = {_Role.EVAL_SHOWN, _Role.TRAIN_SHOWN}
    asked = {_Role.EVAL_ASKED, _Role.TRAIN_ASKED}
    if split == "train":
        return {_Role.TRAIN_SHOWN}, {_Role.TRAIN_ASKED}
    if split == "eval":
        shown, asked = {_Role.EVAL_SHOWN}, {_Role.EVAL_ASKED}
    return (shown | asked, {_Role.TEST}) if tested else (shown, asked)


class Labelling(Stage):
    """The stage that makes streams of labelled utterances.

    `train`: examples and questions from the source's training part, less what its test part says too. `eval`: the rest
    of the training part as examples, and the test part asked about (where there is none, a share of the rest). An
    utterance counts once, however often it comes; one that the source gives several labels is left out.
    """

    chunk_tokens: int = Field(600, ge=1)
    chunks: int = Field(10, ge=1)
    questions: int = Field(100, ge=1)
    """At most so many a stream, each about a label that the stream has shown."""
    numbers: Literal["drawn", "fixed"] = "drawn"
    """`drawn`: labels are numbered anew for each stream; `fixed`: by their names' order, as the reference does."""

    def one_pass(self, read: Read, source: str, turn: int) -> Iterator[Stream]:
        name = f"{source}-{self.split or 'all'}-{self.seed}-{turn}"
        with closing(_Utterances(name)) as utterances:
            names = utterances.fill(read(), self._role)
            tested = next(utterances.of({_Role.TEST}), None) is not None
            shows, asks = _shown_and_asked(self.split, tested)
            shown = utterances.of(shows)
            pool = _Pool(lambda: utterances.of(asks))
            for number in itertools.count():
                order = list(names)
                if self.numbers == "drawn":
                    random.Random(f"{name}:{number}").shuffle(order)
                numbers = {label: place for place, label in enumerate(order)}
                chunks, shown = self._chunks(shown, numbers)
                complete = len(chunks) == self.chunks
                if chunks and (complete or number == 0):  # what is left over at the end of a pass is no stream
                    questions = self._questions(chunks, numbers, pool)
                    if questions:
                        yield Stream(
                            id=f"{name}-{number:05d}",
                            source=source,
                            chunks=tuple(Chunk(text="\n\n".join([HEAD, *chunk.lines])) for chunk in chunks),
                            questions=questions,
                            metadata={"labels": {str(place): label for label, place in numbers.items()}},
                        )
                if not complete:
                    return

    def _role(self, example: Labelled, said: str) -> _Role:
        if example.part == "test":
            return _Role.TEST
        key = said if example.group is None else example.group
        asked = share_of(f"asked/{key}") < QUESTION_SHARE
        if in_split(key, "eval", self.eval_share):
            return _Role.EVAL_ASKED if asked else _Role.EVAL_SHOWN
        return _Role.TRAIN_ASKED if asked else _Role.TRAIN_SHOWN

    def _chunks(self, shown: Iterator[_Row], numbers: dict[str, int]) -> tuple[list[_Shown], Iterator[_Row]]:
        """The next stream's chunks, and the examples that are left."""
        chunks: list[_Shown] = []
        room = 0
        for text, label in shown:
            line = f"{text}\nlabel: {numbers[label]}"
            size = count_tokens(line) + 1
            if not chunks or size > room:
                if len(chunks) == self.chunks:
                    return chunks, itertools.chain([(text, label)], shown)
                chunks.append(_Shown([], set()))
                room = self.chunk_tokens - count_tokens(HEAD)
            chunks[-1].lines.append(line)
            chunks[-1].labels.add(label)
            room -= size
        return chunks, iter(())

    def _questions(self, chunks: list[_Shown], numbers: dict[str, int], pool: _Pool) -> tuple[Question, ...]:
        labels = set().union(*(chunk.labels for chunk in chunks))
        return tuple(
            Question(
                id=f"q{place}",
                text=QUESTION.format(text=text),
                answers=(str(numbers[label]),),
                metric="boxed",
                kind="classification",
                evidence=tuple(index for index, chunk in enumerate(chunks) if label in chunk.labels),
            )
            for place, (text, label) in enumerate(pool.take(self.questions, labels))
        )


@dataclass(frozen=True)
class _Shown:
    """A chunk to be: its examples with their numbers, and which labels they have."""

    lines: list[str]
    labels: set[str]


_Row = tuple[str, str]
"""Text and label."""


class _Utterances:
    """All utterances of a pass in a seeded order, in flat memory: they wait in a temporary SQLite file."""

    def __init__(self, seed: str) -> None:
        self._seed = seed
        self._file = sqlite3.connect("", isolation_level=None)

    def fill(self, examples: Iterable[Labelled], role: Callable[[Labelled, str], _Role]) -> list[str]:
        """Take all in; returns the names of the labels, sorted."""
        names: set[str] = set()

        def rows() -> Iterator[tuple[bytes, int, str, str]]:
            for example in examples:
                text = " ".join(example.text.split())
                if text:
                    names.add(example.label)
                    said = text.casefold()  # equal for utterances that say the same
                    place = hashlib.blake2b(f"{self._seed}/{said}".encode(), digest_size=16).digest()
                    yield place, role(example, said), example.label, text

        self._file.execute("CREATE TABLE records (place BLOB, role INTEGER, label TEXT, text TEXT)")
        self._file.execute("CREATE TABLE utterances (place BLOB PRIMARY KEY, role, label, text) WITHOUT ROWID")
        self._file.execute("BEGIN")
        self._file.executemany("INSERT INTO records VALUES (?, ?, ?, ?)", rows())
        self._file.execute(
            "INSERT INTO utterances SELECT place, min(role), min(label), min(text) FROM records "
            "GROUP BY place HAVING min(label) = max(label) ORDER BY place"
        )
        self._file.execute("COMMIT")
        self._file.execute("DROP TABLE records")
        return sorted(names)

    def of(self, roles: set[_Role]) -> Iterator[_Row]:
        """Text and label of the utterances that have one of these roles."""
        among = ", ".join(str(int(role)) for role in roles)
        return iter(self._file.execute(f"SELECT text, label FROM utterances WHERE role IN ({among}) ORDER BY place"))

    def close(self) -> None:
        self._file.close()


class _Pool:
    """A pool of utterances to ask about, begun again when it ends."""

    def __init__(self, begin: Callable[[], Iterator[_Row]]) -> None:
        self._begin = begin
        self._rest = begin()

    def take(self, most: int, labels: set[str]) -> list[_Row]:
        """Return up to `most` with one of these labels, no utterance twice."""
        taken: dict[str, _Row] = {}
        for _ in range(2):  # to the end of this turn, and once through the next
            for text, label in self._rest:
                if label in labels:
                    taken.setdefault(text, (text, label))
                if len(taken) == most:
                    return list(taken.values())
            self._rest = self._begin()
        return list(taken.values())
