"""Anchored retrieval: items by what they name, who does what in them and how they are joined, beside their words.

An item's anchors (`memrl.envs.retrieval.anchors`) are ranked by BM25 as its words are, and that ranking is fused with
the one of another retrieval.

After Semantic Anchoring (Chatterjee and Agarwal, arXiv 2508.12630). Left out: a pronoun that stands for a name in
another item (what an item says must not depend on what else is held), and a tagger of discourse beside its cue words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from memrl.envs.retrieval import BM25, open_retrieval
from memrl.envs.retrieval.anchors import PIPELINE, check_pipeline, load_parser
from memrl.envs.retrieval.bm25 import BM25Index
from memrl.envs.retrieval.hybrid import WINDOW, Fused, K
from memrl.envs.retrieval.layers import Waiting


class Anchors(BM25Index):
    """Items by their anchors.

    Args:
        pipeline: of spaCy.
    """

    def __init__(self, pipeline: str) -> None:
        super().__init__()
        self._pipeline = pipeline

    def prepare(self, texts: Sequence[str]) -> None:
        """Parse texts, whose anchors are at hand then."""
        load_parser(self._pipeline)(texts)

    def terms_of(self, text: str) -> Sequence[str]:
        """Return the anchors of a text."""
        [found] = load_parser(self._pipeline)([text])
        return found


class AnchoredIndex(Fused):
    """Items by their anchors, and by another retrieval.

    Args:
        of: the other retrieval, `of_options`: its options.
        pipeline: of spaCy: tagger, parser, lemmatizer and named entities.
        k, window: of the fusion, as of `hybrid`.

    Raises:
        PluginError: spaCy or the pipeline is not installed; or the other retrieval is unknown or does not take its
            options.
    """

    def __init__(
        self,
        of: str = BM25,
        of_options: Mapping[str, Any] | None = None,
        pipeline: str = PIPELINE,
        k: int = K,
        window: int = WINDOW,
    ) -> None:
        check_pipeline(pipeline)
        anchors = Anchors(pipeline)
        # Of equals that comes first which the anchors have first.
        super().__init__(Waiting(anchors, anchors.prepare), open_retrieval(of, of_options or {})(), k=k, window=window)
