"""Micro-batches under a budget of padded tokens.

Rows are sorted by length and cut into runs, so those of a micro-batch are nearly equally long. A row is prompt and
completion without a gap, or the tree of several that begin alike (`memrl.engines.trees`), padded on the right only:
left-padded prompts beside right-padded completions (TRL's layout) would pad to the longest prompt plus the longest
completion, even where no row has both. What pads a row on the right is seen by nobody, so rows need no mask but that of
a tree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from memrl.engines.guide import Guide
from memrl.engines.trees import LaidOut, TreeRow, grow, lay_out, plan_batches, rows_alone, rows_shared
from memrl.errors import LearnerError
from memrl.records import Sample


@dataclass(frozen=True)
class MicroBatch:
    """B samples in R rows of L input positions, of which up to C a sample predict a completion token.

    A sample's last completion token is a target but no input: nothing is predicted from it.
    """

    indices: list[int]
    """Places of the samples among those that were batched."""
    laid_out: LaidOut
    """The rows."""
    rows_B: Tensor
    """Each sample's row."""
    positions_BC: Tensor
    """The place in the row whose hidden state predicts each completion token; 0 where masked."""
    targets_BC: Tensor
    """Completion ids, the end-of-turn id included; 0 where masked."""
    mask_BC: Tensor
    """bool: true on completion tokens."""
    sampling_logprobs_BC: Tensor
    advantages_B: Tensor
    allowed_NW: Tensor | None = None
    """The ids that might have stood at each completion token, in the order of the true ones of `mask_BC`
    (`memrl.engines.guide.Bits`); None: all."""

    @property
    def padded_tokens(self) -> int:
        """Positions that go through the model."""
        return self.laid_out.ids_RL.numel()


def sample_length(sample: Sample) -> int:
    """Input positions that a sample takes."""
    return len(sample.prompt_ids) + len(sample.completion_ids) - 1


def inputs_of(sample: Sample) -> list[int]:
    """Return what goes into the model: all but the last completion token, from which nothing is predicted."""
    return sample.prompt_ids + sample.completion_ids[:-1]


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


def plan_rows(samples: Sequence[Sample], max_tokens: int, *, shared: bool) -> list[list[TreeRow]]:
    """Return the rows of each micro-batch; the same samples always give the same.

    Args:
        max_tokens: padded tokens of one micro-batch.
        shared: let samples that begin alike share a row.
    """
    inputs = [inputs_of(sample) for sample in samples]
    rows = rows_shared(inputs, max_tokens) if shared else rows_alone(inputs)
    plan = plan_batches([row.places for row in rows], max_tokens)
    return [[rows[number] for number in numbers] for numbers in plan]


def collate(
    samples: Sequence[Sample],
    rows: Sequence[TreeRow],
    device: torch.device | str = "cpu",
    guide: Guide | None = None,
) -> MicroBatch:
    """Build one micro-batch of the samples in `rows`; `guide` is what their completions were held to."""
    indices = [index for row in rows for index in row.members]
    chosen = [samples[index] for index in indices]
    trees = [grow([inputs_of(samples[index]) for index in row.members]) for row in rows]
    width = max(len(sample.completion_ids) for sample in chosen)
    paths = [path for tree in trees for path in tree.paths]
    positions = [path[len(sample.prompt_ids) - 1 :] for path, sample in zip(paths, chosen, strict=True)]
    return MicroBatch(
        indices=indices,
        laid_out=lay_out(trees, device),
        rows_B=torch.tensor([number for number, row in enumerate(rows) for _ in row.members], device=device),
        positions_BC=_pad(positions, width, torch.long, device),
        targets_BC=_pad([sample.completion_ids for sample in chosen], width, torch.long, device),
        mask_BC=_pad([[1] * len(sample.completion_ids) for sample in chosen], width, torch.bool, device),
        sampling_logprobs_BC=_pad([sample.logprobs for sample in chosen], width, torch.float32, device),
        advantages_B=torch.tensor([sample.advantage for sample in chosen], dtype=torch.float32, device=device),
        allowed_NW=None if guide is None else _allowed(guide, chosen).to(device),
    )


def make_micro_batches(
    samples: Sequence[Sample],
    max_tokens: int,
    device: torch.device | str = "cpu",
    *,
    shared: bool = False,
    guide: Guide | None = None,
) -> list[MicroBatch]:
    """Every sample in exactly one micro-batch; the same samples always give the same batches.

    Args:
        max_tokens: padded tokens of one micro-batch.
        shared: let samples that begin alike share a row.
        guide: what the completions were held to.

    Raises:
        LearnerError: a sample cannot be trained on.
    """
    check_samples(samples)
    return [collate(samples, rows, device, guide) for rows in plan_rows(samples, max_tokens, shared=shared)]


def _allowed(guide: Guide, samples: Sequence[Sample]) -> Tensor:
    return torch.from_numpy(np.concatenate([guide.along(sample.completion_ids) for sample in samples]))


def _pad(
    rows: Sequence[Sequence[int] | Sequence[float]], width: int, dtype: torch.dtype, device: torch.device | str
) -> Tensor:
    padded = [list(row) + [0] * (width - len(row)) for row in rows]
    return torch.tensor(padded, dtype=dtype, device=device)
