"""Dense retrieval over all of the text: the passages whose embeddings are nearest to the question's, up to
`memory.retrieve_budget`.

The passages are those of `bm25`, and are embedded with their dates, as `bm25` indexes them. It keeps the whole text,
which no memory budget allows: its `memory_tokens` say what that costs. Embeddings come from sentence-transformers
(`eval.embedder`).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from memrl.config import EvalConfig
from memrl.engines.engine import Place
from memrl.envs.designs import MemoryItem, MemoryView, TokenCounter
from memrl.envs.stream import Stream
from memrl.errors import ConfigError
from memrl.evaluation.baselines.base import PASSAGES_SHOWN, Kept, Passages, passages
from memrl.rollout.worker import RolloutWorker


class Embedder:
    """A sentence-transformers model, asked by one thread at a time: its tokenizer takes no two."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._lock = threading.Lock()

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embeddings of length 1, one row a text."""
        with self._lock:
            found: NDArray[np.float32] = self._model.encode(
                list(texts), normalize_embeddings=True, show_progress_bar=False
            )
        return found


_loaded: dict[str, Embedder] = {}


def load_embedder(path: str, *, download: bool = True) -> Embedder:
    """The embedding model of `eval.embedder`, loaded once.

    Args:
        download: from the hub, where it is not on this machine.

    Raises:
        ConfigError: sentence-transformers is not installed, or there is no such model.
    """
    if path in _loaded:
        return _loaded[path]
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise ConfigError(
            f"the baselines dense and hybrid need sentence-transformers ({error}). Install it: pip install "
            "'memrl[dense]'"
        ) from error
    try:
        model = SentenceTransformer(path, device="cpu", local_files_only=not download, trust_remote_code=False)
        _loaded[path] = Embedder(model)
    except (OSError, ValueError, RuntimeError) as error:
        why = " ".join(str(error).split())[:200]
        raise ConfigError(
            f"no embedding model can be loaded from eval.embedder {path!r} ({why}). Give a folder with one, or leave "
            "the baselines dense and hybrid out."
        ) from error
    return _loaded[path]


class Dense:
    """Keeps all of the text in passages of a few sentences, and their embeddings."""

    def __init__(self, worker: RolloutWorker, config: EvalConfig) -> None:
        self._count = worker.prompter.count_tokens
        self._most = worker.memory.retrieve_budget // PASSAGES_SHOWN
        self._embedder = load_embedder(config.embedder)

    async def read(self, stream: Stream, place: Place) -> Kept:
        held = passages(stream, self._most, self._count)
        memory = await asyncio.to_thread(Embedded, held, self._count, self._embedder)
        return Kept(memory)


class Embedded(Passages):
    """Passages that are shown by the likeness (cosine) of their embeddings to the question's."""

    def __init__(self, held: Sequence[tuple[str, str | None]], count: TokenCounter, embedder: Embedder) -> None:
        super().__init__(held, count)
        self._embedder = embedder
        self._vectors = embedder([_dated(item) for item in self.items])

    def retrieve(self, question: str, budget: int) -> MemoryView:
        return self.view(self.by_likeness(question), budget)

    def by_likeness(self, question: str) -> Iterator[MemoryItem]:
        """Return all items, those nearest to the question first."""
        [asked] = self._embedder([question])
        items = self.items
        return (items[place] for place in (-(self._vectors @ asked)).argsort(kind="stable"))


def _dated(item: MemoryItem) -> str:
    return f"{item.time} {item.content}" if item.time else item.content
