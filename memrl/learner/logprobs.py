"""Log-probs of completions under a causal LM: the hidden states of all positions, the head only where it is needed.

A vocabulary of 150,000 makes the logits the largest tensor by far (2.5 GB in float32 for 4,096 tokens). So prompt
positions never reach the head, and the rest goes through it in slices that are recomputed in the backward pass.

Refused: `trl.trainer.utils.add_fused_lm_head`. It bakes the temperature into a patched forward, wants to be called
before peft, scores the prompt positions as well wherever Triton is absent (every CPU run), and fixes what is scored to
one completion at the end of a row. The few lines below need none of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedModel

from memrl.engines.guide import held_to
from memrl.engines.heads import Head
from memrl.learner.batching import MicroBatch
from memrl.learner.slices import SLICE_ELEMENTS as _SLICE_ELEMENTS


@dataclass(frozen=True)
class TokenScores:
    """Scores of each completion token, 0 where masked."""

    logprobs_BC: Tensor
    """Nats, after temperature, float32 (float64 for a float64 model)."""
    entropy_BC: Tensor
    """Nats, of the distribution the token was drawn from; no gradient."""


def completion_scores(
    model: PreTrainedModel, batch: MicroBatch, temperature: float, head: Head | None = None
) -> TokenScores:
    """Score `batch`.

    Args:
        model: the causal LM itself (for peft: `get_base_model()`; the adapter acts inside it).
        temperature: of the distribution that the tokens were drawn from.
        head: the model's (`head_of`); None: not known, so that the model computes its logits itself, all of a column
            at once.
    """
    flat_positions = batch.positions_BC[batch.mask_BC]
    flat_rows = batch.rows_B.unsqueeze(-1).expand_as(batch.mask_BC)[batch.mask_BC]
    targets = batch.targets_BC[batch.mask_BC]
    asked = batch.laid_out.asked_of(model)
    if head is not None:
        output = model.base_model(use_cache=False, **asked)
        hidden_ND = output.last_hidden_state[flat_rows, flat_positions]
        vocabulary = cast(Any, model).get_output_embeddings().weight.shape[0]
        logprobs, entropy = _score_hidden(head, vocabulary, hidden_ND, targets, temperature, batch.allowed_NW)
    else:
        columns = torch.unique(flat_positions)  # that hold a completion position in some row
        output = model(use_cache=False, logits_to_keep=columns, **asked)
        kept = torch.searchsorted(columns, flat_positions)
        logprobs, entropy = _score_logits(output.logits[flat_rows, kept], targets, temperature, batch.allowed_NW)
    return TokenScores(_unpack(logprobs, batch.mask_BC), _unpack(entropy, batch.mask_BC))


def _score_hidden(
    head: Head, vocabulary: int, hidden_ND: Tensor, targets_N: Tensor, temperature: float, allowed_NW: Tensor | None
) -> tuple[Tensor, Tensor]:
    rows = max(1, _SLICE_ELEMENTS // vocabulary)

    def score(hidden: Tensor, targets: Tensor, allowed: Tensor | None) -> tuple[Tensor, Tensor]:
        return _score_logits(head(hidden), targets, temperature, allowed)

    if len(targets_N) <= rows:
        return score(hidden_ND, targets_N, allowed_NW)
    hidden, targets = hidden_ND.split(rows), targets_N.split(rows)
    allowed = [None] * len(targets) if allowed_NW is None else allowed_NW.split(rows)
    slices = [checkpoint(score, *piece, use_reentrant=False) for piece in zip(hidden, targets, allowed, strict=True)]
    return torch.cat([piece[0] for piece in slices]), torch.cat([piece[1] for piece in slices])


def _score_logits(
    logits_NV: Tensor, targets_N: Tensor, temperature: float, allowed_NW: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """(log-probs, entropy). The head runs in the model's dtype, as in an engine; the softmax in float32 at least."""
    logits_NV = logits_NV.to(torch.promote_types(logits_NV.dtype, torch.float32)) / temperature
    if allowed_NW is not None:
        logits_NV = held_to(logits_NV, allowed_NW)
    logprobs_NV = logits_NV.log_softmax(-1)
    with torch.no_grad():
        entropy_N = torch.special.entr(logprobs_NV.exp()).sum(-1)
    return logprobs_NV.gather(-1, targets_N.unsqueeze(-1)).squeeze(-1), entropy_N


def _unpack(values_N: Tensor, mask_BC: Tensor) -> Tensor:
    return torch.zeros(mask_BC.shape, dtype=values_N.dtype, device=values_N.device).masked_scatter(mask_BC, values_N)
