"""Documents with their questions, packed into streams.

A document is what must not be torn between train and eval: an article, a conversation, a question with its paragraphs.
A source's reader says what is in it; cutting, packing, evidence, sampling and splits happen here.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from typing import Any

from pydantic import Field, ValidationError

from memrl.envs.building.chunking import Piece, Unit, cut
from memrl.envs.building.left_out import leave_out
from memrl.envs.building.shuffling import shuffled
from memrl.envs.building.splitting import in_split, share_of
from memrl.envs.building.stage import Read, Stage
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question, Stream, explain

FIRST_DAY = date(2024, 1, 1)


@dataclass(frozen=True)
class DocumentQuestion:
    """A question about a document."""

    id: str
    """Unique in its source."""
    text: str
    answers: tuple[str, ...]
    metric: str
    evidence: tuple[str, ...] | None = None
    """Keys of the units that hold the answer; None where the source does not say."""
    kind: str = "fact"


@dataclass(frozen=True)
class Document:
    """A document of a source. `key` says what it is, and so which split it belongs to."""

    key: str
    units: tuple[Unit, ...]
    asks: tuple[DocumentQuestion, ...]
    metadata: dict[str, Any] = field(default_factory=dict)
    """Kept where the document is a stream of its own."""
    number: int = 0
    """How many documents of this key come before it in its source."""

    @property
    def name(self) -> str:
        """Return what tells it from every other document of its source."""
        return f"{self.key}~{self.number + 1}" if self.number else self.key


def thinned(units: Iterable[Unit], evidence: Collection[str], distractors: int | None, name: str) -> tuple[Unit, ...]:
    """The units that are evidence and so many of the others, in their order.

    Args:
        evidence: keys of the units to keep.
        distractors: how many others; None: all.
        name: the item's identity, by which they are chosen, whatever their order.
    """
    units = tuple(units)
    others = [unit for unit in units if not set(unit.keys) & set(evidence)]
    if distractors is None or len(others) <= distractors:
        return units
    dropped = sorted(others, key=lambda unit: share_of(f"{name}/{unit.text}"))[distractors:]
    return tuple(unit for unit in units if unit not in dropped)


class Packing(Stage):
    """The stage that makes streams of documents."""

    chunks: int | None = Field(None, ge=1)
    """Chunks of a stream. None: each document is a stream of its own, however long."""
    questions: int | None = Field(None, ge=1)
    """At most so many a stream, drawn by the seed, asked in the source's order; None: all."""
    together: bool = False
    """Never spread a document over two streams: its questions need all of it. Streams may differ in length then."""
    mix: bool = False
    """Shuffle the units of a stream's documents among each other: for documents that are loose collections of texts."""
    dated: bool = False
    """Give chunks without a date one day each, from 2024-01-01 on."""
    longest: int | None = Field(None, ge=1)
    """A turn or a sentence of more estimated tokens than this is cut, at blanks; None: each stays whole."""

    def one_pass(self, read: Read, source: str, turn: int) -> Iterator[Stream]:
        seed = f"{source}:{self.seed}:{turn}"
        rng = random.Random(seed)
        chosen = (document for document in _apart(read()) if in_split(document.key, self.split, self.eval_share))
        counts: Counter[str] = Counter()
        documents = _counted(shuffled(chosen, seed), counts)
        if self.chunks is None:
            again = f"-{turn}" if turn else ""
            for document in documents:
                part = _Part(document, self._cut(document.units))
                yield from self._stream(source, f"{source}-{document.name}{again}", [part], rng, counts)
        else:
            name = f"{source}-{self.split or 'all'}-{self.seed}-{turn}"
            pack = self._mixtures(documents, rng, counts) if self.mix else self._windows(documents, counts)
            for number, window in enumerate(pack):
                yield from self._stream(source, f"{name}-{number:05d}", window, rng, counts)
        if turn == 0:
            kept = self.split or "all"
            leave_out(f"over questions={self.questions} of their stream", kept, counts["over"])
            leave_out("in what is left over at the end, less than half a stream", kept, counts["rest"])
            unplaced = counts["read"] - counts["placed"] - counts["rest"]
            leave_out("whose evidence no one stream holds", kept, unplaced)

    def _cut(self, units: Iterable[Unit]) -> list[Piece]:
        return cut(units, self.chunk_tokens, longest=self.longest)

    def _windows(self, documents: Iterable[Document], counts: Counter[str]) -> Iterator[list[_Part]]:
        """Documents one after the other. What is left over at the end counts if half a stream, or all there is."""
        chunks = self.chunks or 1
        window: list[_Part] = []
        room, given = chunks, 0
        for document in documents:
            pieces = self._cut(document.units)
            if self.together and window and len(pieces) > room:
                yield window
                window, room, given = [], chunks, given + 1
            start = 0
            while start < len(pieces):
                end = len(pieces) if self.together else start + room
                beyond = {key for piece in (*pieces[:start], *pieces[end:]) for key in piece.keys}
                window.append(_Part(document, pieces[start:end], frozenset(beyond), whole=end - start >= len(pieces)))
                room -= len(pieces[start:end])
                start = end
                if room <= 0:
                    yield window
                    window, room, given = [], chunks, given + 1
        if window and (not given or room <= chunks / 2):
            yield window
        else:
            counts["rest"] += sum(len(list(part.ask(0))) for part in window)

    def _mixtures(
        self, documents: Iterable[Document], rng: random.Random, counts: Counter[str]
    ) -> Iterator[list[_Part]]:
        """Yield mixtures of as many documents as fill a stream, units shuffled; a text that several have comes once."""
        chunks = self.chunks or 1
        held: list[Document] = []
        given = 0
        for document in documents:
            if held and len(self._cut(_joined([*held, document]))) > chunks:
                yield [self._mixture(held, rng)]
                held, given = [], given + 1
            held.append(document)
        if held and (not given or len(self._cut(_joined(held))) >= chunks / 2):
            yield [self._mixture(held, rng)]
        else:
            counts["rest"] += sum(len(document.asks) for document in held)

    def _mixture(self, documents: list[Document], rng: random.Random) -> _Part:
        units = _joined(documents)
        rng.shuffle(units)
        asks = tuple(
            replace(ask, evidence=ask.evidence and tuple(f"{document.key}/{key}" for key in ask.evidence))
            for document in documents
            for ask in document.asks
        )
        mixed = Document(documents[0].key, tuple(units), asks)
        return _Part(mixed, self._cut(units), members=tuple(document.key for document in documents))

    def _stream(
        self, source: str, name: str, parts: list[_Part], rng: random.Random, counts: Counter[str]
    ) -> Iterator[Stream]:
        """The stream of some parts; none where nothing can be asked of it."""
        asked: list[tuple[Question, bool]] = []
        pieces: list[Piece] = []
        for part in parts:
            asked += part.ask(len(pieces))
            pieces += part.pieces
        counts["placed"] += len(asked)
        if self.questions is not None and len(asked) > self.questions:
            counts["over"] += len(asked) - self.questions
            asked = [asked[place] for place in sorted(rng.sample(range(len(asked)), self.questions))]
        if not asked:
            return
        metadata: dict[str, Any] = {} if self.chunks is not None else dict(parts[0].document.metadata)
        metadata["documents"] = [key for part in parts for key in part.names]
        if filler := [index for index, piece in enumerate(pieces) if piece.filler]:
            metadata["filler"] = filler
        if any(piece.points for piece in pieces):
            metadata["memory_points"] = [piece.points for piece in pieces]
        if lost := [question.id for question, lost in asked if lost]:
            metadata["evidence_lost"] = lost
        try:
            yield Stream(
                id=name,
                source=source,
                chunks=tuple(
                    Chunk(text=piece.text, time=piece.time or (_day(index) if self.dated else None))
                    for index, piece in enumerate(pieces)
                ),
                questions=tuple(question for question, _ in asked),
                metadata=metadata,
            )
        except ValidationError as error:
            documents = ", ".join(metadata["documents"][:5])
            raise DataError(f"source {source!r}, documents {documents}: {explain(error)}. Mend the file.") from error


