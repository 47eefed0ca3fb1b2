"""Reranking: a cross-encoder reads the query with each of the first items that another retrieval finds, and puts those
that fit best before.

The items behind them follow as they were found. What the model has said of a query and a text is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from memrl.envs.errors import PluginError
from memrl.envs.retrieval import WANTED, open_retrieval
from memrl.envs.retrieval.layers import Texts, Together
from memrl.envs.retrieval.models import check_folder, load_cross_encoder


class RerankIndex(Together):
    """Items that another retrieval finds, the first of them in the order of a cross-encoder.

    Args:
        model: the folder of a cross-encoder: a transformers model that classifies pairs, whose last class is "it fits".
        of: the other retrieval, `of_options`: its options.
        first: items that the model reads.
        device: cpu or cuda.
        batch: pairs that are read together.

    Raises:
        PluginError: there is no model in the folder, the other retrieval is unknown or does not take its options, or a
            number is below 1.
    """

    def __init__(
        self,
        model: str,
        of: str = "bm25",
        of_options: Mapping[str, Any] | None = None,
        first: int = 32,
        device: str = "cpu",
        batch: int = 32,
    ) -> None:
        check_folder("model", model, device)
        if min(first, batch) < 1:
            raise PluginError(f"first is {first} and batch {batch}; they must be at least 1")
        self._model = model, device, batch
        self._first = first
        self._texts = Texts()
        self._found = open_retrieval(of, of_options or {})()
        super().__init__(self._found, self._texts)

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        found = self._found.ranked(query, max(wanted, self._first))
        names = [item_id for item_id, _ in islice(found, self._first)]
        if names:
            scores = load_cross_encoder(*self._model)([(query, self._texts[name]) for name in names])
            # Sorting is stable: of equals the one that was found first comes first.
            yield from sorted(zip(names, scores, strict=True), key=lambda pair: -pair[1])
        yield from found
