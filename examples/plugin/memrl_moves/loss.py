"""The loss `reinforce`: no ratio, no clipping; right where samples are of the present policy."""

from __future__ import annotations

import torch

from memrl.config import LossConfig
from memrl.learner.loss import Loss, TokenInputs, TokenLoss, over_tokens


def reinforce(inputs: TokenInputs, config: LossConfig) -> TokenLoss:
    """Return -A logprob for each token."""
    return TokenLoss(
        loss_BT=-inputs.advantages_B1 * inputs.logprobs_BT,
        ratio_BT=inputs.log_ratio_BT.exp(),
        clipped_BT=torch.zeros_like(inputs.mask_BT),
    )


REINFORCE = Loss(per_token=reinforce, total=over_tokens)
