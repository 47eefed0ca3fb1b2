"""The guard before a run: training must not hold what evaluation is about, unless it is meant to."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import partial
from itertools import islice

from memrl.config import DataConfig, EvalConfig
from memrl.config.stages import merged
from memrl.data.feed import StreamFeed, first_passes, up_to
from memrl.data.leaks import Overlap, find_overlap
from memrl.envs.sources import source_named
from memrl.envs.stream import Stream
from memrl.errors import DataError

log = logging.getLogger(__name__)

MOST_GENERATED = 512
"""Streams that are looked at of a source without end."""
MOST_CHARACTERS = 16_000_000
"""Of the training chunks that are looked at before a run, shared among its sources: about 4 million tokens, some
seconds."""


def guard(data: DataConfig, evaluation: EvalConfig, seed: int) -> None:
    """Look whether `data.train` overlaps `data.eval`, as `data.overlap` says.

    The streams are read by feeds of their own, so the run's sequence does not depend on it.

    Args:
        seed: the run's.

    Raises:
        DataError: they overlap, and `data.overlap` is `refuse`.
    """
    if data.overlap == "allow":
        return
    overlap = find_overlap(_bounded(data, seed), held_out_streams(data, evaluation))
    if not overlap.leaks:
        return
    if data.overlap == "refuse":
        raise DataError(
            f"{explain_leaks(overlap)}\nTake the two apart (e.g. split: train and split: eval, or other data); "
            "`memrl data check` shows more. To go on all the same: data.overlap=warn."
        )
    log.warning("%s", explain_leaks(overlap))


def held_out_streams(data: DataConfig, evaluation: EvalConfig) -> list[Stream]:
    """Return what the run will be evaluated on."""
    return StreamFeed(data.eval, data.path, evaluation.seed, cycle=False).take(evaluation.streams)


def training_streams(data: DataConfig, seed: int) -> Iterator[tuple[str, Iterator[Stream]]]:
    """The name and the streams of each training source: all, or `MOST_GENERATED` of what is made without end."""
    for spec, streams in first_passes(data.train, data.path, seed):
        yield spec.name, islice(streams, MOST_GENERATED) if source_named(spec.name).endless else streams


def _bounded(data: DataConfig, seed: int) -> Iterator[Stream]:
    sources = [*training_streams(data, seed), *_staged_streams(data, seed)]
    for name, streams in sources:
        told = f"only %d streams of {name} were compared with data.eval; `memrl data check` compares all"
        yield from up_to(MOST_CHARACTERS // len(sources), streams, partial(log.info, told))


def _staged_streams(data: DataConfig, seed: int) -> Iterator[tuple[str, Iterator[Stream]]]:
    """Yield what sources without end make in stages that change their options. What others read is the same text in
    every stage: which texts, no stage may change."""
    for stage in data.curriculum:
        specs = [merged(spec, stage) for spec in data.train]
        for before, (spec, streams) in zip(data.train, first_passes(specs, data.path, seed), strict=True):
            if source_named(spec.name).endless and merged(before, stage) != before:
                yield spec.name, islice(streams, MOST_GENERATED)


def explain_leaks(overlap: Overlap) -> str:
    """Return what leaks, in words, with an example of each."""
    lines = ["data.train holds what data.eval is about, so the evaluation would measure what was trained on:"]
    for pair in overlap.leaks:
        shown = next((example for example in pair.examples if example.what in pair.leaks), None)
        such = f"; e.g. the {shown.what} {shown.text!r} in {shown.train} and {shown.evaluation}" if shown else ""
        lines.append(f"  - {pair.line()}{such}")
    return "\n".join(lines)
