"""Baselines, which a policy is compared with: other ways to keep a memory, asked by the same reader under the same
budgets.

One file each. A baseline reads a stream and hands over a memory; it never sees the questions.
"""

from __future__ import annotations

from collections.abc import Callable

from memrl.config import EvalConfig
from memrl.evaluation.baselines.base import Baseline
from memrl.evaluation.baselines.bm25 import BM25
from memrl.evaluation.baselines.dense import Dense
from memrl.evaluation.baselines.extract_update import ExtractUpdate
from memrl.evaluation.baselines.full_context import FullContext
from memrl.evaluation.baselines.nothing import Nothing
from memrl.evaluation.baselines.rolling_summary import RollingSummary
from memrl.evaluation.baselines.verbatim import Verbatim
from memrl.rollout.worker import RolloutWorker

BASELINES: dict[str, Callable[[RolloutWorker, EvalConfig], Baseline]] = {
    "nothing": Nothing,
    "full_context": FullContext,
    "bm25": BM25,
    "dense": Dense,
    "verbatim": Verbatim,
    "rolling_summary": RollingSummary,
    "extract_update": ExtractUpdate,
}
"""By name. `untrained` is one more: the policy before its first step."""
