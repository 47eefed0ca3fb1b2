"""The contents of a set of streams and their faults, counted in one pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from pydantic import BaseModel, ConfigDict

from memrl.envs.building.tokens import count_tokens
from memrl.envs.stream import Question, Stream
from memrl.envs.text import fold, stands_in
from memrl.rewards.metrics import METRICS, SPANS

LONG_CHUNK = 4096
"""Tokens. A longer chunk, with the instruction and the memory before it, fits into few prompts."""
YES_NO = "yes-no"
"""The kind of questions whose answer is yes or no, whatever the text says."""
_EXAMPLES = 5
_SHOWN = 120


class Missing(BaseModel):
    """A question none of whose golds stands in its stream."""

    model_config = ConfigDict(frozen=True)

    stream: str
    question: str
    """Its id."""
    text: str
    answers: tuple[str, ...]


class Quality(BaseModel):
    """Figures about a set of streams."""

    model_config = ConfigDict(frozen=True)

    streams: int
    chunks: int
    questions: int
    tokens: int
    """Of all chunks, by `memrl.envs.building.tokens.count_tokens`."""
    longest_chunk_tokens: int
    answers_found: int
    """Questions one of whose golds stands in a chunk or is its date, whatever the case and spacing."""
    spans: int
    """Questions that a span of the text may answer: no choice, label, summary or abstention, no yes or no."""
    spans_found: int
    """Those of them one of whose golds stands in a chunk or is its date."""
    evidence: int
    """Questions that name the chunks which answer them."""
    answers_in_evidence: int
    """Those of them one of whose golds stands there."""
    evidence_lost: int
    """Questions whose source names evidence that the stream does not hold."""
    kinds: dict[str, int]
    metrics: dict[str, int]
    answers_found_by_metric: dict[str, int]
    unknown_metrics: int
    """Questions whose metric does not exist."""
    repeated_questions: int
    """Questions that their stream asks before, in the same words."""
    repeated_streams: int
    """Streams whose id another stream of their source has."""
    long_chunks: int
    """Chunks of more than `LONG_CHUNK` tokens."""
    wordless_chunks: int
    missing: tuple[Missing, ...]
    """Some of the questions whose gold should stand in the text and does not."""

    @property
    def faults(self) -> list[str]:
        """Return what no set may have, in words."""
        found = (
            ("questions with a metric that does not exist", self.unknown_metrics),
            ("streams with the id of another one", self.repeated_streams),
            ("chunks without a word", self.wordless_chunks),
        )
        return [f"{what}: {count}" for what, count in found if count]


class Meter:
    """Measures streams as they come by."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._kinds: Counter[str] = Counter()
        self._metrics: Counter[str] = Counter()
        self._found: Counter[str] = Counter()
        self._ids: set[int] = set()
        self._missing: list[Missing] = []
        self._longest = 0

    def watch(self, streams: Iterable[Stream]) -> Iterator[Stream]:
        """The streams, measured on their way."""
        for stream in streams:
            self.add(stream)
            yield stream

    def add(self, stream: Stream) -> None:
        """Measure a stream."""
        counts = self._counts
        counts["streams"] += 1
        name = hash((stream.source, stream.id))
        counts["repeated_streams"] += name in self._ids
        self._ids.add(name)
        for chunk in stream.chunks:
            size = count_tokens(chunk.text)
            counts["chunks"] += 1
            counts["tokens"] += size
            counts["long_chunks"] += size > LONG_CHUNK
            counts["wordless_chunks"] += not any(map(str.isalnum, chunk.text))
            self._longest = max(self._longest, size)
        lost = stream.metadata.get("evidence_lost")
        counts["evidence_lost"] += len(lost) if isinstance(lost, list | tuple) else 0
        texts = [fold(f"{chunk.time or ''} {chunk.text}") for chunk in stream.chunks]  # both are shown
        whole = "\0".join(texts)
        asked: set[str] = set()
        for question in stream.questions:
            self._ask(stream, question, texts, whole)
            plain = fold(question.text)
            counts["repeated_questions"] += plain in asked
            asked.add(plain)

    def _ask(self, stream: Stream, question: Question, texts: list[str], whole: str) -> None:
        counts = self._counts
        counts["questions"] += 1
        counts["unknown_metrics"] += question.metric not in METRICS
        self._kinds[question.kind] += 1
        self._metrics[question.metric] += 1
        golds = [fold(answer) for answer in question.answers]
        found = any(stands_in(gold, whole) for gold in golds)
        self._found[question.metric] += found
        if question.metric in SPANS - {"boxed"} and question.kind != YES_NO:
            counts["spans"] += 1
            counts["spans_found"] += found
        if question.evidence is not None:
            counts["evidence"] += 1
            places = [texts[place] for place in question.evidence]
            counts["answers_in_evidence"] += found and any(stands_in(gold, text) for text in places for gold in golds)
        if not found and question.metric in SPANS and len(self._missing) < _EXAMPLES:
            self._missing.append(
                Missing(
                    stream=stream.id,
                    question=question.id,
                    text=question.text[:_SHOWN],
                    answers=tuple(answer[:_SHOWN] for answer in question.answers[:_EXAMPLES]),
                )
            )

    def result(self) -> Quality:
        """The figures so far."""
        names = (
            "streams chunks questions tokens spans spans_found evidence answers_in_evidence evidence_lost "
            "unknown_metrics repeated_questions repeated_streams long_chunks wordless_chunks"
        )
        return Quality(
            **{name: self._counts[name] for name in names.split()},
            longest_chunk_tokens=self._longest,
            answers_found=self._found.total(),
            kinds=dict(sorted(self._kinds.items())),
            metrics=dict(sorted(self._metrics.items())),
            answers_found_by_metric=dict(sorted(self._found.items())),
            missing=tuple(self._missing),
        )


def measure(streams: Iterable[Stream]) -> Quality:
    """The figures of a set of streams, each of which is read once."""
    meter = Meter()
    for stream in streams:
        meter.add(stream)
    return meter.result()
