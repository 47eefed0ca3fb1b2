"""Hybrid retrieval over all of the text: passages by their places in the rankings of `bm25` and of `dense` together,
up to `memory.retrieve_budget`.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): a passage's score is the sum over rankings of
1 / (k + its place in the ranking), with k = 60 as there; a ranking that does not name it adds nothing. It keeps the
whole text, which no memory budget allows: its `memory_tokens` say what that costs.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Sequence

from memrl.engines.engine import Place
from memrl.envs.designs import MemoryView
from memrl.envs.stream import Stream
from memrl.evaluation.baselines.base import Kept, passages
from memrl.evaluation.baselines.dense import Dense, Embedded

K = 60
"""As in the paper: the greater, the less the first places weigh above those behind them."""


class Hybrid(Dense):
    """Keeps what `dense` keeps; what is shown is what words and embeddings find together."""

    async def read(self, stream: Stream, place: Place) -> Kept:
        held = passages(stream, self._most, self._count)
        return Kept(await asyncio.to_thread(Fused, held, self._count, self._embedder))


class Fused(Embedded):
    """Passages that are shown by reciprocal rank fusion of their words' and their embeddings' rankings."""

    def retrieve(self, question: str, budget: int) -> MemoryView:
        by_words = [item.id for item in self.relevant(question)]
        by_likeness = [item.id for item in self.by_likeness(question)]
        held = {item.id: item for item in self.items}
        return self.view((held[name] for name in fused([by_words, by_likeness])), budget)


def fused(rankings: Iterable[Sequence[str]]) -> list[str]:
    """Return the names of rankings in one: those first whose sum of 1 / (K + place) is greatest; of equals, the one
    that was named first."""
    scores: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, name in enumerate(ranking, start=1):
            scores[name] += 1.0 / (K + place)  # RRFscore(d) = sum over rankings r of 1 / (k + r(d))
    return sorted(scores, key=lambda name: -scores[name])
