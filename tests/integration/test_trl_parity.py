"""TRL's `GRPOTrainer._compute_loss` as the yardstick: the same batch must give the same gradient.

TRL gets one padded batch, we get the same rows in several micro-batches; the old, base and sampling log-probs are far
enough from the model's that clipping, the KL and the truncation all act.
"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM
from trl import GRPOConfig, GRPOTrainer

from memrl.config import LossConfig
from memrl.engines.heads import head_of
from memrl.learner.batching import MicroBatch, make_micro_batches
from memrl.learner.logprobs import completion_scores
from memrl.learner.loss import Normaliser, policy_loss
from memrl.records import Sample

VOCABULARY, LIMIT, TEMPERATURE = 64, 9, 0.8
CLIP_LOW, CLIP_HIGH, CAP = 0.15, 0.25, 1.3


@pytest.fixture(scope="module")
def model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=8,
        initializer_range=0.2,  # a peaked distribution, so that gradients are not all alike
    )
    return Qwen3ForCausalLM(config)


@pytest.fixture(scope="module")
def samples() -> list[Sample]:
    rng = random.Random(5)
    rows = []
    for size in (1, 9, 4, 6, 2, 7):
        prompt = [rng.randrange(3, VOCABULARY) for _ in range(rng.randrange(2, 15))]
        completion = [rng.randrange(3, VOCABULARY) for _ in range(size - 1)] + [2]
        rows.append(Sample(prompt, completion, [0.0] * size, rng.choice((-1, 1)) * rng.uniform(0.3, 2.0), version=0))
    return rows


def make_trainer(model: Qwen3ForCausalLM, folder: Path, rows: int, **options: Any) -> GRPOTrainer:
    backend = Tokenizer(models.WordLevel({f"t{index}": index for index in range(VOCABULARY)}, unk_token="t0"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="t0", pad_token="t1", eos_token="t2")
    args = GRPOConfig(
        output_dir=str(folder),
        per_device_train_batch_size=rows,
        num_generations=2,
        max_completion_length=LIMIT,
        temperature=TEMPERATURE,
        epsilon=CLIP_LOW,
        use_bias_correction_kl=True,
        use_cpu=True,
        bf16=False,
        report_to="none",
        **options,
    )
    return GRPOTrainer(
        model=model,
        reward_funcs=lambda completions, **_: [0.0] * len(completions),
        args=args,
        train_dataset=Dataset.from_dict({"prompt": ["t3 t4"] * rows}),
        processing_class=tokenizer,
    )


def padded(rows: list[list[Any]], *, left: bool, dtype: torch.dtype) -> Tensor:
    width = max(len(row) for row in rows)
    fill: list[list[Any]] = [[0] * (width - len(row)) for row in rows]
    return torch.tensor([f + r if left else r + f for f, r in zip(fill, rows, strict=True)], dtype=dtype)


def trl_inputs(samples: list[Sample], logprobs: dict[str, list[list[float]]]) -> dict[str, Tensor]:
    prompts, completions = [s.prompt_ids for s in samples], [s.completion_ids for s in samples]
    per_token = {name: padded(rows, left=False, dtype=torch.float32) for name, rows in logprobs.items()}
    weight = (per_token["old"] - per_token["sampling"]).exp().clamp(max=CAP)
    return {
        "prompt_ids": padded(prompts, left=True, dtype=torch.long),
        "prompt_mask": padded([[1] * len(p) for p in prompts], left=True, dtype=torch.long),
        "completion_ids": padded(completions, left=False, dtype=torch.long),
        "completion_mask": padded([[1] * len(c) for c in completions], left=False, dtype=torch.long),
        "advantages": torch.tensor([s.advantage for s in samples]),
        "num_items_in_batch": torch.tensor(sum(len(c) for c in completions)),
        "old_per_token_logps": per_token["old"],
        "ref_per_token_logps": per_token["ref"],
        "importance_sampling_ratio": weight,
    }


def gradient(model: Qwen3ForCausalLM) -> Tensor:
    flat = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    model.zero_grad(set_to_none=True)
    return flat.double()


def our_gradient(
    model: Qwen3ForCausalLM, samples: list[Sample], logprobs: dict[str, list[list[float]]], config: LossConfig
) -> Tensor:
    normaliser = Normaliser(len(samples), sum(len(s.completion_ids) for s in samples), LIMIT)

    def rows(name: str, batch: MicroBatch) -> Tensor:
        picked = [logprobs[name][index] for index in batch.indices]
        return padded(picked, left=False, dtype=torch.float32)

    batches = make_micro_batches(samples, 45)
    assert len(batches) >= 3
    for batch in batches:
        loss = policy_loss(
            completion_scores(model, batch, TEMPERATURE, head_of(model)).logprobs_BC,
            rows("old", batch),
            batch.advantages_B,
            batch.mask_BC,
            config,
            normaliser=normaliser,
            sampling_logprobs_BT=rows("sampling", batch),
            ref_logprobs_BT=rows("ref", batch),
        ).loss
        loss.backward()
    return gradient(model)


def noisy_logprobs(model: Qwen3ForCausalLM, samples: list[Sample]) -> dict[str, list[list[float]]]:
    """Log-probs around the model's own: ratios from about 0.5 to 2."""
    generator = torch.Generator().manual_seed(9)
    logprobs: dict[str, list[list[float]]] = {"old": [], "ref": [], "sampling": []}
    for sample in samples:
        with torch.no_grad():
            logits = model(torch.tensor([sample.prompt_ids + sample.completion_ids])).logits[0] / TEMPERATURE
        start = len(sample.prompt_ids)
        own = logits.log_softmax(-1)[start - 1 : -1].gather(-1, torch.tensor(sample.completion_ids)[:, None])[:, 0]
        shift = 0.25 * torch.randn((), generator=generator)  # so that whole sequences leave gspo's clip range too
        old = own + shift + 0.3 * torch.randn(own.shape, generator=generator)
        logprobs["old"].append(old.tolist())
        logprobs["ref"].append((own + 0.5 * torch.randn(own.shape, generator=generator)).tolist())
        logprobs["sampling"].append((old + 0.3 * torch.randn(own.shape, generator=generator)).tolist())
    return logprobs


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("kl", [0.0, 0.3])
@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo", "gspo", "cispo"])
def test_gradient_equals_trls(
    model: Qwen3ForCausalLM, samples: list[Sample], tmp_path: Path, loss: str, kl: float
) -> None:
    logprobs = noisy_logprobs(model, samples)
    config = LossConfig(type=loss, clip_low=CLIP_LOW, clip_high=CLIP_HIGH, kl=kl, importance_cap=CAP)
    ours = our_gradient(model, samples, logprobs, config)

    trainer = make_trainer(
        model,
        tmp_path,
        len(samples),
        loss_type="grpo" if loss == "gspo" else loss,
        importance_sampling_level="sequence" if loss == "gspo" else "token",
        epsilon_high=1.0 + CLIP_HIGH if loss == "cispo" else CLIP_HIGH,
    )
    trainer.beta = kl  # at construction it would fetch a base model from the hub
    # The correction is multiplied in only where TRL drives vLLM; the flags alone switch it on, no engine is built.
    trainer.use_vllm, trainer.vllm_importance_sampling_correction = True, True
    trainer.current_gradient_accumulation_steps = trainer.args.steps_per_generation = 1
    try:
        trainer.model.train()
        trainer._compute_loss(trainer.model, trl_inputs(samples, logprobs)).backward()
    finally:
        del model.forward  # TRL patched the instance
    theirs = gradient(model)

    assert relative(ours, theirs) < 1e-5
    # The yardstick can tell: every other loss, no clipping, no KL or no truncation is far off.
    wrong = [LossConfig(other, CLIP_LOW, CLIP_HIGH, kl, CAP) for other in ("grpo", "dapo", "dr_grpo", "gspo", "cispo")]
    wrong += [
        LossConfig(loss, 0.9, CLIP_HIGH, kl, CAP),
        LossConfig(loss, CLIP_LOW, 9.0, kl, CAP),
        LossConfig(loss, CLIP_LOW, CLIP_HIGH, kl + 0.05, CAP),
        LossConfig(loss, CLIP_LOW, CLIP_HIGH, kl, 0.0),
    ]
    for other in wrong:
        if other.type == loss and (other == config or (loss == "cispo" and other.clip_low != CLIP_LOW)):
            continue
        assert relative(our_gradient(model, samples, logprobs, other), theirs) > 1e-3, other


