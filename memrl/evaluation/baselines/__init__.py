"""Baselines, which a policy is compared with: other ways to keep a memory, asked by the same reader under the same
budgets.

One file each. A baseline reads a stream and hands over a memory; it never sees the questions.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

from memrl.config import EvalConfig
from memrl.evaluation.baselines.base import Baseline
from memrl.evaluation.baselines.extract_update import ExtractUpdate
from memrl.evaluation.baselines.full_context import FullContext
from memrl.evaluation.baselines.nothing import Nothing
from memrl.evaluation.baselines.retrieved import as_the_memory, by_both, by_embeddings, by_words
from memrl.evaluation.baselines.rolling_summary import RollingSummary
from memrl.evaluation.baselines.verbatim import Verbatim
from memrl.rollout.worker import RolloutWorker

AS_THE_MEMORY = "retrieval"
"""The one that searches all of the text by `memory.retrieval`: it is `bm25` where that is."""
BASELINES: dict[str, Callable[[RolloutWorker, EvalConfig], Baseline]] = {
    "nothing": Nothing,
    "full_context": FullContext,
    "bm25": by_words,
    "dense": by_embeddings,
    "hybrid": by_both,
    AS_THE_MEMORY: as_the_memory,
    "verbatim": Verbatim,
    "rolling_summary": RollingSummary,
    "extract_update": ExtractUpdate,
}
"""By name. `untrained` is one more: the policy before its first step."""
EMBEDDED = ("dense", "hybrid")
"""Those that need the model of `eval.embedder`."""
HELD = {
    "nothing": Fraction(0),
    "full_context": Fraction(1),
    "bm25": Fraction(1),
    "dense": Fraction(1),
    "hybrid": Fraction(1),
    AS_THE_MEMORY: Fraction(1),
}
"""The share of the text that some hold by nature, whatever the memory's budget."""
