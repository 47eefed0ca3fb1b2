"""The cost of a warm start, told before it costs anything: `memrl sft --dry-run`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memrl.config import Config
from memrl.engines.prompting import Prompter
from memrl.sft.endpoint import cost
from memrl.sft.episodes import best_steps
from memrl.sft.examples import demonstrations
from memrl.sft.teach import streams_of, teacher_of

LOOKED_AT = 16
"""Streams whose demonstrations are written for the estimate."""


def plan(config: Config, prompter: Prompter) -> dict[str, Any]:
    """Return the figures of a warm start as plain JSON, and under `shown` one demonstration as a person reads it.

    The teacher behind an endpoint is not asked: its demonstrations are taken to be as long as the careless teacher's.
    """
    sft = config.sft
    streams = streams_of(config) if sft.teacher != "episodes" else []
    looked = streams[:LOOKED_AT]
    if sft.teacher == "episodes":
        found = list(best_steps(Path(str(sft.episodes)), sft.best, prompter))
        scale = 1.0
    else:
        found = list(demonstrations(looked, config, prompter, config.seed, teacher_of(config, prompter)))
        scale = len(streams) / len(looked)
    lengths = [len(one.prompt_ids) + len(one.completion_ids) for one in found]
    fit = [length for length in lengths if length <= sft.max_length]
    mean = sum(fit) / len(fit) if fit else 0.0
    told: dict[str, Any] = {
        "demonstrations": round(scale * len(lengths)),
        "left_out": round(scale * (len(lengths) - len(fit))),
        "prompt_tokens": round(sum(len(one.prompt_ids) for one in found) / max(1, len(found))),
        "completion_tokens": round(sum(len(one.completion_ids) for one in found) / max(1, len(found))),
        "longest": max(lengths, default=0),
        "steps": sft.steps,
        "epochs": round(sft.steps * sft.batch_size / max(1.0, scale * len(fit)), 2),
        "tokens_at_most": round(sft.steps * sft.batch_size * mean),
        "shown": "" if not found else prompter.tokenizer.decode([*found[0].prompt_ids, *found[0].completion_ids]),
    }
    if sft.teacher == "endpoint":
        told["endpoint"] = cost(config, streams, prompter)
    return told
