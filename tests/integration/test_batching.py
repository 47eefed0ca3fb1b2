"""Micro-batches: every sampled token trained exactly once, and as little padding as the budget asks."""

from __future__ import annotations

import random

import pytest
import torch

from memrl.engines.trees import plan_batches, rows_alone
from memrl.errors import LearnerError
from memrl.learner.batching import collate, inputs_of, make_micro_batches, sample_length
from memrl.records import Sample

END_OF_TURN = 77


def make_samples(count: int = 23, seed: int = 0) -> list[Sample]:
    rng = random.Random(seed)
    samples = []
    for index in range(count):
        completion = [rng.randrange(50) for _ in range(rng.randrange(0, 9))] + [END_OF_TURN]
        prompt = [rng.randrange(50) for _ in range(rng.randrange(1, 30))]
        logprobs = [-rng.random() for _ in completion]
        samples.append(Sample(prompt, completion, logprobs, advantage=rng.gauss(0, 1), version=1, chunk=index))
    return samples


def test_plan_covers_every_row_once_within_the_budget() -> None:
    rng = random.Random(1)
    lengths = [rng.randrange(1, 60) for _ in range(50)] + [400]
    plan = plan_batches(lengths, 128)
    assert sorted(row for rows in plan for row in rows) == list(range(51))
    assert plan[0] == [50]  # over-long: alone, and first
    for rows in plan[1:]:
        assert len(rows) * max(lengths[row] for row in rows) <= 128
    assert plan == plan_batches(lengths, 128)


def test_plan_sorts_so_that_little_is_padded() -> None:
    lengths = [10, 100] * 20
    plan = plan_batches(lengths, 400)
    padded = sum(len(rows) * max(lengths[row] for row in rows) for rows in plan)
    assert padded <= sum(lengths) * 1.2


def test_trained_tokens_are_the_sampled_ids_with_the_end_of_turn() -> None:
    samples = make_samples()
    seen = {}
    for batch in make_micro_batches(samples, 64):
        for row, index in enumerate(batch.indices):
            mask = batch.mask_BC[row]
            seen[index] = batch.targets_BC[row][mask].tolist()
            torch.testing.assert_close(batch.sampling_logprobs_BC[row][mask], torch.tensor(samples[index].logprobs))
            assert batch.advantages_B[row].item() == pytest.approx(samples[index].advantage)
    assert [seen[index] for index in range(len(samples))] == [sample.completion_ids for sample in samples]
    assert all(ids[-1] == END_OF_TURN for ids in seen.values())


def test_each_target_is_predicted_from_the_token_before_it() -> None:
    samples = make_samples()
    for batch in make_micro_batches(samples, 96):
        for row, index in enumerate(batch.indices):
            sample = samples[index]
            whole = sample.prompt_ids + sample.completion_ids
            inputs = batch.laid_out.ids_RL[row].tolist()
            assert inputs == whole[:-1] + [0] * (len(inputs) - len(whole) + 1)
            for position, target in zip(
                batch.positions_BC[row][batch.mask_BC[row]].tolist(), sample.completion_ids, strict=True
            ):
                assert whole[position + 1] == target


def test_rows_are_padded_to_the_longest_sum_not_the_sum_of_the_longest() -> None:
    samples = [Sample([1] * 20, [2], [-1.0], 0.0, 0), Sample([1], [2] * 20, [-1.0] * 20, 0.0, 0)]
    batch = collate(samples, rows_alone([inputs_of(sample) for sample in samples]))
    assert batch.laid_out.ids_RL.shape == (2, 20)
    assert batch.padded_tokens == sum(sample_length(sample) for sample in samples)


def test_broken_samples_are_named() -> None:
    with pytest.raises(LearnerError, match=r"'zebra', episode 3, chunk 4 .* empty"):
        make_micro_batches([Sample([1], [], [], 0.0, 0, stream_id="zebra", episode=3, chunk=4)], 64)
    with pytest.raises(LearnerError, match="2 completion ids but 1 log-probs"):
        make_micro_batches([Sample([1], [2, 3], [-1.0], 0.0, 0)], 64)