def test_scores_equal_the_full_logits(model: Qwen3ForCausalLM, samples: list[Sample]) -> None:
    for batch in make_micro_batches(samples, 60):
        scores = completion_scores(model, batch, TEMPERATURE, head_of(model))
        for row, index in enumerate(batch.indices):
            ids, start = samples[index].prompt_ids + samples[index].completion_ids, len(samples[index].prompt_ids)
            logprobs = (model(torch.tensor([ids])).logits[0] / TEMPERATURE).log_softmax(-1)[start - 1 : -1]
            own = logprobs.gather(-1, torch.tensor(samples[index].completion_ids)[:, None])[:, 0]
            mask = batch.mask_BC[row]
            torch.testing.assert_close(scores.logprobs_BC[row][mask], own, rtol=0, atol=1e-5)
            torch.testing.assert_close(scores.entropy_BC[row][mask], -(logprobs.exp() * logprobs).sum(-1))
            assert (scores.logprobs_BC[row][~mask] == 0).all()


def test_slices_give_the_same_gradient(
    model: Qwen3ForCausalLM, samples: list[Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    logprobs = noisy_logprobs(model, samples)
    whole = our_gradient(model, samples, logprobs, LossConfig())
    with monkeypatch.context() as patch:
        patch.setattr("memrl.learner.logprobs._SLICE_ELEMENTS", VOCABULARY * 4)
        assert relative(our_gradient(model, samples, logprobs, LossConfig()), whole) < 1e-6
