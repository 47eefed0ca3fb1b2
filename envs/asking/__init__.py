"""Questions written from a text alone, without a model: gaps, values that change, order, who said what.

Each kind is a function from a scene to candidates; what is asked is chosen here: the kinds in turn, over all chunks,
nothing twice. The same text and seed give the same questions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

from memrl.envs.asking.changes import changes
from memrl.envs.asking.cloze import gaps, things
from memrl.envs.asking.dating import days
from memrl.envs.asking.quoting import quotes
from memrl.envs.asking.scene import DraftQuestion, Scene
from memrl.envs.asking.sequence import orders
from memrl.envs.errors import DataError
from memrl.envs.stream import Chunk, Question
from memrl.envs.suggest import did_you_mean
from memrl.envs.text import fold

QUOTES = "quotes"
"""Key of a stream's metadata: of each question by its id, what its answer stands in, word for word."""
SPEAKERS = "speakers"
"""Key of a stream's metadata: who speaks in it, where its source says."""
KINDS: dict[str, Callable[[Scene], Iterable[DraftQuestion]]] = {
    "gap-name": partial(gaps, kind="name"),
    "gap-number": partial(gaps, kind="number"),
    "gap-date": partial(gaps, kind="date"),
    "gap-thing": things,
    "change": changes,
    "order": orders,
    "who-said": quotes,
    "when-said": days,
}
"""The kinds of questions that can be written, by the name that results bear."""
REPEATING = ("who-said", "when-said")
"""Kinds of which several questions have one answer: there are few speakers, and few days."""
MOST = {"gap-thing": 0.3, "order": 0.2, "when-said": 0.3}
"""The share of the questions that a kind may have at most, of kinds that nearly every sentence is good for."""
SAME = 0.5
"""Two questions that have so much of what they are about in common ask the same."""


@dataclass(frozen=True)
class Asked:
    """A question, and what its answer stands in, word for word."""

    question: Question
    quotes: tuple[str, ...]


def ask_chunks(
    chunks: Sequence[Chunk],
    name: str,
    count: int,
    *,
    seed: int = 0,
    kinds: Sequence[str] | None = None,
    who: Iterable[str] | None = None,
    skipped: Iterable[int] = (),
) -> list[Asked]:
    """Questions on a text, in the order in which their evidence is read; fewer than `count` where it gives no more.

    Args:
        name: begins the questions' ids, and is, with `seed`, what lots are drawn by.
        kinds: names in `KINDS`; None: all.
        who: who speaks; None: it is told from the text.
        skipped: 0-based indices of chunks that nothing is asked about.

    Raises:
        DataError: there is no such kind.
    """
    for kind in kinds or ():
        if kind not in KINDS:
            raise DataError(f"no kind of question is called {kind!r}{did_you_mean(kind, KINDS)}")
    scene = Scene(chunks, name, seed, None if who is None else frozenset(who), frozenset(skipped))
    waiting = {kind: sorted(KINDS[kind](scene), key=lambda one: -one.worth) for kind in kinds or KINDS}
    chosen = sorted(_chosen(waiting, count), key=lambda pair: (pair[1].chunks[-1], pair[1].text))
    return [
        Asked(
            Question(
                id=f"{name}-{number}",
                text=one.text,
                answers=one.answers,
                metric=one.metric,
                kind=kind,
                evidence=tuple(sorted(set(one.chunks))),
            ),
            one.quotes,
        )
        for number, (kind, one) in enumerate(chosen)
    ]


def _chosen(waiting: dict[str, list[DraftQuestion]], count: int) -> list[tuple[str, DraftQuestion]]:
    """The kinds in turn, each time the best whose chunk has been asked about least, and that asks nothing again."""
    chosen: list[tuple[str, DraftQuestion]] = []
    asked: Counter[int] = Counter()
    answers: Counter[str] = Counter()
    of_kind: Counter[str] = Counter()
    before = -1
    while before < len(chosen) < count:
        before = len(chosen)
        for kind, held in waiting.items():
            held[:] = [one for one in held if not any(_same(one, other) for _, other in chosen[-len(waiting) :])]
            held[:] = [
                one for one in held if one.metric == "choice" or kind in REPEATING or not answers[fold(one.answers[0])]
            ]
            if not held or len(chosen) == count or of_kind[kind] >= MOST.get(kind, 1) * count:
                continue
            of_kind[kind] += 1
            best = min(range(len(held)), key=lambda place: (asked[held[place].chunks[-1]], place))
            one = held.pop(best)
            chosen.append((kind, one))
            asked[one.chunks[-1]] += 1
            answers[fold(one.answers[0])] += 1
    return chosen


def _same(one: DraftQuestion, other: DraftQuestion) -> bool:
    """Return whether two questions are about the same: of quotes that overlap, or of much the same terms."""
    if any(a in b or b in a for a in one.quotes for b in other.quotes):
        return True
    return len(one.subject & other.subject) > SAME * min(len(one.subject), len(other.subject))