@dataclass(frozen=True)
class _Part:
    """The part of a stream that comes from one document (or from several that were mixed)."""

    document: Document
    pieces: list[Piece]
    beyond: frozenset[str] = frozenset()
    """Keys of units that lie, wholly or partly, outside this part."""
    whole: bool = True
    members: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return self.members or (self.document.key,)

    def ask(self, first: int) -> Iterator[tuple[Question, bool]]:
        """The questions that this part can answer, and whether the evidence that the source names is nowhere in it.

        Args:
            first: which chunk of the stream the part begins with.
        """
        held: dict[str, list[int]] = {}
        for place, piece in enumerate(self.pieces):
            for key in piece.keys:
                held.setdefault(key, []).append(place)
        for ask in self.document.asks:
            named = [key for key in ask.evidence or () if key in held or key in self.beyond]
            places = [self._places(held.get(key, []), key, ask) for key in named]
            if not all(places) or not (named or self.whole):
                continue
            evidence = tuple(sorted({first + place for some in places for place in some})) or None
            try:
                question = Question(
                    id=ask.id,
                    text=ask.text.strip(),
                    answers=ask.answers,
                    metric=ask.metric,
                    kind=ask.kind,
                    evidence=evidence,
                )
            except ValidationError as error:
                raise DataError(f"document {self.document.key!r}: {explain(error)}. Mend the file.") from error
            yield question, bool(ask.evidence) and evidence is None

    def _places(self, having: list[int], key: str, ask: DocumentQuestion) -> list[int]:
        """Return which of the chunks that have some of a unit hold the answer; none where that part of it lies
        beyond."""
        if len(having) < 2 and key not in self.beyond:
            return having
        golds = [answer.casefold() for answer in ask.answers]
        telling = [place for place in having if any(gold in self.pieces[place].text.casefold() for gold in golds)]
        return telling or ([] if key in self.beyond else having)


def _apart(documents: Iterable[Document]) -> Iterator[Document]:
    """Documents, those that share a key numbered, and their questions where these share an id as well: one key, so that
    they are of one split, and no two streams of one name."""
    keys: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for document in documents:
        number = keys[document.key]
        keys[document.key] += 1
        asks = tuple(
            replace(ask, id=f"{ask.id}~{asked[ask.id] + 1}") if asked[ask.id] else ask for ask in document.asks
        )
        asked.update({ask.id for ask in document.asks})
        yield replace(document, number=number, asks=asks) if number else document


def _counted(documents: Iterable[Document], counts: Counter[str]) -> Iterator[Document]:
    """Documents, and their questions counted."""
    for document in documents:
        counts["read"] += len(document.asks)
        yield document


def _joined(documents: list[Document]) -> list[Unit]:
    """The units of several documents, each text once, keys told apart by document."""
    units: dict[str, Unit] = {}
    for document in documents:
        for unit in document.units:
            keys = tuple(f"{document.key}/{key}" for key in unit.keys)
            before = units[unit.text].keys if unit.text in units else ()
            units[unit.text] = replace(unit, keys=before + keys)
    return list(units.values())


def _day(index: int) -> str:
    return (FIRST_DAY + timedelta(days=index)).isoformat()
