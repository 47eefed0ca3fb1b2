"""The losses' arithmetic, by hand and across micro-batch splits. Parity with TRL is in tests/integration."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from memrl.config import LossConfig
from memrl.config.registries import LOSSES
from memrl.errors import ConfigError
from memrl.learner.loss import LossStats, Normaliser, policy_loss


def batch(rows: int = 6, width: int = 5) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    lengths = torch.tensor([1, 5, 3, 2, 4, 5])[:rows]
    logprobs = -torch.rand(rows, width, generator=generator, dtype=torch.float64) - 0.1
    noise = torch.randn(3, rows, width, generator=generator, dtype=torch.float64) * 0.4
    return {
        "logprobs_BT": logprobs,
        "old_logprobs_BT": logprobs + noise[0],
        "sampling_logprobs_BT": logprobs + noise[1],
        "ref_logprobs_BT": logprobs + noise[2],
        "advantages_B": torch.randn(rows, generator=generator, dtype=torch.float64),
        "mask_BT": torch.arange(width) < lengths.unsqueeze(-1),
    }


def gradient(data: dict[str, Tensor], config: LossConfig, splits: list[slice]) -> tuple[Tensor, dict[str, float]]:
    mask = data["mask_BT"]
    normaliser = Normaliser(samples=len(mask), tokens=int(mask.sum()), max_completion_tokens=8)
    leaf = data["logprobs_BT"].clone().requires_grad_()
    stats = LossStats()
    for part in splits:
        rows = {name: value[part] for name, value in data.items()} | {"logprobs_BT": leaf[part]}
        result = policy_loss(**rows, config=config, normaliser=normaliser)
        result.loss.backward()
        stats.add(result.stats)
    assert leaf.grad is not None
    return leaf.grad, stats.metrics()


@pytest.mark.parametrize("loss", LOSSES.shipped)
def test_gradient_and_metrics_do_not_depend_on_the_split(loss: str) -> None:
    data, config = batch(), LossConfig(type=loss, kl=0.1)
    whole, metrics = gradient(data, config, [slice(0, 6)])
    split, split_metrics = gradient(data, config, [slice(0, 1), slice(1, 4), slice(4, 6)])
    assert whole.abs().sum() > 0
    torch.testing.assert_close(split, whole, rtol=1e-12, atol=1e-14)
    assert split_metrics == pytest.approx(metrics)


@pytest.mark.parametrize("loss", LOSSES.shipped)
def test_padding_never_matters(loss: str) -> None:
    data, config = batch(), LossConfig(type=loss, kl=0.1)
    whole, metrics = gradient(data, config, [slice(0, 6)])
    assert (whole[~data["mask_BT"]] == 0).all()
    for name in ("logprobs_BT", "old_logprobs_BT", "sampling_logprobs_BT", "ref_logprobs_BT"):
        data[name] = data[name].masked_fill(~data["mask_BT"], -1e4)
    padded, padded_metrics = gradient(data, config, [slice(0, 6)])
    assert torch.equal(padded, whole)
    assert padded_metrics == metrics


def test_normalisers_by_hand() -> None:
    # On-policy (ratio 1) the gradient is -A / denominator on each token.
    mask = torch.tensor([[1, 0, 0], [1, 1, 1]]).bool()
    logprobs, advantages = torch.full((2, 3), -1.0, dtype=torch.float64), torch.tensor([2.0, -1.0]).double()
    data = {"logprobs_BT": logprobs, "old_logprobs_BT": logprobs, "advantages_B": advantages, "mask_BT": mask}
    expected = {
        "grpo": [[-2 / 2, 0, 0], [1 / 6] * 3],
        "gspo": [[-2 / 2, 0, 0], [1 / 6] * 3],
        "dapo": [[-2 / 4, 0, 0], [1 / 4] * 3],
        "cispo": [[-2 / 4, 0, 0], [1 / 4] * 3],
        "dr_grpo": [[-2 / 16, 0, 0], [1 / 16] * 3],
    }
    for loss, value in expected.items():
        found, _ = gradient(data, LossConfig(type=loss), [slice(0, 2)])
        torch.testing.assert_close(found, torch.tensor(value, dtype=torch.float64))


def one_token(loss: str, ratio: float, advantage: float, **options: float) -> tuple[float, dict[str, float]]:
    data = {
        "logprobs_BT": torch.tensor([[math.log(ratio)]]).double(),
        "old_logprobs_BT": torch.zeros(1, 1).double(),
        "advantages_B": torch.tensor([advantage]).double(),
        "mask_BT": torch.ones(1, 1).bool(),
    }
    if (sampling := options.pop("sampling", None)) is not None:
        data["sampling_logprobs_BT"] = torch.tensor([[sampling]]).double()
    found, metrics = gradient(data, LossConfig(type=loss, **options), [slice(0, 1)])
    return found.item(), metrics


@pytest.mark.parametrize(
    ("ratio", "advantage", "expected"),
    [
        (1.27, 1.0, -1.27),
        (1.29, 1.0, 0.0),
        (1.29, -1.0, 1.29),
        (0.81, -1.0, 0.81),
        (0.79, -1.0, 0.0),
        (0.79, 1.0, -0.79),
    ],
)
def test_clip_is_higher_above_than_below(ratio: float, advantage: float, expected: float) -> None:
    for loss in ("grpo", "dapo", "gspo"):
        found, metrics = one_token(loss, ratio, advantage)
        assert found == pytest.approx(expected)
        assert metrics["loss/clip_fraction"] == (1.0 if expected == 0.0 else 0.0)
        assert metrics["loss/ratio_max"] == pytest.approx(ratio)


def test_cispo_caps_the_weight_and_keeps_the_gradient() -> None:
    assert one_token("cispo", 3.0, 1.0)[0] == pytest.approx(-1.28)
    assert one_token("cispo", 0.5, 1.0)[0] == pytest.approx(-0.5)


def test_importance_weight_is_truncated_from_above_only() -> None:
    assert one_token("dapo", 1.0, 1.0, sampling=-math.log(1.5))[0] == pytest.approx(-1.5)
    assert one_token("dapo", 1.0, 1.0, sampling=math.log(4.0))[0] == pytest.approx(-0.25)
    found, metrics = one_token("dapo", 1.0, 1.0, sampling=-math.log(5.0))
    assert found == pytest.approx(-2.0)
    assert metrics["loss/importance_capped"] == 1.0
    assert metrics["loss/sampling_gap_max"] == pytest.approx(math.log(5.0))
    assert one_token("dapo", 1.0, 1.0, sampling=-math.log(5.0), importance_cap=0.0)[0] == pytest.approx(-1.0)


def test_kl_pulls_towards_the_base_model() -> None:
    data = batch()
    data["advantages_B"] = torch.zeros(6).double()
    data["ref_logprobs_BT"] = data["logprobs_BT"] + 0.3
    found, metrics = gradient(data, LossConfig(kl=0.5), [slice(0, 6)])
    assert (found[data["mask_BT"]] < 0).all()  # a lower loss is where the base model's log-prob is
    assert metrics["loss/kl"] == pytest.approx(math.exp(0.3) - 0.3 - 1)


def test_kl_without_base_logprobs_and_unknown_types_are_refused() -> None:
    data = batch()
    del data["ref_logprobs_BT"]
    with pytest.raises(ValueError, match="base model"):
        gradient(data, LossConfig(kl=0.1), [slice(0, 6)])
    with pytest.raises(ConfigError, match=r"did you mean .gspo"):
        gradient(data, LossConfig(type="ppo"), [slice(0, 6)])
