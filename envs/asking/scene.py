"""A text that is asked about, and a question that could be asked: what all kinds of questions share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from memrl.envs.asking.passages import ROLES, SentenceIndex, Statement, content, passages, speakers
from memrl.envs.asking.spans import Span, known_names, spans
from memrl.envs.building.splitting import share_of
from memrl.envs.stream import Chunk

GAP = "____"


@dataclass(frozen=True)
class DraftQuestion:
    """A question that could be asked."""

    text: str
    answers: tuple[str, ...]
    chunks: tuple[int, ...]
    """0-based indices of the chunks that hold the answer."""
    quotes: tuple[str, ...]
    """What the answer stands in, word for word."""
    subject: frozenset[str]
    """Terms of what it is about, by which one that asks the same again is known."""
    worth: float
    """The higher, the sooner it is asked; of one kind alone."""
    metric: str = "token_f1"


class Scene:
    """The sentences of a text, with the names, numbers and dates in them.

    Args:
        chunks: the text.
        who: who speaks in it; None: it is told from the text.
        skipped: chunks that nothing is asked about.
        name: by which lots are drawn, beside `seed`.
    """

    def __init__(
        self,
        chunks: Sequence[Chunk],
        name: str,
        seed: int,
        who: frozenset[str] | None = None,
        skipped: frozenset[int] = frozenset(),
    ) -> None:
        self.chunks = chunks
        self._lot = f"{seed}/{name}"
        self.speakers = speakers(chunks) if who is None else who
        self.passages = passages(chunks, self.speakers, skipped)
        self.index = SentenceIndex(self.passages)
        self._about: dict[tuple[int, int, int], frozenset[str]] = {}
        self.people = sorted(name for name in self.speakers if name.casefold() not in ROLES)
        self._known = known_names(passage.text for passage in self.passages)

    def lot(self, what: str) -> float:
        """Return a number in [0, 1) for something, the same in every run of one seed."""
        return share_of(f"{self._lot}/{what}")

    @cached_property
    def spans(self) -> dict[int, list[Span]]:
        """The spans of each sentence, by the sentence's number."""
        return {passage.number: spans(passage.text, self._known) for passage in self.passages}

    @cached_property
    def mentions(self) -> Counter[str]:
        """Counts of the sentences that each span stands in, by its text in small letters."""
        return Counter(text for found in self.spans.values() for text in {span.text.casefold() for span in found})

    @cached_property
    def usual(self) -> frozenset[str]:
        """The commonest spans of each kind, three in a document and one in a talk: what a guess without any memory
        would be."""
        counts: dict[str, Counter[str]] = {}
        for found in self.spans.values():
            for span in found:
                counts.setdefault(span.kind, Counter())[span.text.casefold()] += 1
        most = 1 if self.speakers else 3
        return frozenset(text for count in counts.values() for text, times in count.most_common(most) if times > 2)

    def about(self, passage: Statement, span: Span) -> frozenset[str]:
        """Return the terms of a sentence without those of a span in it."""
        key = (passage.number, span.start, span.end)
        if key not in self._about:
            self._about[key] = content(passage.text[: span.start] + " " + passage.text[span.end :])
        return self._about[key]

    def rarity(self, terms: frozenset[str]) -> float:
        """Return how telling terms are: the sum of one over the sentences that each stands in, at most five."""
        return min(sum(1 / max(self.index.count(term), 1) for term in terms), 5.0)


def gapped(passage: Statement, span: Span) -> str:
    """Return a sentence with a gap for a span."""
    return f"{passage.text[: span.start]}{GAP}{passage.text[span.end :]}"


def said_by(passage: Statement) -> str:
    """Return who says a sentence, as a question puts it; empty for a document."""
    if passage.speaker is None:
        return ""
    name = passage.speaker
    return f"the {name.casefold()}" if name.casefold() in ROLES else name
