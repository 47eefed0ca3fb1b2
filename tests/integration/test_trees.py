"""Sequences that begin alike share a row, and nothing that is learned or sampled changes by it."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    AutoModelForCausalLM,
    Cohere2Config,
    CohereConfig,
    Gemma2Config,
    GPT2Config,
    GPTNeoConfig,
    GraniteConfig,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    PreTrainedModel,
)

from memrl.config import Config
from memrl.engines.heads import head_of
from memrl.engines.trees import common, grow, reads_trees, rows_alone, rows_shared, visible
from memrl.learner.batching import inputs_of, make_micro_batches
from memrl.learner.logprobs import completion_scores
from memrl.records import Sample
from tests.integration.test_learner import make_learner

IDS = st.lists(st.integers(3, 6), min_size=1, max_size=14)
SMALL: dict[str, Any] = {
    "vocab_size": 48,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def sample(prompt: list[int], completion: list[int], advantage: float = 0.5) -> Sample:
    return Sample(prompt, completion, [-1.0] * len(completion), advantage, 0)


def group(size: int = 8, *, seed: int = 0) -> list[Sample]:
    """Episodes of one chunk: one prompt, completions that part at some place, some of them equal."""
    rng = random.Random(seed)
    prompt = [rng.randrange(3, 48) for _ in range(40)]
    begun = [rng.randrange(3, 48) for _ in range(6)]
    return [
        sample(prompt, begun[: rng.randrange(7)] + [rng.randrange(3, 48) for _ in range(rng.randrange(4))] + [2], n / 8)
        for n in range(size)
    ]


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=8))
@settings(max_examples=100, deadline=None)
def test_a_row_holds_each_sample_on_a_path_of_its_own(pairs: list[tuple[list[int], list[int]]]) -> None:
    samples = [sample(prompt, completion) for prompt, completion in pairs]
    rows = rows_shared([inputs_of(sample) for sample in samples])
    assert sorted(member for row in rows for member in row.members) == list(range(len(samples)))
    for row in rows:
        wanted = [inputs_of(samples[member]) for member in row.members]
        tree = grow(wanted)
        assert len(tree.ids) == row.places
        assert [[tree.ids[place] for place in path] for path in tree.paths] == wanted
        seen = visible([tree], row.places + 2)[0, 0]
        for path in tree.paths:
            for depth, place in enumerate(path):
                assert tree.depths[place] == depth
                assert seen[place].nonzero().flatten().tolist() == sorted(path[: depth + 1])
        assert seen[row.places :].sum() == 2


def test_what_is_alike_is_read_once() -> None:
    sequences = [inputs_of(sample) for sample in group()]
    [row] = rows_shared(sequences)
    beginnings = {tuple(ids[:end]) for ids in sequences for end in range(1, len(ids) + 1)}
    assert row.places == len(beginnings)
    assert row.places < sum(alone.places for alone in rows_alone(sequences)) / 4


def test_sequences_that_have_little_in_common_stand_alone() -> None:
    assert len(rows_shared([[1, 2, 3] + [number] * 20 for number in range(4, 9)])) == 5


def test_a_row_does_not_grow_without_end() -> None:
    sequences = [[3] * 20 + [number] * 20 for number in range(60)]
    assert max(row.places for row in rows_shared(sequences)) <= 512


def test_a_row_takes_no_more_than_a_micro_batch_may() -> None:
    sequences = [[3] * 100 + [number] * 20 for number in range(30)]
    assert max(row.places for row in rows_shared(sequences, 256)) <= 256
    assert max(row.places for row in rows_shared(sequences, 50)) == 120


def test_common_counts_what_two_begin_with() -> None:
    assert common([1, 2, 3], [1, 2, 4, 5]) == 2
    assert common([1, 2], [1, 2, 3]) == 2
    assert common([], [1]) == 0


def build(config: PreTrainedConfig) -> PreTrainedModel:
    torch.manual_seed(0)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    return model.eval()


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_scores_and_gradients_are_those_of_the_samples_one_by_one(attention: str) -> None:
    model = build(LlamaConfig(**SMALL, initializer_range=0.2, attn_implementation=attention))
    assert reads_trees(model)
    samples = [*group(seed=1), *group(5, seed=2), sample([7] * 9, [8, 9, 2])]
    found = {}
    for shared in (False, True):
        scores: dict[int, torch.Tensor] = {}
        for batch in make_micro_batches(samples, 200, shared=shared):
            logprobs = completion_scores(model, batch, 0.9, head_of(model)).logprobs_BC
            (logprobs * batch.advantages_B[:, None]).sum().backward()
            scores |= {
                index: row[mask] for index, row, mask in zip(batch.indices, logprobs, batch.mask_BC, strict=True)
            }
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        model.zero_grad()
        found[shared] = torch.cat([scores[index] for index in range(len(samples))]), gradient
    torch.testing.assert_close(found[True][0], found[False][0], rtol=0, atol=1e-5)
    assert float((found[True][1] - found[False][1]).norm() / found[False][1].norm()) < 1e-5


@pytest.mark.parametrize(
    "config",
    [
        MistralConfig(**SMALL, sliding_window=1000),
        Gemma2Config(**SMALL, head_dim=8, sliding_window=1000),
        Cohere2Config(**SMALL, sliding_window=1000),
    ],
    ids=lambda config: config.model_type,
)
def test_a_window_is_seen_however_wide_it_is(config: PreTrainedConfig) -> None:
    assert not reads_trees(build(config))


def test_a_window_by_another_name_is_seen() -> None:
    config = GPTNeoConfig(
        vocab_size=48, hidden_size=32, num_layers=2, num_heads=4, attention_types=[[["global", "local"], 1]]
    )
    assert not reads_trees(build(config))


def test_learned_positions_read_trees() -> None:
    assert reads_trees(build(GPT2Config(vocab_size=48, n_embd=32, n_layer=2, n_head=4)))


def test_a_model_that_ignores_the_mask_does_not_read_trees(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(LlamaConfig(**SMALL, initializer_range=0.2))
    forward = model.model.forward
    monkeypatch.setattr(model.model, "forward", lambda attention_mask=None, **given: forward(**given))
    assert not reads_trees(model)


@pytest.mark.parametrize(
    ("config", "factor", "cap"),
    [
        (LlamaConfig(**SMALL), 1.0, None),
        (GraniteConfig(**SMALL, logits_scaling=8.0), 1 / 8, None),
        (CohereConfig(**SMALL, logit_scale=0.25), 0.25, None),
        (Gemma2Config(**SMALL, head_dim=8, final_logit_softcapping=3.0), 1.0, 3.0),
    ],
    ids=["plain", "divided", "multiplied", "capped"],
)
def test_the_head_is_found_so_that_logits_are_made_in_slices(
    config: PreTrainedConfig, factor: float, cap: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    config.initializer_range = 1.0
    model = build(config)
    head = head_of(model)
    assert head is not None
    assert (head.factor, head.cap) == (factor, cap)  # type: ignore[attr-defined]
    monkeypatch.setattr("memrl.learner.logprobs._SLICE_ELEMENTS", 100)
    for batch in make_micro_batches(group(), 400):
        whole = completion_scores(model, batch, 0.9).logprobs_BC
        torch.testing.assert_close(completion_scores(model, batch, 0.9, head).logprobs_BC, whole)


def test_a_head_that_nobody_knows_is_left_to_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(LlamaConfig(**SMALL, initializer_range=0.2))
    forward = model.forward

    def odd(*args: Any, **given: Any) -> Any:
        output = forward(*args, **given)
        output.logits = output.logits.sin()
        return output

    monkeypatch.setattr(model, "forward", odd)
    assert head_of(model) is None


def test_the_learner_learns_the_same_from_fewer_tokens() -> None:
    samples = [replace(found, advantage=(-1) ** number * found.advantage) for number, found in enumerate(group())]
    adapters, tokens = [], []
    for shared in (False, True):

        def change(config: Config, shared: bool = shared) -> None:
            config.train.share_prefixes, config.train.micro_batch_tokens = shared, 512

        learner = make_learner(change)
        tokens.append(learner.step(samples)["tokens/learner_padded"])
        adapters.append(torch.cat([parameter.detach().flatten() for parameter in learner.trainable]))
    assert tokens[1] < tokens[0] / 3
    # Adam's first step is the sign of the gradient: where that is next to nothing, rounding decides.
    assert float(((adapters[0] - adapters[1]).abs() > 1e-4).float().mean()) < 0.05
