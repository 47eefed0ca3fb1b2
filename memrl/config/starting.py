"""A first config, written for whoever reads it: each setting that matters with the reason for its value.

What it holds are the values of the shipped configs for the same hardware (configs/), with the user's data and model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from memrl.config.shipped import TINY

CPU, SMALL, LARGE, NODE = "cpu", "24gb", "80gb", "8x80gb"
HARDWARE: Mapping[str, str] = {
    CPU: "no GPU: the embedded model learns in minutes, a real one shows that it runs",
    SMALL: "one GPU of 24 GB: models of up to 2 billion parameters",
    LARGE: "one GPU of 80 GB: models of up to 4 billion parameters",
    NODE: "a node of eight GPUs of 80 GB: the same, sooner",
}
TRY, TRAIN = "try", "train"
PURPOSES: Mapping[str, str] = {TRY: "see that all of it works: a few steps", TRAIN: "a policy to use: a whole run"}

Settings = Mapping[str, tuple[Any, str]]
"""By key of one section: a value, and what is said of it."""


@dataclass(frozen=True)
class Wish:
    """The answers to the four questions."""

    train: Mapping[str, Any]
    """A source of streams."""
    evaluation: Mapping[str, Any]
    model: str
    hardware: str
    purpose: str
    own: bool
    """Whether the data is the user's own, and no source that memrl knows the streams of."""
    evidence: bool
    """Whether it is known where each answer stands."""


def written(wish: Wish) -> str:
    """Return the config as YAML with comments."""
    steps = "a look at whether it works" if wish.purpose == TRY else "a whole run"
    lines = [
        f"# Written by `memrl start`: {wish.model} on {wish.hardware}, {steps}. It is yours: change what you like.",
        "# `memrl config KEY` tells what a setting means; `memrl train FILE --dry-run` checks it and tells the cost.",
    ]
    for section, settings in _sections(wish):
        lines += ["", f"{section}:"]
        for key, (value, why) in settings.items():
            shown = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
            lines.append(f"  {key}: {shown.removesuffix('...' + chr(10)).strip()}{f'  # {why}' if why else ''}")
    return "\n".join(lines) + "\n"


def _sections(wish: Wish) -> Iterator[tuple[str, Settings]]:
    tiny = wish.model == TINY
    yield "model", _model(wish, tiny)
    yield (
        "data",
        {
            "train": ([dict(wish.train)], "what the policy learns from"),
            "eval": ([dict(wish.evaluation)], "and what it is measured on: never the same streams"),
        },
    )
    if tiny:
        yield from _embedded(wish)
    elif wish.hardware == CPU:
        yield from _real_on_cpu()
    else:
        yield from _on_gpu(wish)
    mode = "evidence" if wish.evidence else "episode"
    why = "an answer is paid to the step that read its evidence" if wish.evidence else "an answer is paid to all steps"
    yield "advantage", {"mode": (mode, why)}
    yield "train", _train(wish, tiny)
    yield "eval", _eval(wish, tiny)


def _model(wish: Wish, tiny: bool) -> Settings:
    on_cpu = wish.hardware == CPU
    dtype = "float32" if tiny else "bfloat16"
    rank = 16 if on_cpu or wish.hardware == SMALL else 32
    return {
        "path": (wish.model, "" if tiny else "a folder, or a name on the hub"),
        "dtype": (dtype, ""),
        "device": ("cpu" if on_cpu else "cuda", ""),
        "lora": ({"rank": rank, "alpha": 2 * rank}, "more rank: more to learn with, and more memory"),
    }


def _embedded(wish: Wish) -> Iterator[tuple[str, Settings]]:
    window = 512 if wish.own else 256
    yield (
        "memory",
        {
            "budget": (55, "tokens that it may keep: about half of what would hold everything"),
            "core_budget": (20, "of those, for the one paragraph that it always sees"),
            "render_budget": (36, "tokens of memory that it sees while it reads"),
            "retrieve_budget": (12, "tokens of memory that an answer is given from"),
            "max_calls": (8, "changes of the memory in a step"),
        },
    )
    yield (
        "rollout",
        {
            "temperature": (0.9, ""),
            "max_prompt_tokens": (window, "the embedded model reads 512 at most"),
            "max_completion_tokens": (48, ""),
            "max_batch": (256, ""),
            "merge_adapters": (True, "quicker, for so small a model"),
        },
    )
    yield (
        "reader",
        {
            "quoted": (False, "the embedded model has learned to read the plain form"),
            "max_prompt_tokens": (window, ""),
            "max_tokens": (6, "of an answer"),
        },
    )
    yield (
        "rewards",
        {
            "weights": (
                {"compression": 0.5, "tool_success": 1.2},
                "the price of memory, and of calls that fail; an answer is worth 1",
            )
        },
    )


