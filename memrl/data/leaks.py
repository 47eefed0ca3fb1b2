"""A search for what stands in training already and is evaluated: documents, chunks, passages, questions.

The evaluation is indexed by hashes, then training is read once, however long it is. What is found is counted for each
pair of a training source and an evaluation source, and judged:

- documents: one that both sides name by source and key. Always a leak.
- chunks: the same words, or nearly (Jaccard similarity of their runs of three words, estimated by MinHash). A leak
  from `LONG_CHUNK` words on; what is shorter is judged by its passages.
- passages: sentences and lines. They are found however chunks are packed, utterances labelled and documents called. A
  leak where many do: a common sentence stands in any two books, and utterances to a bank recur (4 % of BANKING77's test
  utterances are among its training ones).
- questions: a leak only if asked of the same text with an equal answer: "What is the plot?" may be asked of any story.

Text that a source says is filler (`metadata["filler"]`, chunks that nothing is asked about) is not looked at. A passage
that stands in several chunks of both sides, each time among other words, is a template or a phrase, no text of one of
them that the other has.

Streams that are written from templates say the same sentences by chance, as they must. Between two such sources a
document is a leak, and a stream half of whose chunks stand in training word for word; the rest is expected.
"""

from __future__ import annotations

import zlib
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from memrl.data.passages import asked_passages, labels_text, passages
from memrl.envs.sources import SOURCES
from memrl.envs.stream import Chunk, Stream
from memrl.envs.text import length, words

if TYPE_CHECKING:
    from datasketch import MinHash, MinHashLSH

_Key = TypeVar("_Key")
Kind = Literal["document", "chunk", "passage", "question"]

SHORTEST_NEAR = 20
"""Words (two characters of a script without blanks are one). Shorter chunks are compared word for word only."""
LONG_CHUNK = 40
"""Words. So much text does not recur by chance."""
REFRAIN = 3
"""A passage that a stream repeats so often is a frame around its texts, not one of them."""
RECURRING = 3
"""A passage that stands in so many different chunks of a side recurs there."""
FEWEST_PASSAGES = 3
"""Fewer passages of a stream found in training are chance, however short the stream."""
_SHINGLE = 3
_PERMUTATIONS = 128
_MIXER = 0x9E3779B97F4A7C15
_KEPT_TEXTS = 1000
_SHOWN = 160
_EXAMPLES = 3


class Thresholds(BaseModel):
    """The bounds from which on an overlap is a leak."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    similarity: float = Field(0.7, gt=0, le=1)
    """Jaccard similarity from which on two chunks are nearly the same."""
    passages: float = Field(0.1, gt=0, le=1)
    """Share of an evaluation source's passages that may stand in training; of one stream's, twice as many."""


class OverlapExample(BaseModel):
    """One thing that both sides have."""

    model_config = ConfigDict(frozen=True)

    what: Kind
    train: str
    """A training stream's id."""
    evaluation: str
    """An evaluation stream's id."""
    text: str
    similarity: float = 1.0


class Pair(BaseModel):
    """The overlap of one evaluation source with one training source."""

    model_config = ConfigDict(frozen=True)

    train: str
    evaluation: str
    templates: bool
    """Both are generated from templates."""
    streams: int
    """Evaluation streams of the source."""
    leaking: int
    """Those of them that a leak was found in."""
    leaks: tuple[Kind, ...]
    """What leaks, in this order of gravity."""
    documents: int
    """Documents that both have."""
    chunks: int
    equal_chunks: int
    """Evaluation chunks that stand in training word for word."""
    near_chunks: int
    """Evaluation chunks that stand there nearly so."""
    passages: int
    seen_passages: int
    """Evaluation passages that stand in training."""
    worst_passages: float
    """Largest share of one evaluation stream's passages that do."""
    questions: int
    repeated_questions: int
    """Evaluation questions that training asks of the same text with an equal answer."""
    same_questions: int
    """Evaluation questions that training asks, in the same words, of other texts."""
    examples: tuple[OverlapExample, ...]

    @property
    def share(self) -> float:
        """Share of the evaluation streams that leak."""
        return self.leaking / self.streams

    def line(self) -> str:
        """Return it in words."""
        found = [
            _some(self.documents, "document"),
            _some(self.equal_chunks, "chunk", " word for word"),
            _some(self.near_chunks, "chunk", " nearly so" if self.equal_chunks else " nearly word for word"),
            f"{self.seen_passages / self.passages:.1%} of the passages" if self.seen_passages else "",
            _some(self.repeated_questions, "question", " with the answer"),
            _some(self.same_questions, "question", " of other texts in the same words"),
        ]
        where = f"{self.leaking} of {self.streams} streams affected: " if self.leaks else ""
        return f"{self.evaluation}, trained on {self.train}: {where}{', '.join(filter(None, found))}"


