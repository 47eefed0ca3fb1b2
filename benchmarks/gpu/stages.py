"""The stages of the GPU proof. Each takes a `Report` and writes its figures there as soon as it has them.

    python -m benchmarks.gpu.stages NAME --out FILE [--smoke]

`benchmarks.gpu.proof` runs them; by hand, one is run without a limit.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.parts import (
    BF16_PEAK,
    CUDA,
    DEVICE,
    SHAPES,
    build,
    clean,
    largest_gap,
    peak_gib,
    samples,
    settings,
    tokens,
    wait,
)
from memrl.engines.engine import Place, Sampling
from memrl.engines.transformers_engine import TransformersEngine
from memrl.records import AdapterRef, Completion, Sample

PACKAGES = (
    "torch", "transformers", "peft", "accelerate", "tokenizers", "ray", "trl", "vllm", "datasets", "flash_attn",
    "omegaconf", "pydantic", "openai",
)  # fmt: skip
OPTIONAL = {"ray", "fastapi", "starlette", "mcp", "uvicorn", "datasets", "trl", "vllm", "sentence_transformers", "gguf"}
"""Packages that a bare GPU machine may lack; modules that need them are listed and are no fault."""
SECONDS_A_TOKEN = 0.1
"""The decode step of the transformers engine with an adapter, as measured on an H100: 0.06 to 0.16 s at any batch."""
NEVER = [10**9]
"""End-of-turn ids that no model samples."""


class Report:
    """The figures of a stage, in a file that is whole at any moment."""

    def __init__(self, path: Path, smoke: bool) -> None:
        self.path, self.smoke = path, smoke
        self.figures: dict[str, Any] = {}

    def __setitem__(self, name: str, value: Any) -> None:
        self.figures[name] = value
        partial = self.path.with_suffix(".partial")
        partial.write_text(json.dumps(self.figures, indent=1) + "\n")
        os.replace(partial, self.path)

    def shape(self, name: str) -> str:
        """The shape that stands for `name` here."""
        return "smoke" if self.smoke else name


def environment(report: Report) -> None:
    """Name the machine and the packages."""

    def installed(name: str) -> str | None:
        try:
            return version(name)
        except PackageNotFoundError:
            return None

    report["python"] = sys.version.split()[0]
    report["packages"] = {name: installed(name) for name in PACKAGES}
    if CUDA:
        report["gpu"] = torch.cuda.get_device_name()
        report["memory_gib"] = round(torch.cuda.get_device_properties(0).total_memory / 2**30, 1)
        report["tf32"] = torch.backends.cuda.matmul.allow_tf32


def imports(report: Report) -> None:
    """Import every module; those that want a package which the machine lacks are listed."""
    import memrl

    lacking: dict[str, str] = {}
    count = 0
    for module in pkgutil.walk_packages(memrl.__path__, "memrl."):
        if module.name.endswith("__main__"):
            continue
        count += 1
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] not in OPTIONAL:
                raise
            lacking[module.name] = str(error.name)
    report["modules"] = count
    report["not importable, for want of"] = lacking


def tiny(report: Report) -> None:
    """Train the embedded default on the GPU, 20 steps: the whole loop, and real learning (0.49 before, 0.8 after)."""
    steps = ["train.steps=20", "eval.every=10"]
    if report.smoke:
        steps = ["train.steps=1", "train.streams_per_step=2", "train.group_size=2", "eval.streams=2"]
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        words = [f"model.device={DEVICE.type}", f"run.dir={run}", "run.save_episodes=false", "run.keep_checkpoints=1"]
        process = subprocess.Popen([sys.executable, "-m", "memrl.cli", "train", "tiny", *words, *steps])
        while process.poll() is None:
            time.sleep(1.0)
            _read_curve(report, run)  # at once: this process may be stopped at any moment
        _read_curve(report, run)
        if process.returncode:
            raise RuntimeError(f"memrl train ended with exit code {process.returncode}")


def _read_curve(report: Report, run: Path) -> None:
    metrics = run / "metrics.jsonl"
    lines = metrics.read_text().splitlines(keepends=True) if metrics.is_file() else []
    rows = [json.loads(line) for line in lines if line.endswith("\n")]
    if not rows:
        return
    report["steps"] = len(rows) - 1
    report["curve"] = [[row["step"], round(row["eval/qa"], 3)] for row in rows if "eval/qa" in row]
    report["canary_max"] = max(row.get("canary/gap", 0.0) for row in rows)
    report["sampling_gap_max"] = max(row.get("loss/sampling_gap_max", 0.0) for row in rows)
    report["time"] = {
        key: round(sum(row.get(f"time/{key}", 0.0) for row in rows), 1) for key in ("rollout", "learn", "eval")
    }


def loop(report: Report) -> None:
    """Run debug-1gpu's own settings (but the engine) on a random Qwen3-0.6B with the embedded tokenizer, two steps.

    Engine and learner in bfloat16 in one process: publish, canary, memory of the card, seconds by phase. A random model
    never ends its turn, so every completion has the full length, and the stage is as long as that allows.
    """
    from rich.console import Console
    from transformers import AutoTokenizer

    from memrl.config import load_config
    from memrl.config.shipped import TINY_MODEL
    from memrl.training.trainer import Trainer

    steps, chunks, new, answer = (1, 1, 8, 4) if report.smoke else (2, 2, 24, 8)
    plays = steps + 2  # an evaluation before and one after
    # Episodes are played together and asked together; the reader's ceiling is measured twice before the first step.
    decoded = plays * (chunks * new + answer) + 2 * answer
    report["estimate_seconds"] = round(decoded * SECONDS_A_TOKEN + 8, 1)
    print(f"loop: at most {decoded} decode steps, about {report.figures['estimate_seconds']} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        at, run = Path(folder) / "model", Path(folder) / "run"
        model = build(report.shape("0.6b"))
        tokenizer = AutoTokenizer.from_pretrained(TINY_MODEL)
        model.config.eos_token_id = tokenizer.eos_token_id
        model.generation_config.eos_token_id = None
        model.save_pretrained(at)
        tokenizer.save_pretrained(at)
        del model
        clean()
        source = f"[{{source: synthetic, chunks: {chunks}, sentences: 4, questions: 2}}]"
        words = {
            "model.path": at,
            "model.device": DEVICE.type,
            "rollout.engine": "transformers",
            "vllm.sleep": "false",
            "data.train": source,
            "data.eval": source,
            "rollout.max_completion_tokens": new,
            "rollout.refill_rounds": 0,
            "rollout.max_prompt_tokens": 4096,  # the embedded tokenizer spells Qwen's template in many tokens
            "reader.max_prompt_tokens": 2048,
            "reader.max_tokens": answer,
            "advantage.min_spread": 0,  # keeps groups in which all earn the same
            "run.dir": run,
            "run.save_episodes": "false",
            "train.steps": steps,
            "train.streams_per_step": 1 if report.smoke else 4,
            "train.group_size": 2 if report.smoke else 4,
            "eval.streams": 1 if report.smoke else 4,
            "eval.every": 0,
        }
        config = load_config("debug-1gpu", [f"{key}={value}" for key, value in words.items()], check=False)
        began = time.perf_counter()
        trainer = Trainer(config, name="loop", resume=False, console=Console(quiet=True))
        step = trainer.learner.step
        # All episodes of random weights earn the same: so samples are given advantages, or no adapter would change.
        trainer.learner.step = lambda given, *more: step(
            [replace(sample, advantage=(-1.0) ** place) for place, sample in enumerate(given)], *more
        )
        trainer.run()
        report["run_seconds"] = round(time.perf_counter() - began, 1)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    kept = (
        "step", "canary/gap", "time/rollout", "time/learn", "time/step", "time/eval", "tokens/completion",
        "tokens/prompt", "loss/sampling_gap", "loss/sampling_gap_max", "loss/grad_norm", "advantage/groups_used",
        "learner/version", "fail/retries",
    )  # fmt: skip
    report["rows"] = [{key: row[key] for key in kept if key in row} for row in rows]
    report["peak_gib"] = peak_gib()


def _learner(model: Any, **changes: Any) -> Any:
    from memrl.learner.build import build_learner

    return build_learner(settings(**changes), 10, model=model)


async def _generate(engine: TransformersEngine, prompts: list[list[int]], how: Sampling, ref: AdapterRef | None) -> Any:
    return await asyncio.gather(
        *(
            engine.generate(prompt, Sampling(how.max_tokens, how.temperature, k), ref, place=Place(0, k))
            for k, prompt in enumerate(prompts)
        )
    )


def engine(report: Report) -> None:
    """Tokens a second of the transformers engine by batch, with and without an adapter."""
    cells = [
        ("0.6b", 1, 1024, 32, True),
        ("0.6b", 16, 1024, 64, True),
        ("0.6b", 64, 1024, 64, True),
        ("0.6b", 64, 1024, 64, False),
        ("4b", 64, 1024, 32, True),
        ("4b", 64, 1024, 32, False),
    ]
    held, shown = "", None
    for shape, batch, prompt, new, adapted in [("smoke", 2, 16, 4, True)] if report.smoke else cells:
        if shape != held:
            shown = None
            clean()
            shown, held = TransformersEngine(build(shape), NEVER, max_batch=64), shape
            with tempfile.TemporaryDirectory() as folder:
                ref = _learner(build(shape)).publish(Path(folder))
                asyncio.run(shown.load_adapter(ref))
            asyncio.run(_generate(shown, [tokens(16, 0)], Sampling(2, 1.0, 0), ref))
        assert shown is not None
        clean()
        prompts = [tokens(prompt, k) for k in range(batch)]
        seconds = []
        for length in (1, new):
            wait()
            began = time.perf_counter()
            asyncio.run(_generate(shown, prompts, Sampling(length, 1.0, 0), ref if adapted else None))
            wait()
            seconds.append(time.perf_counter() - began)
        step = (seconds[1] - seconds[0]) / (new - 1)
        report[f"{shape} B={batch} prompt={prompt} {'adapter' if adapted else 'base'}"] = {
            "prefill_tok/s": round(batch * prompt / seconds[0]),
            "ms/step": round(1e3 * step, 2),
            "decode_tok/s": round(batch / step),
            "peak_gib": peak_gib(),
        }


def learner(report: Report) -> None:
    """Tokens a second, share of the card's peak (MFU) and memory of a learner step.

    With N weights in the layers and H in the head, a token costs 2 N forward and 2 N for the gradient of activations,
    2 N more where they are recomputed; a token of a completion costs 8 H. Frozen weights have no gradient.
    """
    cells = [("0.6b", 16_384, True), ("0.6b", 8_192, False), ("4b", 16_384, True)]
    for shape, budget, recompute in [("smoke", 512, True)] if report.smoke else cells:
        clean()
        made = _learner(
            build(shape), train__micro_batch_tokens=budget, train__gradient_checkpointing=str(recompute).lower()
        )
        prompt, completion, count = (48, 16, 2) if report.smoke else (3072, 1024, 8)
        batch = samples(count, prompt, completion)
        made.step(batch[: max(1, budget // (prompt + completion))])
        clean()
        wait()
        began = time.perf_counter()
        figures = made.step(batch)
        wait()
        spent = time.perf_counter() - began
        trained = count * (prompt + completion - 1)
        operations = (6 if recompute else 4) * SHAPES[shape].body_weights * trained
        operations += 8 * SHAPES[shape].head_weights * count * completion
        report[f"{shape} micro={budget} recompute={recompute}"] = {
            "tok/s": round(trained / spent),
            "mfu": round(operations / spent / BF16_PEAK, 3),
            "peak_gib": peak_gib(),
            "seconds": round(spent, 2),
            "grad_norm": figures["loss/grad_norm"],
        }
        del made


def parity(report: Report) -> None:
    """Engine (batched, with a cache) against learner in bfloat16: mean and largest gap, by temperature and kernel.

    And what an adapter that was not swapped looks like, beside the canary's bound.
    """
    from memrl.engines.canary import BOUND, mean_gap

    report["bound"] = BOUND["bfloat16"]
    shape, lengths, new = (
        report.shape("0.6b"),
        (5, 20) if report.smoke else (30, 300, 900, 1500),
        4 if report.smoke else 64,
    )
    for temperature, attention in ((1.0, "sdpa"), (1.0, "eager"), (0.7, "sdpa"), (0.7, "eager")):
        clean()
        sampler = TransformersEngine(build(shape, attention=attention), NEVER, max_batch=64)
        prompts = [tokens(length, length) for length in lengths]
        done: list[Completion] = asyncio.run(_generate(sampler, prompts, Sampling(new, temperature, 0), None))
        made = _learner(build(shape), rollout__temperature=temperature, train__lr=1e-5)
        sampled = [Sample(prompt, one.ids, one.logprobs, 1.0, 0) for prompt, one in zip(prompts, done, strict=True)]
        scored = made.logprobs(sampled)
        gaps = [
            abs(a - b) for row, one in zip(scored, sampled, strict=True) for a, b in zip(row, one.logprobs, strict=True)
        ]
        report[f"T={temperature} {attention}"] = {
            "mean": sum(gaps) / len(gaps),
            "max": max(gaps),
            "mean_logprob": sum(map(sum, scored)) / len(gaps),
        }
        if (temperature, attention) == (1.0, "sdpa"):
            before = made.logprobs(sampled[:1], temperature=1.0)[0]
            worse = Sample(sampled[0].prompt_ids, sampled[0].completion_ids, sampled[0].logprobs, -0.5, 0)
            for _ in range(3):
                made.step([*sampled, worse])
            after = made.logprobs(sampled[:1], temperature=1.0)[0]
            report["stale adapter, 3 updates at 1e-5, seen as"] = mean_gap(before, after)
        del sampler, made


def limits(report: Report) -> None:
    """Memory for qwen3-0.6b.yaml's own batch: 64 prompts of up to 6144 tokens on the transformers engine."""
    for batch, prompt in ((2, 32),) if report.smoke else ((64, 2048), (64, 4096), (64, 6144)):
        clean()
        name = f"B={batch} prompt={prompt}"
        sampler = TransformersEngine(build(report.shape("0.6b")), NEVER, max_batch=64)
        began = time.perf_counter()
        try:
            asyncio.run(_generate(sampler, [tokens(prompt, k) for k in range(batch)], Sampling(8, 1.0, 0), None))
            wait()
            report[name] = {"seconds": round(time.perf_counter() - began, 1), "peak_gib": peak_gib()}
        except Exception as error:  # out of memory is a finding here
            report[name] = {"failed": f"{type(error).__name__}: {str(error)[:200]}", "peak_gib": peak_gib()}
        del sampler


