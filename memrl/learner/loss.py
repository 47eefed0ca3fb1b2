"""The policy losses.

Each is a sum over tokens divided by a normaliser of the WHOLE optimizer step, so the gradient does not depend on how
the samples are split into micro-batches.

With r = exp(logprob - old logprob), A the advantage, c = clip(r, 1 - clip_low, 1 + clip_high), N samples, T_i tokens
of sample i, L = rollout.max_completion_tokens (sums over tokens; signs as minimised):

| type    | per token               | divided by   | paper                                   |
|---------|-------------------------|--------------|-----------------------------------------|
| grpo    | -min(r A, c A)          | N * T_i      | DeepSeekMath, arXiv 2402.03300          |
| dapo    | -min(r A, c A)          | sum of T_i   | DAPO, arXiv 2503.14476, section 3.3     |
| dr_grpo | -min(r A, c A)          | N * L        | Dr. GRPO, arXiv 2503.20783              |
| gspo    | as grpo, r of the sequence: exp(mean of the log-ratios) | N * T_i | arXiv 2507.18071    |
| cispo   | -sg(min(r, 1 + clip_high)) A logprob | sum of T_i | MiniMax-M1, arXiv 2506.13585      |

They equal `trl.GRPOTrainer._compute_loss` (tests/integration/test_trl_parity.py), but for cispo's cap, which TRL wants
as an absolute number (its `epsilon_high` is our 1 + clip_high).

The KL to the base model is Schulman's k3 estimator times r (DeepSeek-V3.2, arXiv 2512.02556, section 3.1, TRL's default
too): k3 alone, differentiated, does not give the gradient of the reverse KL, not even where r is 1.

`old` is the learner at the start of the step; what the engine sampled from may differ from it (other kernels, a stale
version). That gap is corrected apart, by the truncated weight min(exp(old - sampling), importance_cap) on each token
(0: no correction): were `old` the engine's log-probs, the gap would eat up the clip range.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from memrl.config import LossConfig
from memrl.config.registries import chosen


@dataclass(frozen=True)
class Normaliser:
    """Totals over all micro-batches of one optimizer step."""

    samples: int
    tokens: int
    """Completion tokens."""
    max_completion_tokens: int
    """The limit, not the longest in the batch: Dr. GRPO's constant."""


@dataclass
class LossStats:
    """Figures that add up over micro-batches: token sums, and maxima. On the loss's device until `metrics`."""

    sums: dict[str, Tensor] = field(default_factory=dict)
    maxima: dict[str, Tensor] = field(default_factory=dict)

    def add(self, other: LossStats) -> None:
        """Take in another micro-batch."""
        for name, value in other.sums.items():
            self.sums[name] = self.sums[name] + value if name in self.sums else value
        for name, value in other.maxima.items():
            self.maxima[name] = torch.maximum(self.maxima[name], value) if name in self.maxima else value

    def on(self, device: str) -> LossStats:
        """A copy there."""
        return LossStats(
            {name: value.to(device) for name, value in self.sums.items()},
            {name: value.to(device) for name, value in self.maxima.items()},
        )

    def metrics(self) -> dict[str, float]:
        """`loss/<name>`: means per completion token, and maxima."""
        tokens = max(float(self.sums["tokens"]), 1.0)
        means = {f"loss/{name}": float(value) / tokens for name, value in self.sums.items() if name != "tokens"}
        return means | {f"loss/{name}": float(value) for name, value in self.maxima.items()}


@dataclass(frozen=True)
class LossResult:
    """`loss`: this micro-batch's share of the step's loss (the shares are summed, never averaged)."""

    loss: Tensor
    stats: LossStats


@dataclass(frozen=True)
class TokenInputs:
    """The inputs of a loss, on completion tokens; 0 elsewhere, where `mask_BT` is false."""

    logprobs_BT: Tensor
    log_ratio_BT: Tensor
    """log r: logprob - old logprob."""
    advantages_B1: Tensor
    mask_BT: Tensor
    lengths_B: Tensor
    """Completion tokens of each sample, at least 1."""