class Overlap(BaseModel):
    """The overlap of evaluation streams with training streams."""

    model_config = ConfigDict(frozen=True)

    limits: Thresholds
    train: dict[str, int]
    """Streams compared, by source."""
    evaluation: dict[str, int]
    pairs: tuple[Pair, ...]
    """Those that share anything; what leaks most first."""

    @property
    def leaks(self) -> tuple[Pair, ...]:
        """Pairs whose evaluation would measure what was trained on."""
        return tuple(pair for pair in self.pairs if pair.leaks)

    @property
    def notes(self) -> tuple[Pair, ...]:
        """Pairs that share no more than such texts do."""
        return tuple(pair for pair in self.pairs if not pair.leaks)


def from_templates(source: str) -> bool:
    """Return whether a source's streams repeat a small stock of sentences: it or its publisher writes them so, or the
    same people go on talking."""
    if source not in SOURCES:
        return False
    known = SOURCES[source]
    return known.recurring or known.tried == "generated" or known.kind in {"synthetic", "code"}


def find_overlap(train: Iterable[Stream], evaluation: Iterable[Stream], limits: Thresholds | None = None) -> Overlap:
    """Compare training streams with evaluation streams; each is read once, the evaluation first."""
    index = _Index(limits or Thresholds())
    for stream in evaluation:
        index.add(stream)
    for stream in train:
        index.meet(stream)
    return index.report()


@dataclass
class _HeldOut:
    """The traces that are kept of an evaluation stream."""

    id: str
    source: str
    chunks: int
    questions: int
    passages: array[int]


@dataclass
class _Met:
    """The share that a training source has of the evaluation: numbers of its streams and chunks, hashes of its
    passages."""

    streams: int = 0
    documents: dict[str, tuple[str, set[int]]] = field(default_factory=dict)
    chunks: dict[int, float] = field(default_factory=dict)
    passages: dict[int, tuple[int, ...]] = field(default_factory=dict)
    """Of each, hashes of chunks and questions that it stands in, up to `RECURRING`."""
    candidates: list[tuple[int, str, frozenset[int], frozenset[int]]] = field(default_factory=list)
    """Evaluation questions that a training stream asks too, with an equal answer, and the long chunks and the passages
    that it shares."""
    repeated: set[tuple[int, str]] = field(default_factory=set)
    same: set[tuple[int, str]] = field(default_factory=set)
    chunk_texts: dict[int, tuple[str, str]] = field(default_factory=dict)
    passage_texts: dict[int, tuple[str, str]] = field(default_factory=dict)
    question_texts: dict[tuple[int, str], tuple[str, str]] = field(default_factory=dict)


