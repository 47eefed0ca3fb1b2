"""Hybrid retrieval: the rankings of `bm25` and of `dense` in one.

Reciprocal rank fusion (Cormack, Clarke and Büttcher, SIGIR 2009): an item's score is the sum over rankings of
1 / (k + its place in the ranking), with k = 60 as there; a ranking that does not name it adds nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from memrl.envs.errors import PluginError
from memrl.envs.retrieval import WANTED, Index
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.retrieval.dense import DenseIndex
from memrl.envs.retrieval.layers import Together

K = 60
"""As in the paper: the greater, the less the first places weigh above those behind them."""
WINDOW = 1000
"""First items of each ranking that are fused; the others follow as they are ranked."""


class Fused(Together):
    """Several indices, whose rankings are fused.

    Args:
        parts: the indices, empty.
        k: of the formula.
        window: first items of each ranking that are fused; the others follow, those of the first ranking first.

    Raises:
        PluginError: k or window is no number that can be.
    """

    def __init__(self, *parts: Index, k: int = K, window: int = WINDOW) -> None:
        if k < 0 or window < 1:
            raise PluginError(f"k is {k} and window {window}; they must be at least 0 and 1")
        super().__init__(*parts)
        self._k = k
        self._window = window

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        rankings = [part.ranked(query, max(wanted, self._window)) for part in self.parts]
        first = fused(([item_id for item_id, _ in islice(one, self._window)] for one in rankings), self._k)
        yield from first.items()
        given = set(first)
        for item_id, _ in chain.from_iterable(rankings):
            if item_id not in given:
                given.add(item_id)
                yield item_id, 0.0


class HybridIndex(Fused):
    """Items by the rankings of their words and of their embeddings together.

    Args:
        model, device, batch, query_prompt, text_prompt: as of `dense`.
        k, window: of the fusion.

    Raises:
        PluginError: as of `dense` and of the fusion.
    """

    def __init__(
        self,
        model: str,
        device: str = "cpu",
        batch: int = 32,
        query_prompt: str = "",
        text_prompt: str = "",
        k: int = K,
        window: int = WINDOW,
    ) -> None:
        dense = DenseIndex(model, device, batch, query_prompt, text_prompt)
        super().__init__(BM25Index(), dense, k=k, window=window)


def fused(rankings: Iterable[Iterable[str]], k: int = K) -> dict[str, float]:
    """Return the names of rankings in one, and their scores: those first whose sum of 1 / (k + place) is greatest; of
    equals, the one that was named first."""
    scores: dict[str, float] = defaultdict(float)
    for ranking in rankings:
        for place, name in enumerate(ranking, start=1):
            scores[name] += 1.0 / (k + place)  # RRFscore(d) = sum over rankings r of 1 / (k + r(d))
    return {name: scores[name] for name in sorted(scores, key=lambda name: -scores[name])}