@dataclass(frozen=True)
class TokenLoss:
    """A loss a token, before the KL and the correction of the sampling gap."""

    loss_BT: Tensor
    ratio_BT: Tensor
    """r as the loss takes it."""
    clipped_BT: Tensor
    """Where clipping has stopped the gradient, or would have."""


@dataclass(frozen=True)
class Loss:
    """A policy loss: what a token costs, and what the sum is divided by."""

    per_token: Callable[[TokenInputs, LossConfig], TokenLoss]
    total: Callable[[Tensor, Tensor, Normaliser], Tensor]
    """From the loss of each token (0 where there is none) and `lengths_B` to this micro-batch's share of the loss."""


def clipped(inputs: TokenInputs, config: LossConfig, ratio_BT: Tensor | None = None) -> TokenLoss:
    """Return -min(r A, c A) for each token. `ratio_BT` takes the place of the tokens' own r."""
    if ratio_BT is None:
        ratio_BT = inputs.log_ratio_BT.exp()
    advantages_B1, low, high = inputs.advantages_B1, 1.0 - config.clip_low, 1.0 + config.clip_high
    policy_BT = -torch.min(ratio_BT * advantages_B1, ratio_BT.clamp(low, high) * advantages_B1)
    clipped_BT = ((ratio_BT < low) & (advantages_B1 < 0)) | ((ratio_BT > high) & (advantages_B1 > 0))
    return TokenLoss(policy_BT, ratio_BT, clipped_BT)


def clipped_sequence(inputs: TokenInputs, config: LossConfig) -> TokenLoss:
    """Return -min(r A, c A) with the r of the sequence."""
    mean_B = inputs.log_ratio_BT.sum(-1) / inputs.lengths_B
    return clipped(inputs, config, mean_B.exp().unsqueeze(-1).expand_as(inputs.log_ratio_BT))


def capped(inputs: TokenInputs, config: LossConfig) -> TokenLoss:
    """Return -sg(min(r, 1 + clip_high)) A logprob for each token."""
    ratio_BT, high = inputs.log_ratio_BT.exp(), 1.0 + config.clip_high
    policy_BT = -ratio_BT.clamp(max=high).detach() * inputs.advantages_B1 * inputs.logprobs_BT
    return TokenLoss(policy_BT, ratio_BT, (ratio_BT > high) & (inputs.advantages_B1 > 0))


def over_samples(token_loss_BT: Tensor, lengths_B: Tensor, normaliser: Normaliser) -> Tensor:
    """Divide by N * T_i: each sample counts the same."""
    return (token_loss_BT.sum(-1) / lengths_B).sum() / max(normaliser.samples, 1)


def over_tokens(token_loss_BT: Tensor, lengths_B: Tensor, normaliser: Normaliser) -> Tensor:
    """Divide by the sum of T_i: each token counts the same."""
    return token_loss_BT.sum() / max(normaliser.tokens, 1)


def over_limit(token_loss_BT: Tensor, lengths_B: Tensor, normaliser: Normaliser) -> Tensor:
    """Divide by N * L: a constant, whatever the lengths."""
    return token_loss_BT.sum() / (max(normaliser.samples, 1) * normaliser.max_completion_tokens)


GRPO = Loss(clipped, over_samples)
DAPO = Loss(clipped, over_tokens)
DR_GRPO = Loss(clipped, over_limit)
GSPO = Loss(clipped_sequence, over_samples)
CISPO = Loss(capped, over_tokens)


def find_loss(name: str) -> Loss:
    """Return the loss `name`: one of those above, a plug-in's, or an import path.

    Raises:
        ConfigError: there is none; the nearest right name is given.
        PluginError: it is somebody else's, and cannot be imported or is no loss.
    """
    found: Loss = chosen("loss.type", name)
    return found