def _real_on_cpu() -> Iterator[tuple[str, Settings]]:
    yield (
        "memory",
        {
            "budget": (256, "tokens that it may keep"),
            "core_budget": (64, "of those, for the one paragraph that it always sees"),
            "render_budget": (128, "tokens of memory that it sees while it reads"),
            "retrieve_budget": (192, "tokens of memory that an answer is given from"),
        },
    )
    yield (
        "rollout",
        {
            "temperature": (0.8, "at 1.0 most of what a small model writes is no call"),
            "example": (True, "a worked example: without one a small model makes hardly any call"),
            "max_prompt_tokens": (1280, "what does not fit is refused before the first step"),
            "max_completion_tokens": (96, ""),
            "max_batch": (16, ""),
            "refill_rounds": (1, ""),
        },
    )
    yield (
        "reader",
        {
            "quoted": (False, "a small model reads best what is short"),
            "max_prompt_tokens": (512, ""),
            "max_tokens": (16, "of an answer"),
        },
    )


def _on_gpu(wish: Wish) -> Iterator[tuple[str, Settings]]:
    small = wish.hardware == SMALL
    yield (
        "memory",
        {
            "budget": (2048 if wish.own else 32768, "tokens that it may keep; less of them teaches it to choose"),
            "core_budget": (512, "of those, for the one paragraph that it always sees"),
            "render_budget": (2048, "tokens of memory that it sees while it reads"),
            "retrieve_budget": (2048, "tokens of memory that an answer is given from"),
        },
    )
    rollout: dict[str, tuple[Any, str]] = {
        "engine": ("vllm", "transformers needs no vLLM, and is slower"),
        "temperature": (1.0, ""),
        "max_prompt_tokens": (6144, "instruction, memory and a chunk"),
        "max_completion_tokens": (2048, "a smaller one cuts calls off, which then fail"),
        "max_batch": (32 if small else 128, "episodes that are written at once"),
        "step_timeout": (1800, "seconds: all episodes of a step may wait for one engine"),
        "episode_timeout": (14400, ""),
    }
    if wish.hardware == NODE:
        rollout["workers"] = (4, "engines that play while four processes learn")
        rollout["max_staleness"] = (1, "steps that they may be ahead, so that neither half waits")
    yield "rollout", rollout
    share = {SMALL: 0.6, LARGE: 0.8, NODE: 0.9}[wish.hardware]
    vllm: dict[str, tuple[Any, str]] = {"gpu_memory_utilization": (share, "the share of the card that is vLLM's")}
    if wish.hardware == NODE:
        yield "vllm", vllm
        one = {"worker_cpus": (4, ""), "worker_gpus": (1, ""), "learner_cpus": (4, ""), "learner_gpus": (1, "")}
        yield "ray", {**one, "start_timeout": (900, "seconds: a cold vLLM takes minutes")}
    else:
        yield "vllm", {"sleep": (True, "engine and learner take turns on the card's memory"), **vllm}
    yield (
        "reader",
        {
            "type": ("policy-base", "the model without its adapter answers; or endpoint: a larger one"),
            "max_prompt_tokens": (6144, ""),
            "max_tokens": (512, "of an answer"),
        },
    )
    yield (
        "loss",
        {
            "type": ("dapo", "the mean over tokens"),
            "clip_low": (0.2, ""),
            "clip_high": (0.28, "more room upwards keeps the entropy up"),
        },
    )


def _train(wish: Wish, tiny: bool) -> Settings:
    trying = wish.purpose == TRY
    if tiny:
        return {
            "steps": (2 if trying else 40, "of the policy's weights"),
            "streams_per_step": (2 if trying else 8, ""),
            "group_size": (4 if trying else 8, "episodes of one stream that are compared"),
            "lr": (2.0e-3, ""),
            "schedule": ("linear", ""),
            "warmup_steps": (1 if trying else 2, ""),
            "updates_per_step": (2, ""),
            "max_grad_norm": (0.5, ""),
            "micro_batch_tokens": (3072, ""),
        }
    if wish.hardware == CPU:
        return {
            "steps": (1 if trying else 3, "too few for learning: they show that the loop runs"),
            "streams_per_step": (1, ""),
            "group_size": (4 if trying else 6, "episodes of one stream that are compared"),
            "lr": (1.0e-4, ""),
            "warmup_steps": (0, ""),
            "micro_batch_tokens": (2048, ""),
        }
    large = wish.hardware != SMALL
    return {
        "steps": (5 if trying else 100, "of the policy's weights"),
        "streams_per_step": (2 if trying else 8 if large else 4, "the more, the steadier, and the longer a step"),
        "group_size": (4 if trying else 8, "episodes of one stream that are compared"),
        "updates_per_step": (2, ""),
        "lr": (1.0e-5 if large else 2.0e-5, "smaller models take larger steps"),
        "schedule": ("constant_with_warmup", ""),
        "warmup_steps": (2 if trying else 10, ""),
        "micro_batch_tokens": (16384 if large else 8192, "tokens that the learner holds at once"),
        "gradient_checkpointing": (True, "slower, and far less memory"),
        **({"processes": (4, "that learn together")} if wish.hardware == NODE else {}),
    }


def _eval(wish: Wish, tiny: bool) -> Settings:
    if wish.purpose == TRY or (not tiny and wish.hardware == CPU):
        return {"streams": (1 if wish.own else 4, "held out"), "every": (0, "before the first step and after the last")}
    if tiny:
        return {"streams": (8 if wish.own else 64, "held out"), "every": (5, "steps")}
    return {"streams": (8 if wish.own else 32, "held out"), "every": (10, "steps")}