class _Index:
    """The evaluation, and what training has of it so far."""

    def __init__(self, limits: Thresholds) -> None:
        self._limits = limits
        self._streams: list[_HeldOut] = []
        self._documents: defaultdict[int, list[int]] = defaultdict(list)
        self._chunks: list[tuple[int, int]] = []  # (stream, words)
        self._said: dict[int, array[int]] = {}  # the passages of a long chunk, by the chunk's number
        self._equal: defaultdict[int, list[int]] = defaultdict(list)
        self._signatures: dict[int, MinHash] = {}
        self._near: MinHashLSH | None = None
        self._passages: dict[tuple[str, int], tuple[int, ...]] = {}
        """Of each source's passage, hashes of chunks and questions that it stands in, up to `RECURRING`."""
        self._held: set[int] = set()
        self._questions: defaultdict[int, list[tuple[int, str, frozenset[int]]]] = defaultdict(list)
        self._met: defaultdict[str, _Met] = defaultdict(_Met)

    def add(self, stream: Stream) -> None:
        """Index an evaluation stream."""
        number = len(self._streams)
        templates = from_templates(stream.source)
        counts: Counter[int] = Counter()
        chunks = _asked_about(stream)
        for chunk in chunks:
            said = words(chunk.text)
            text = hash(tuple(said))
            if text not in self._equal and not templates and length(said) >= SHORTEST_NEAR:
                self._index_near(text, _signature(said))
            found = {hash(passage) for passage in passages(chunk.text)}
            self._equal[text].append(len(self._chunks))
            if length(said) >= LONG_CHUNK:
                self._said[len(self._chunks)] = array("q", found)
            self._chunks.append((number, length(said)))
            counts.update(found)
            self._note(stream.source, found, text)
        for question in stream.questions:
            found = {hash(passage) for passage in asked_passages(question)}
            counts.update(found)
            self._note(stream.source, found, _hash_text(question.text))
            answers = frozenset(_hash_text(answer) for answer in question.answers)
            self._questions[_hash_text(question.text)].append((number, question.id, answers))
        for key in _documents(stream):
            self._documents[hash((stream.source, key))].append(number)
        own = array("q", (passage for passage, count in counts.items() if count < REFRAIN))
        self._held.update(own)
        self._streams.append(_HeldOut(stream.id, stream.source, len(chunks), len(stream.questions), own))

    def _note(self, source: str, found: set[int], where: int) -> None:
        for passage in found:
            _add(self._passages, (source, passage), where)

    def _index_near(self, text: int, signature: MinHash) -> None:
        if self._near is None:
            from datasketch import MinHashLSH

            # To miss few: what is not near after all is told by the signatures.
            self._near = MinHashLSH(self._limits.similarity, _PERMUTATIONS, weights=(0.1, 0.9))
        self._near.insert(text, signature)
        self._signatures[text] = signature

    def meet(self, stream: Stream) -> None:
        """Note what a training stream has of the evaluation."""
        met = self._met[stream.source]
        met.streams += 1
        named: set[int] = set()
        touched: defaultdict[int, set[int]] = defaultdict(set)
        for key in _documents(stream):
            if owners := self._documents.get(hash((stream.source, key))):
                met.documents.setdefault(key, (stream.id, set()))[1].update(owners)
                named.update(owners)
        chunks = _asked_about(stream)
        for chunk in chunks:
            for number, similarity in self._alike(words(chunk.text), from_templates(stream.source)):
                owner, size = self._chunks[number]
                if size >= LONG_CHUNK:
                    touched[owner].add(number)
                if similarity > met.chunks.get(number, 0.0):
                    met.chunks[number] = similarity
                    if len(met.chunk_texts) < _KEPT_TEXTS:
                        met.chunk_texts[number] = (stream.id, chunk.text[:_SHOWN])
        said = chain(
            ((chunk.text, passages(chunk.text)) for chunk in chunks),
            ((asked.text, asked_passages(asked)) for asked in stream.questions if labels_text(asked)),
        )
        hits: set[int] = set()
        for text, texts in said:
            for passage in texts:
                found = hash(passage)
                if found in self._held:
                    hits.add(found)
                    _add(met.passages, found, hash(text))
                    if found not in met.passage_texts and len(met.passage_texts) < _KEPT_TEXTS:
                        met.passage_texts[found] = (stream.id, passage[:_SHOWN])
        shared = frozenset(hits)
        for question in stream.questions:
            for owner, name, answers in self._questions.get(_hash_text(question.text), ()):
                equal = any(_hash_text(answer) in answers for answer in question.answers)
                may_be = equal and not labels_text(question)
                of_same_text = may_be and owner in named
                if may_be and not of_same_text and (owner in touched or self._shares(owner, shared)):
                    met.candidates.append((owner, name, frozenset(touched.get(owner, ())), shared))
                (met.repeated if of_same_text else met.same).add((owner, name))
                if may_be and len(met.question_texts) < _KEPT_TEXTS:
                    met.question_texts[owner, name] = (stream.id, question.text[:_SHOWN])

    def _alike(self, said: list[str], templates: bool) -> Iterator[tuple[int, float]]:
        """Evaluation chunks that say the same, with their similarity."""
        text = hash(tuple(said))
        if text in self._equal:
            yield from ((number, 1.0) for number in self._equal[text])
            return
        if self._near is None or templates or length(said) < SHORTEST_NEAR:
            return
        signature = _signature(said)
        for other in self._near.query(signature):
            similarity = signature.jaccard(self._signatures[other])
            if similarity >= self._limits.similarity:
                yield from ((number, similarity) for number in self._equal[other])

    def _shares(self, owner: int, hits: Collection[int]) -> bool:
        """Return whether an evaluation stream has more of these passages than chance gives."""
        own = self._streams[owner].passages
        return self._many(sum(passage in hits for passage in own) if hits else 0, len(own))

    def _many(self, found: int, among: int, times: int = 1) -> bool:
        return found >= FEWEST_PASSAGES and found > times * self._limits.passages * among

    def report(self) -> Overlap:
        """The findings of a check."""
        held_out: defaultdict[str, list[int]] = defaultdict(list)
        for number, stream in enumerate(self._streams):
            held_out[stream.source].append(number)
        pairs = [
            pair
            for train, met in self._met.items()
            for evaluation, numbers in held_out.items()
            if (pair := self._pair(train, met, evaluation, numbers)) is not None
        ]
        return Overlap(
            limits=self._limits,
            train={source: met.streams for source, met in self._met.items()},
            evaluation={source: len(numbers) for source, numbers in held_out.items()},
            pairs=tuple(sorted(pairs, key=lambda pair: (-pair.share, -pair.worst_passages, pair.evaluation))),
        )

    def _pair(self, train: str, met: _Met, evaluation: str, numbers: list[int]) -> Pair | None:
        mine = set(numbers)
        templates = from_templates(train) and from_templates(evaluation)
        documents = {key: found for key, found in met.documents.items() if found[1] & mine}
        chunks = {number: like for number, like in met.chunks.items() if self._chunks[number][0] in mine}
        recurring = self._recurring(met, evaluation, len(numbers))
        telling = met.passages.keys() - recurring
        long = {number: self._said[number] for number in chunks if number in self._said}
        telling_chunks = {number for number, said in long.items() if not said or not recurring.issuperset(said)}
        found = {n: [passage for passage in self._streams[n].passages if passage in telling] for n in numbers}
        seen = Counter({number: len(passages) for number, passages in found.items()})
        held = sum(len(self._streams[number].passages) for number in numbers)
        shares = {number: seen[number] / max(len(self._streams[number].passages), 1) for number in numbers}
        repeated = {asked for asked in met.repeated if asked[0] in mine}
        repeated |= {
            (owner, name)
            for owner, name, alike, shared in met.candidates
            if owner in mine and (alike & telling_chunks or self._shares(owner, shared - recurring))
        }
        same = {asked for asked in met.same if asked[0] in mine} - repeated
        if not (documents or chunks or seen.total() or repeated or same):
            return None
        leaking: dict[Kind, set[int]] = {"document": mine & {n for _, owners in documents.values() for n in owners}}
        if templates:
            leaking["chunk"] = set(self._copied(chunks))
        else:
            leaking["chunk"] = {self._chunks[number][0] for number in telling_chunks}
            leaking["chunk"] |= set(self._copied(number for number in long if chunks[number] == 1.0))
            times = 1 if self._many(seen.total(), held) else 2
            leaking["passage"] = {n for n in numbers if self._many(seen[n], len(self._streams[n].passages), times)}
            leaking["question"] = {stream for stream, _ in repeated}
        return Pair(
            train=train,
            evaluation=evaluation,
            templates=templates,
            streams=len(numbers),
            leaking=len(set().union(*leaking.values())),
            leaks=tuple(kind for kind, streams in leaking.items() if streams),
            documents=len(documents),
            chunks=sum(self._streams[number].chunks for number in numbers),
            equal_chunks=sum(like == 1.0 for like in chunks.values()),
            near_chunks=sum(like < 1.0 for like in chunks.values()),
            passages=held,
            seen_passages=seen.total(),
            worst_passages=max(shares.values()),
            questions=sum(self._streams[number].questions for number in numbers),
            repeated_questions=len(repeated),
            same_questions=len(same),
            examples=tuple(self._examples(met, mine, documents, chunks, found, repeated)),
        )

    def _recurring(self, met: _Met, evaluation: str, streams: int) -> set[int]:
        """The passages that recur on both sides; in an evaluation of too few streams, on the training side."""
        return {
            passage
            for passage, places in met.passages.items()
            if len(places) >= RECURRING
            and (streams < RECURRING or len(self._passages.get((evaluation, passage), ())) >= RECURRING)
        }

    def _copied(self, chunks: Iterable[int]) -> Iterator[int]:
        """Streams half of whose chunks are among these, and more than a sentence with them."""
        sizes: defaultdict[int, list[int]] = defaultdict(list)
        for number in chunks:
            stream, size = self._chunks[number]
            sizes[stream].append(size)
        for stream, copied in sizes.items():
            if len(copied) >= self._streams[stream].chunks / 2 and sum(copied) >= SHORTEST_NEAR:
                yield stream

    def _examples(
        self,
        met: _Met,
        mine: set[int],
        documents: dict[str, tuple[str, set[int]]],
        chunks: dict[int, float],
        found: dict[int, list[int]],
        repeated: set[tuple[int, str]],
    ) -> Iterator[OverlapExample]:
        def example(what: Kind, said: tuple[str, str], number: int, **more: Any) -> OverlapExample:
            return OverlapExample(what=what, train=said[0], text=said[1], evaluation=self._streams[number].id, **more)

        for key, (train, owners) in list(documents.items())[:_EXAMPLES]:
            yield example("document", (train, key), min(owners & mine))
        for chunk, like in sorted(chunks.items(), key=lambda item: -item[1])[:_EXAMPLES]:
            if chunk in met.chunk_texts:
                yield example("chunk", met.chunk_texts[chunk], self._chunks[chunk][0], similarity=round(like, 2))
        owner = {passage: number for number, passages in found.items() for passage in passages}
        known = [passage for passage in met.passage_texts if passage in owner]
        for passage in sorted(known, key=lambda passage: -len(met.passage_texts[passage][1]))[:_EXAMPLES]:
            yield example("passage", met.passage_texts[passage], owner[passage])
        for asked in sorted(repeated & met.question_texts.keys())[:_EXAMPLES]:
            yield example("question", met.question_texts[asked], asked[0])


