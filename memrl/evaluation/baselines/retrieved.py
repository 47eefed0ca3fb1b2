"""Retrieval over all of the text: passages up to `memory.retrieve_budget`, the best ones for the question.

The passages are the same whatever finds them: `bm25`, `dense` and `hybrid` are baselines of these names, each with the
retrieval of its name (`memrl.envs.retrieval`); `retrieval` has that of `memory.retrieval`. They keep the whole text,
which no memory budget allows: their `memory_tokens` say what that costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

from memrl.config import EvalConfig
from memrl.engines.engine import Place
from memrl.envs.errors import PluginError
from memrl.envs.retrieval import Index, NewIndex, models, open_retrieval
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.retrieval.dense import index_of
from memrl.envs.retrieval.hybrid import Fused
from memrl.envs.stream import Stream
from memrl.errors import ConfigError
from memrl.evaluation.baselines.base import PASSAGES_SHOWN, Kept, Passages, passages
from memrl.rollout.worker import RolloutWorker


class Retrieved:
    """Keeps all of the text in passages of a few sentences.

    Args:
        new_index: by which they are found.
    """

    def __init__(self, worker: RolloutWorker, new_index: NewIndex) -> None:
        self._count = worker.prompter.count_tokens
        self._most = worker.memory.retrieve_budget // PASSAGES_SHOWN
        self._new_index = new_index

    async def read(self, stream: Stream, place: Place) -> Kept:
        return await asyncio.to_thread(self._read, stream)

    def _read(self, stream: Stream) -> Kept:
        memory = Passages(passages(stream, self._most, self._count), self._count, self._new_index)
        next(memory.relevant("", 0), None)  # what is slow is done here, in a thread
        return Kept(memory)


def by_words(worker: RolloutWorker, _: EvalConfig) -> Retrieved:
    """Return the baseline `bm25`."""
    return Retrieved(worker, BM25Index)


def by_embeddings(worker: RolloutWorker, config: EvalConfig) -> Retrieved:
    """Return the baseline `dense`.

    Raises:
        ConfigError: as `load_embedder`.
    """
    return Retrieved(worker, partial(index_of, load_embedder(config.embedder)))


def by_both(worker: RolloutWorker, config: EvalConfig) -> Retrieved:
    """Return the baseline `hybrid`.

    Raises:
        ConfigError: as `load_embedder`.
    """
    new_index: Callable[[], Index] = partial(index_of, load_embedder(config.embedder))
    return Retrieved(worker, lambda: Fused(BM25Index(), new_index()))


def as_the_memory(worker: RolloutWorker, _: EvalConfig) -> Retrieved:
    """Return the baseline `retrieval`, which finds passages as the policy's memory finds items.

    Raises:
        PluginError: `memory.retrieval` or its options are wrong.
    """
    return Retrieved(worker, open_retrieval(worker.memory.retrieval, worker.memory.retrieval_options))


@lru_cache(maxsize=4)
def load_embedder(path: str, *, download: bool = True) -> models.Embedder:
    """Return the embedding model of `eval.embedder`, loaded once.

    Args:
        download: from the hub, where it is not on this machine.

    Raises:
        ConfigError: sentence-transformers is not installed, or there is no such model.
    """
    try:
        if Path(path).expanduser().is_dir():
            return models.load_embedder(path)
        return models.sentence_embedder(path, download=download)
    except PluginError as error:
        raise ConfigError(
            f"no embedding model can be loaded from eval.embedder {path!r} ({error}). Give a folder with one, or leave "
            "the baselines dense and hybrid out."
        ) from error
