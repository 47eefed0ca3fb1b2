"""Dense retrieval: items by the likeness (cosine) of their embeddings to the query's.

Every item matches, the nearest first. A write costs nothing: texts are embedded in batches once somebody asks, each
once in a process. All vectors are looked at for a query, which is exact, and quicker than a graph of neighbours up to
some 100,000 items (docs/decisions.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from memrl.envs.errors import PluginError
from memrl.envs.retrieval import WANTED
from memrl.envs.retrieval.layers import Waiting
from memrl.envs.retrieval.models import Embedder, Row, check_folder, load_embedder
from memrl.envs.retrieval.order import ordered

Embed = Callable[[Sequence[str]], Sequence[Row]]
_SPARE = 1024
"""Places of removed items that are kept before the index is packed."""


class Vectors:
    """Embeddings of items, in the order in which these came.

    Args:
        embed_text, embed_query: return the embeddings of texts and of queries, each of length 1.
    """

    def __init__(self, embed_text: Embed, embed_query: Embed) -> None:
        self._embed_text = embed_text
        self._embed_query = embed_query
        self._ids: list[str] = []
        self._place: dict[str, int] = {}
        self._rows: Row = np.zeros((0, 0), np.float32)
        self._held: NDArray[np.bool_] = np.zeros(0, dtype=bool)
        self._holds = False

    def add(self, item_id: str, text: str) -> None:
        self.remove(item_id)
        [row] = self._embed_text([text])
        place = len(self._ids)
        if place == len(self._rows):
            self._grow(len(row))
        self._ids.append(item_id)
        self._place[item_id] = place
        self._rows[place] = row
        self._held[place] = True

    def remove(self, item_id: str) -> tuple[str, int] | None:
        place = self._place.pop(item_id, None)
        if place is None:
            return None
        self._held[place] = False
        self._tidy()
        return item_id, place

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        if not self._place:
            return
        used = len(self._ids)
        places = np.flatnonzero(self._held[:used])
        rows = self._rows[:used] if len(places) == used else self._rows[places]
        [asked] = self._embed_query([query])
        # Row by row, so that equal texts have equal scores wherever they stand: `rows @ asked` does not promise that.
        scores = np.einsum("nd,d->n", rows, asked).astype(np.float64)
        for place, score in ordered(places, scores, 0):
            yield self._ids[place], score

    def hold(self) -> None:
        self._holds = True

    def release(self) -> None:
        self._holds = False
        self._tidy()

    def take_back(self, item_id: str) -> None:
        place = self._place.pop(item_id)
        self._ids.pop()
        self._held[place] = False

    def put_back(self, removed: tuple[str, int]) -> None:
        item_id, place = removed
        self._place[item_id] = place
        self._held[place] = True

    def _grow(self, width: int) -> None:
        size = max(16, 2 * len(self._rows))
        rows, held = np.zeros((size, width), np.float32), np.zeros(size, dtype=bool)
        if len(self._rows):
            rows[: len(self._rows)], held[: len(self._held)] = self._rows, self._held
        self._rows, self._held = rows, held

    def _tidy(self) -> None:
        """Give up the places of removed items, where they are many."""
        used = len(self._ids)
        if self._holds or used <= 2 * len(self._place) + _SPARE:
            return
        places = np.flatnonzero(self._held[:used])
        self._rows, self._held = self._rows[places], np.ones(len(places), dtype=bool)
        self._ids = [self._ids[place] for place in places.tolist()]
        self._place = {item_id: place for place, item_id in enumerate(self._ids)}


class DenseIndex(Waiting):
    """Items by the likeness of their embeddings.

    Args:
        model: the folder of an embedding model: one of sentence-transformers, which says itself how it embeds, or any
            of transformers, of which the mean over a text's tokens is taken.
        device: cpu or cuda.
        batch: texts that are embedded together. Other batches change the seventh digit of a vector; with 1, none does.
        query_prompt, text_prompt: what the model wants before a query and before a text, as `query: `.

    Raises:
        PluginError: there is no model in the folder, or an option is none that can be.
    """

    def __init__(
        self, model: str, device: str = "cpu", batch: int = 32, query_prompt: str = "", text_prompt: str = ""
    ) -> None:
        check_folder("model", model, device)
        if batch < 1:
            raise PluginError(f"batch is {batch}; it must be at least 1")
        # Loaded when it is first asked.
        embed = partial(_embedded, partial(load_embedder, model, device, batch))
        text = partial(embed, text_prompt)
        super().__init__(Vectors(text, partial(embed, query_prompt)), text)


def index_of(embedder: Embedder) -> Waiting:
    """Return an empty index of a model that is loaded."""
    return Waiting(Vectors(embedder, embedder), embedder)


def _embedded(load: Callable[[], Embedder], prompt: str, texts: Sequence[str]) -> list[Row]:
    return load()([prompt + text for text in texts])
