"""The peers of a learner: what it needs of the processes that learn with it. `Peers` itself is the trivial case: there
are none.

The others stand in `memrl.learner.members`; this file needs neither a process group nor Ray.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

from torch import nn
from transformers import PreTrainedModel


class Peers:
    """One member of those that learn together: this one, alone."""

    in_step = False
    """Whether a pass through the model needs all members at once, so that all must run the same number of passes."""

    def spread(self, model: PreTrainedModel, kept: Sequence[nn.Parameter]) -> None:
        """Place `model`, whose parameters `kept` each member holds whole."""

    def together(self) -> AbstractContextManager[None]:
        """Work that each member does by itself: when it fails on one, it fails on all (on the others: PeerFailed)."""
        return nullcontext()

    def sum_gradients(self, parameters: Sequence[nn.Parameter]) -> None:
        """Give every member the sum of all members' gradients."""
