"""The head of a model: how it makes logits of hidden states, apart from the rest, so that they are made only where they
are wanted, and in slices where a vocabulary is large."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

_FACTORS = {"logit_scale": 1, "logits_scaling": -1, "lm_head_multiplier": 1, "output_multiplier": 1}
"""Settings by which models multiply their logits (1), or divide them (-1)."""
_CAPS = ("final_logit_softcapping", "logits_soft_cap")
"""Settings by which models cap their logits softly."""
_SAME = {torch.float64: 1e-6, torch.float32: 1e-4}
_HALF_SAME = 1e-2
"""Share by which logits may differ from the model's own, by dtype. A soft cap that was forgotten is a percent where
logits are small."""
Head = Callable[[Tensor], Tensor]
"""From hidden states to logits."""


@torch.no_grad()
def head_of(model: PreTrainedModel) -> Head | None:
    """Return what a model makes logits with: its output embedding, and the factor and the soft cap that its config
    names. It is tried against the model's own logits; None: they are something else."""
    matrix = cast(Any, model).get_output_embeddings()
    if matrix is None:
        return None
    config = model.config.get_text_config()
    cap = next((getattr(config, name) for name in _CAPS if getattr(config, name, None)), None)
    named = [(getattr(config, name, None), sign) for name, sign in _FACTORS.items()]
    factors = [1.0] + [float(x) ** way for x, sign in named if x not in (None, 0.0) for way in (sign, -sign)]
    ids = torch.arange(4, device=model.device)[None] % matrix.weight.shape[0]
    try:
        hidden = model.base_model(input_ids=ids, use_cache=False).last_hidden_state
        wanted = model(input_ids=ids, use_cache=False).logits.float()
    except (AttributeError, TypeError):  # another kind of model
        return None
    same = _SAME.get(hidden.dtype, _HALF_SAME)
    for factor in factors:
        head = _Head(matrix, factor, cap)
        if torch.allclose(head(hidden).float(), wanted, rtol=same, atol=1e-4 * float(wanted.abs().max())):
            return head
    return None


@dataclass(frozen=True)
class _Head:
    matrix: nn.Module
    factor: float
    cap: float | None

    def __call__(self, hidden: Tensor) -> Tensor:
        logits: Tensor = self.matrix(hidden)
        if self.factor != 1.0:
            logits = logits * self.factor
        return logits if self.cap is None else torch.tanh(logits / self.cap) * self.cap
