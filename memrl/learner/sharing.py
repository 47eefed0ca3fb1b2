"""The sharing-out of a step among members, and the sum of their results.

The loss of a sample is divided by totals over its whole optimizer step, never by a member's own, so that shares of
samples may be as uneven as they like: gradients, loss and figures are plain sums over members.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from memrl.config import TrainConfig
from memrl.engines.trees import rows_alone, rows_shared
from memrl.learner.batching import check_samples, inputs_of, plan_rows, sample_length
from memrl.learner.loss import LossStats, Normaliser
from memrl.records import Sample

_PIECES = 8
"""Samples that stay together are at most one of so many pieces of an update."""


@dataclass(frozen=True)
class Share:
    """The share of one member in one optimizer step."""

    samples: list[Sample]
    """May be empty: a member without samples still takes part in the update."""
    normaliser: Normaliser
    """Totals over all members."""
    batches: int
    """Micro-batches of these samples."""
    passes: int
    """Micro-batches of the member that has most of them."""


@dataclass(frozen=True)
class ShareResult:
    """The result of one member's share in a step."""

    stats: LossStats
    losses: list[float]
    """This member's share of each update's loss."""
    norms: list[float]
    """Each update's gradient norm before clipping, of the summed gradient: the same on all members."""
    padded_tokens: int


def share_out(
    samples: Sequence[Sample], train: TrainConfig, *, max_completion_tokens: int, seed: int, version: int, members: int
) -> list[list[Share]]:
    """Return for each member its part of every update.

    The samples of an update do not depend on the number of members. Within an update each sample goes, the longest
    first, to the member that has the fewest tokens so far.

    Args:
        max_completion_tokens: `rollout.max_completion_tokens`.
        seed: the run's.
        version: the learner's, before the step.

    Raises:
        LearnerError: a sample cannot be trained on.
    """
    check_samples(samples)
    shares: list[list[Share]] = [[] for _ in range(members)]
    shared = train.share_prefixes and (members == 1 or train.parallel != "fsdp")
    for update in _split(samples, train.updates_per_step, f"{seed}:{version}", shared=train.share_prefixes):
        normaliser = Normaliser(
            samples=len(update),
            tokens=sum(len(sample.completion_ids) for sample in update),
            max_completion_tokens=max_completion_tokens,
        )
        own = _balance(update, members)
        batches = [len(plan_rows(mine, train.micro_batch_tokens, shared=shared)) for mine in own]
        for share, mine, count in zip(shares, own, batches, strict=True):
            share.append(Share(mine, normaliser, count, max(batches)))
    return shares


def _split(samples: Sequence[Sample], updates: int, seed: str, *, shared: bool) -> list[list[Sample]]:
    """A part of nearly equal size for each update (fewer where samples lack), shuffled by `seed`.

    With `shared`, samples that begin alike stay together, so that an update reads what they share once.
    """
    count = min(updates, len(samples))
    if count <= 1:
        return [list(samples)]
    inputs = [inputs_of(sample) for sample in samples]
    rows = rows_shared(inputs) if shared else rows_alone(inputs)
    most = max(1, len(samples) // (_PIECES * count))
    pieces = [row.members[start : start + most] for row in rows for start in range(0, len(row.members), most)]
    random.Random(seed).shuffle(pieces)
    parts: list[list[int]] = [[] for _ in range(count)]
    for piece in pieces:
        min(parts, key=len).extend(piece)
    return [[samples[index] for index in sorted(part)] for part in parts]


def _balance(samples: Sequence[Sample], members: int) -> list[list[Sample]]:
    lengths = [sample_length(sample) for sample in samples]
    loads, owned = [0] * members, [list[int]() for _ in range(members)]
    for index in sorted(range(len(samples)), key=lambda index: (-lengths[index], index)):
        least = min(range(members), key=lambda member: (loads[member], member))
        loads[least] += lengths[index]
        owned[least].append(index)
    return [[samples[index] for index in sorted(mine)] for mine in owned]


def step_metrics(
    results: Sequence[ShareResult], share: Sequence[Share], learning_rate: float, version: int
) -> dict[str, float]:
    """The figures of a step. The same keys after every step, also after one without samples.

    Args:
        results: of all members.
        share: of any member, for its totals.
        learning_rate: of the next update.
        version: after the step.
    """
    stats = LossStats()
    for result in results:
        stats.add(result.stats)
    figures = stats.metrics() if stats.sums else {}
    names = ("clip_fraction", "kl", "kl_old", "sampling_gap", "importance_capped", "ratio_max", "sampling_gap_max")
    updates = len(share)
    losses = [sum(result.losses[update] for result in results) for update in range(updates)]
    norms = results[0].norms if results else []
    return {
        "loss/total": sum(losses) / max(updates, 1),
        "loss/grad_norm": sum(norms) / max(updates, 1),
        "loss/entropy": figures.get("loss/entropy", 0.0),
        **{f"loss/{name}": figures.get(f"loss/{name}", 0.0) for name in names},
        "loss/lr": learning_rate,
        "tokens/trained": float(sum(part.normaliser.tokens for part in share)),
        "tokens/learner_padded": float(sum(result.padded_tokens for result in results)),
        "learner/samples": float(sum(part.normaliser.samples for part in share)),
        "learner/updates": float(updates),
        "learner/version": float(version),
    }