def policy_loss(
    logprobs_BT: Tensor,
    old_logprobs_BT: Tensor,
    advantages_B: Tensor,
    mask_BT: Tensor,
    config: LossConfig,
    *,
    normaliser: Normaliser,
    sampling_logprobs_BT: Tensor | None = None,
    ref_logprobs_BT: Tensor | None = None,
) -> LossResult:
    """The loss of one micro-batch. `mask_BT` is true on completion tokens; what the other positions hold is ignored.

    `ref_logprobs_BT` (the base model's) is needed exactly where `config.kl` is not 0.
    """
    kind = find_loss(config.type)
    if config.kl != 0.0 and ref_logprobs_BT is None:
        raise ValueError("loss.kl is not 0, but no log-probs of the base model were given")
    mask_BT = mask_BT.bool()
    lengths_B = mask_BT.sum(-1).clamp(min=1)
    log_ratio_BT = _difference(logprobs_BT, old_logprobs_BT, mask_BT)
    found = kind.per_token(
        TokenInputs(
            logprobs_BT=logprobs_BT.masked_fill(~mask_BT, 0.0),
            log_ratio_BT=log_ratio_BT,
            advantages_B1=advantages_B.unsqueeze(-1),
            mask_BT=mask_BT,
            lengths_B=lengths_B,
        ),
        config,
    )
    policy_BT, ratio_BT, clipped_BT = found.loss_BT, found.ratio_BT, found.clipped_BT

    if sampling_logprobs_BT is None:
        gap_BT = torch.zeros_like(log_ratio_BT)
    else:
        gap_BT = _difference(old_logprobs_BT, sampling_logprobs_BT, mask_BT).detach()
    capped_BT = torch.zeros_like(mask_BT)
    if sampling_logprobs_BT is not None and config.importance_cap > 0.0:
        weight_BT = gap_BT.exp()
        capped_BT = weight_BT > config.importance_cap
        policy_BT = policy_BT * weight_BT.clamp(max=config.importance_cap)

    kl_BT = torch.zeros_like(log_ratio_BT)
    if ref_logprobs_BT is not None:
        kl_BT = _k3(_difference(ref_logprobs_BT, logprobs_BT, mask_BT))
    token_loss_BT = policy_BT + config.kl * ratio_BT * kl_BT if config.kl != 0.0 else policy_BT

    loss = kind.total(token_loss_BT.masked_fill(~mask_BT, 0.0), lengths_B, normaliser)
    with torch.no_grad():
        figures = {
            "clip_fraction": clipped_BT,
            "kl": kl_BT,
            "kl_old": _k3(log_ratio_BT),
            "sampling_gap": gap_BT.abs(),
            "importance_capped": capped_BT,
        }
        sums = {name: value.masked_fill(~mask_BT, 0).sum() for name, value in figures.items()}
        sums["tokens"] = mask_BT.sum()
        maxima = {
            "ratio_max": ratio_BT.masked_fill(~mask_BT, 0).max(),
            "sampling_gap_max": gap_BT.abs().max(),
        }
    return LossResult(
        loss,
        LossStats(
            {name: value.detach() for name, value in sums.items()},
            {name: value.detach() for name, value in maxima.items()},
        ),
    )


def _difference(first_BT: Tensor, second_BT: Tensor, mask_BT: Tensor) -> Tensor:
    """first - second on completion tokens, 0 elsewhere (so that no padding value can reach exp)."""
    return first_BT.masked_fill(~mask_BT, 0.0) - second_BT.masked_fill(~mask_BT, 0.0)


_K3_BOUND = 10.0
"""Nats: e^10 is 22,026 times as likely."""


def _k3(log_ratio_BT: Tensor) -> Tensor:
    """Return exp(x) - x - 1 >= 0: the k3 estimator of KL(p, q) for samples of p, with x = log q - log p.

    x is clamped: one token that q makes and p does not would else outweigh all others, or overflow.
    """
    x_BT = log_ratio_BT.clamp(-_K3_BOUND, _K3_BOUND)
    return x_BT.exp() - x_BT - 1.0