def shard(report: Report) -> None:
    """One step of train.parallel=fsdp in one process on NCCL: the same model, whole and spread.

    The model is built once and copied, and the adapter is copied too: a CPU and a GPU draw other numbers from one seed.
    """
    import torch.distributed as dist

    from memrl.learner.build import build_learner
    from memrl.learner.members import ShardMembers

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "1"}
    dist.init_process_group("nccl" if CUDA else "gloo", rank=0, world_size=1)
    try:
        config = settings(train__micro_batch_tokens=4096, train__gradient_checkpointing="true")
        model = build(report.shape("0.6b"))
        on_cpu = copy.deepcopy(model).cpu()  # as learner processes get it
        spread = build_learner(config, 10, ShardMembers(DEVICE), model=on_cpu)
        whole = build_learner(config, 10, model=model)
        spread.restore(whole.state(), "the whole learner's state")
        batch = samples(6, 200, 100)
        report["logprob_gap_before"] = largest_gap(whole.logprobs(batch[:1])[0], spread.logprobs(batch[:1])[0])
        report["grad_norm_whole"] = whole.step(batch)["loss/grad_norm"]
        report["grad_norm_fsdp"] = spread.step(batch)["loss/grad_norm"]
        report["logprob_gap_after"] = largest_gap(whole.logprobs(batch[:1])[0], spread.logprobs(batch[:1])[0])
        report["peak_gib"] = peak_gib()
    finally:
        dist.destroy_process_group()


def repeat(report: Report) -> None:
    """Two learner steps of one seed, twice: equal to the bit, or how far apart on this card."""
    found = []
    for _ in range(2):
        clean()
        made = _learner(build(report.shape("0.6b")), train__micro_batch_tokens=4096, train__lr=1e-4)
        batch = samples(6, 200, 100)
        made.step(batch)
        made.step(batch)
        found.append(made.logprobs(batch[:1])[0])
        del made
    report["largest_difference"] = largest_gap(*found)


STAGES: dict[str, Callable[[Report], None]] = {
    stage.__name__: stage
    for stage in (environment, imports, loop, tiny, parity, shard, repeat, learner, engine, limits)
}


def main() -> int:
    """Run one stage."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("stage", choices=list(STAGES))
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    parser.add_argument("--smoke", action="store_true")
    arguments = parser.parse_args()
    report = Report(arguments.out, arguments.smoke)
    try:
        STAGES[arguments.stage](report)
    except Exception as error:
        traceback.print_exc()
        report["error"] = f"{type(error).__name__}: {str(error)[:600]}"
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