def _asked_about(stream: Stream) -> list[Chunk]:
    """Return the chunks of a stream but what its source says is filler."""
    filler = stream.metadata.get("filler")
    left_out = set(filler) if isinstance(filler, list | tuple) else set()
    return [chunk for place, chunk in enumerate(stream.chunks) if place not in left_out]


def _add(known: dict[_Key, tuple[int, ...]], passage: _Key, place: int) -> None:
    """Note where a passage stands, up to `RECURRING` places; tuples, since most stand in one and there are many."""
    places = known.get(passage, ())
    if len(places) < RECURRING and place not in places:
        known[passage] = (*places, place)


def _documents(stream: Stream) -> list[str]:
    """Return what a stream calls its documents; nothing where its source does not say."""
    named = stream.metadata.get("documents")
    return [str(key) for key in named] if isinstance(named, list | tuple) else []


def _hash_text(text: str) -> int:
    return hash(tuple(words(text)))


@lru_cache(100_000)
def _number(word: str) -> int:
    return zlib.crc32(word.encode())


def _signature(said: list[str]) -> MinHash:
    """The MinHash of a text's runs of three words: from checksums, so that it is the same in every process."""
    import numpy as np

    numbers = np.array([_number(word) for word in said], dtype=np.uint64)
    runs = len(said) - _SHINGLE + 1
    mixed = np.zeros(runs, dtype=np.uint64)
    for place in range(_SHINGLE):
        mixed = mixed * np.uint64(_MIXER) + numbers[place : place + runs]  # wraps around, as is meant
    signature = _empty_signature().copy()
    signature.update_batch((mixed >> np.uint64(32)).tolist())
    return signature


@lru_cache(1)
def _empty_signature() -> MinHash:
    from datasketch import MinHash

    return MinHash(_PERMUTATIONS, hashfunc=int)


def _some(count: int, what: str, more: str = "") -> str:
    return f"{count} {what}{'s' if count > 1 else ''}{more}" if count else ""
