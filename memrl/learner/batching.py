"""Micro-batches under a budget of padded tokens.

Samples are sorted by length and cut into runs, so rows of a micro-batch are nearly equally long. A row is prompt and
completion without a gap, padded on the right only: left-padded prompts beside right-padded completions (TRL's layout)
would pad to the longest prompt plus the longest completion, even where no row has both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from memrl.errors import LearnerError
from memrl.records import Sample


@dataclass(frozen=True)
class MicroBatch:
    """B rows: L input positions, of which up to C predict a completion token.

    A row's last completion token is a target but no input: nothing is predicted from it.
    """

    indices: list[int]
    """Places of the rows in the samples that were batched."""
    input_ids_BL: Tensor
    attention_mask_BL: Tensor
    positions_BC: Tensor
    """The input position whose hidden state predicts each completion token; 0 where masked."""
    targets_BC: Tensor
    """Completion ids, the end-of-turn id included; 0 where masked."""
    mask_BC: Tensor
    """bool: true on completion tokens."""
    sampling_logprobs_BC: Tensor
    advantages_B: Tensor

    @property
    def padded_tokens(self) -> int:
        """Positions that go through the model."""
        return self.input_ids_BL.numel()


def sample_length(sample: Sample) -> int:
    """Input positions that a sample takes."""
    return len(sample.prompt_ids) + len(sample.completion_ids) - 1


def check_samples(samples: Sequence[Sample]) -> None:
    """Raise LearnerError for the first sample that cannot be trained on."""
    for sample in samples:
        where = f"the sample of stream {sample.stream_id!r}, episode {sample.episode}, chunk {sample.chunk}"
        if not sample.prompt_ids or not sample.completion_ids:
            raise LearnerError(f"{where} has an empty prompt or completion")
        if len(sample.logprobs) != len(sample.completion_ids):
            raise LearnerError(
                f"{where} has {len(sample.completion_ids)} completion ids but {len(sample.logprobs)} log-probs"
            )


def plan_micro_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Split the rows 0..n-1 so that rows * longest <= `max_tokens`; an over-long row goes alone.

    Longest first: what does not fit into the memory of a GPU fails at once, not at the end.
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    batches: list[list[int]] = []
    for row in order:
        if batches and (len(batches[-1]) + 1) * lengths[batches[-1][0]] <= max_tokens:
            batches[-1].append(row)
        else:
            batches.append([row])
    return batches


def collate(samples: Sequence[Sample], indices: Sequence[int], device: torch.device | str = "cpu") -> MicroBatch:
    """Build one micro-batch of `samples[i] for i in indices`."""
    rows = [samples[index] for index in indices]
    length = max(sample_length(row) for row in rows)
    width = max(len(row.completion_ids) for row in rows)
    inputs = [(row.prompt_ids + row.completion_ids)[:-1] for row in rows]
    starts = [len(row.prompt_ids) - 1 for row in rows]
    positions = [list(range(start, start + len(row.completion_ids))) for start, row in zip(starts, rows, strict=True)]
    return MicroBatch(
        indices=list(indices),
        input_ids_BL=_pad(inputs, length, torch.long, device),
        attention_mask_BL=_pad([[1] * len(row) for row in inputs], length, torch.long, device),
        positions_BC=_pad(positions, width, torch.long, device),
        targets_BC=_pad([row.completion_ids for row in rows], width, torch.long, device),
        mask_BC=_pad([[1] * len(row.completion_ids) for row in rows], width, torch.bool, device),
        sampling_logprobs_BC=_pad([row.logprobs for row in rows], width, torch.float32, device),
        advantages_B=torch.tensor([row.advantage for row in rows], dtype=torch.float32, device=device),
    )


def make_micro_batches(
    samples: Sequence[Sample], max_tokens: int, device: torch.device | str = "cpu"
) -> list[MicroBatch]:
    """Every sample in exactly one micro-batch; the same samples always give the same batches."""
    check_samples(samples)
    plan = plan_micro_batches([sample_length(sample) for sample in samples], max_tokens)
    return [collate(samples, indices, device) for indices in plan]


def _pad(
    rows: Sequence[Sequence[int] | Sequence[float]], width: int, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    padded = [list(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=dtype, device=device)
