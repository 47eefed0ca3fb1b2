"""Speed as ratios: what a part of the pipeline costs beside what one would write or take instead.

    .venv/bin/python benchmarks/speed.py --pairs 5 --json benchmarks/results/speed.json

Each pair runs both sides one after the other in this process, on one thread unless OMP_NUM_THREADS says otherwise; a
ratio is of CPU time, and the median over the pairs. Prints JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import platform
import random
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from transformers import DynamicCache
from transformers.utils.logging import disable_progress_bar, set_verbosity_error

from memrl.config import Config, load_config
from memrl.data.feed import StreamFeed
from memrl.engines.models import end_ids, load_model, load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.envs.stream import Stream
from memrl.frozen.reader import reader_messages
from memrl.learner.build import build_learner
from memrl.learner.learner import Learner
from memrl.learner.lora import wrap_lora
from memrl.records import AdapterRef, Sample
from memrl.rollout.build import build_worker
from memrl.rollout.environment import new_env, new_memory
from memrl.rollout.pool import InProcessPool

Side = Callable[[], object]


def measured(work: Side) -> tuple[float, float]:
    """Return the CPU and the wall seconds that `work` takes."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def compare(name: str, ours: Side, other: Side, against: str, *, pairs: int, aim: float) -> dict[str, Any]:
    """Return a row: how many times the CPU time of `ours` the `other` takes."""
    ours(), other()  # what is made once
    found = []
    for number in range(pairs):
        sides = (("ours", ours), ("other", other)) if number % 2 else (("other", other), ("ours", ours))
        found.append({side: measured(work) for side, work in sides})
    ratios = sorted(pair["other"][0] / pair["ours"][0] for pair in found)
    ratio = statistics.median(ratios)
    return {
        "name": name,
        "against": against,
        "ours": round(statistics.median(pair["ours"][0] for pair in found), 3),
        "other": round(statistics.median(pair["other"][0] for pair in found), 3),
        "ours_wall": round(statistics.median(pair["ours"][1] for pair in found), 3),
        "other_wall": round(statistics.median(pair["other"][1] for pair in found), 3),
        "ratio": round(ratio, 2),
        "range": [round(ratios[0], 2), round(ratios[-1], 2)],
        "aim": aim,
        "met": ratio >= aim,
        "pairs": pairs,
    }


class Lockstep:
    """The agent loop as one would write it: all episodes of a step read a chunk together by `generate`, then all
    questions are answered by it."""

    def __init__(self, config: Config, adapter: AdapterRef) -> None:
        from peft import PeftModel

        self.config = config
        tokenizer = load_tokenizer(config.model)
        self.ends = end_ids(config.model, tokenizer)
        self.prompter = open_prompter(tokenizer, config.rollout.dialect)
        self.model = PeftModel.from_pretrained(load_model(config.model), adapter.path).eval()

    @torch.no_grad()
    def generate(self, prompts: list[list[int]], most: int, **how: Any) -> list[list[int]]:
        """The completions of a batch, padded on the left."""
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + prompt for prompt in prompts])
        mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        made = self.model.generate(
            input_ids=ids,
            attention_mask=mask,
            max_new_tokens=most,
            eos_token_id=self.ends,
            pad_token_id=0,
            past_key_values=DynamicCache(config=self.model.config),
            **how,
        )
        return [row[longest:].tolist() for row in made]

    def play(self, streams: list[Stream]) -> int:
        """Play a group of each stream; returns the number of answers."""
        config = self.config
        many = [stream for stream in streams for _ in range(config.train.group_size)]
        memories = [new_memory(config.memory, self.prompter) for _ in many]
        envs = [
            new_env(config.memory, config.rollout, self.prompter, stream, memory)
            for stream, memory in zip(many, memories, strict=True)
        ]
        while not envs[0].done:
            seen = [env.observe() for env in envs]
            prompts = [self.prompter.encode(observation.messages, observation.tools) for observation in seen]
            heat = {"do_sample": True, "temperature": config.rollout.temperature, "top_k": 0}
            for env, ids in zip(
                envs, self.generate(prompts, config.rollout.max_completion_tokens, **heat), strict=True
            ):
                env.step(self.prompter.decode(ids))
        asked = []
        for stream, memory in zip(many, memories, strict=True):
            for question in stream.questions:
                view = memory.retrieve(question.text, config.memory.retrieve_budget)
                asked.append(self.prompter.encode(reader_messages(question.text, view, config.reader)))
        answers = 0
        with self.model.disable_adapter():
            for start in range(0, len(asked), config.rollout.max_batch):
                part = asked[start : start + config.rollout.max_batch]
                made = self.generate(part, config.reader.max_tokens, do_sample=False)
                answers += len([self.prompter.decode(ids) for ids in made])
        return answers


@contextmanager
def trained() -> Iterator[tuple[Config, AdapterRef, list[Stream], list[Sample]]]:
    """The embedded model after two steps of the default run, fresh streams, and the samples of one step."""
    from rich.console import Console

    from memrl.training.trainer import Trainer

    with TemporaryDirectory() as folder:
        config = load_config("tiny", ["train.steps=2", "eval.streams=8", "eval.every=0", f"run.dir={folder}/run"])
        trainer = Trainer(config, name="speed", resume=False, console=Console(quiet=True))
        trainer.run()
        ref = AdapterRef(version=2, name="v00002", path=f"{folder}/run/adapters/v00002")
        episodes = [e for step in (2,) for e in trainer.state.episode_files.read(step)]
        rng = random.Random(0)
        samples = [
            Sample(step.prompt_ids, step.completion.ids, step.completion.logprobs, rng.gauss(0, 1), 2)
            for episode in episodes
            for step in episode.steps
        ]
        streams = StreamFeed(config.data.train, config.data.path, 99).take(config.train.streams_per_step)
        yield config, ref, streams, samples


def rollout(pairs: int) -> dict[str, Any]:
    """A step's episodes, rewards included, against lockstep `generate` without them."""
    with trained() as (config, ref, streams, _):
        pool = InProcessPool(build_worker(config), group_size=config.train.group_size, seed=0)
        pool.load_adapter(ref)
        lockstep = Lockstep(config, ref)
        steps = iter(range(10**6))

        def ours() -> object:
            return pool.run(pool.play_groups(streams, ref, step=next(steps), first=0))

        row = compare(
            "rollout, a step of tiny", ours, lambda: lockstep.play(streams), "lockstep generate", pairs=pairs, aim=3.0
        )
        pool.close()
        return row


def learner(pairs: int) -> dict[str, Any]:
    """A step of the learner with what samples share read once, against each sample by itself."""
    with trained() as (config, _, _, samples):
        both = []
        for shared in (True, False):
            config.train.share_prefixes = shared
            both.append(build_learner(config, 10_000))
        row = compare(
            "learner, a step of tiny",
            lambda: both[0].step(samples),
            lambda: both[1].step(samples),
            "the same, sample by sample",
            pairs=pairs,
            aim=1.4,
        )
        tokens = [made.step(samples)["tokens/learner_padded"] for made in both]
        return row | {"tokens": dict(zip(("ours", "other"), tokens, strict=True))}


class TrlLearner:
    """TRL's `GRPOTrainer` on samples that are there already: its loss, micro-batches of 16 rows, padded as it pads them
    (all of a step to one length), and its optimizer's step."""

    ROWS = 16

    def __init__(self, config: Config, samples: list[Sample], folder: str) -> None:
        from datasets import Dataset
        from trl import GRPOConfig, GRPOTrainer

        self.samples, self.limit = samples, config.train.max_grad_norm
        self.passes = len(samples) // self.ROWS
        arguments = GRPOConfig(
            output_dir=folder,
            per_device_train_batch_size=self.ROWS,
            gradient_accumulation_steps=self.passes,
            num_generations=2,
            max_completion_length=config.rollout.max_completion_tokens,
            temperature=config.rollout.temperature,
            epsilon=config.loss.clip_low,
            epsilon_high=config.loss.clip_high,
            loss_type="grpo",
            beta=0.0,
            gradient_checkpointing=False,
            use_cpu=True,
            bf16=False,
            report_to="none",
        )
        self.trainer = GRPOTrainer(
            model=wrap_lora(load_model(config.model), config.model.lora, config.seed),
            reward_funcs=lambda completions, **_: [0.0] * len(completions),
            args=arguments,
            train_dataset=Dataset.from_dict({"prompt": ["."] * self.ROWS}),
            processing_class=load_tokenizer(config.model),
        )
        self.trainer.current_gradient_accumulation_steps = self.passes
        self.trainer.model.train()
        self.trainable = [parameter for parameter in self.trainer.model.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trainable, lr=config.train.lr)

    def padded(self) -> dict[str, torch.Tensor]:
        """The step's samples, prompts padded on the left, completions on the right."""
        prompts, completions = [s.prompt_ids for s in self.samples], [s.completion_ids for s in self.samples]
        before, behind = max(map(len, prompts)), max(map(len, completions))
        return {
            "prompt_ids": torch.tensor([[0] * (before - len(ids)) + ids for ids in prompts]),
            "prompt_mask": torch.tensor([[0] * (before - len(ids)) + [1] * len(ids) for ids in prompts]),
            "completion_ids": torch.tensor([ids + [0] * (behind - len(ids)) for ids in completions]),
            "completion_mask": torch.tensor([[1] * len(ids) + [0] * (behind - len(ids)) for ids in completions]),
            "advantages": torch.tensor([s.advantage for s in self.samples]),
        }

    def accumulate(self) -> None:
        """Add up the gradient of one step."""
        whole = self.padded()
        for number in range(self.passes):
            part = {name: rows[number * self.ROWS : (number + 1) * self.ROWS] for name, rows in whole.items()}
            self.trainer.compute_loss(self.trainer.model, part).backward()

    def step(self) -> None:
        """Learn one step."""
        self.accumulate()
        torch.nn.utils.clip_grad_norm_(self.trainable, self.limit)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)


def trl(pairs: int) -> dict[str, Any]:
    """A step of the learner, one update, against `GRPOTrainer` on the same samples; how far gradients differ."""
    with trained() as (config, _, _, samples), TemporaryDirectory() as folder:
        config.train.updates_per_step, config.loss.importance_cap, config.loss.type = 1, 0.0, "grpo"
        samples = samples[: len(samples) // TrlLearner.ROWS * TrlLearner.ROWS]
        ours, theirs = build_learner(config, 10_000), TrlLearner(config, samples, folder)
        difference = _difference(ours, theirs)
        row = compare(
            "learner, one update of tiny's samples", lambda: ours.step(samples), theirs.step, "trl.GRPOTrainer",
            pairs=pairs, aim=5.0,
        )  # fmt: skip
        return row | {"gradient_difference": difference}


def _difference(ours: Learner, theirs: TrlLearner) -> float:
    """Return how far the gradients of a step lie apart, as a share of the longer one."""
    theirs.accumulate()
    expected = torch.cat([parameter.grad.flatten() for parameter in theirs.trainable])
    theirs.optimizer.zero_grad(set_to_none=True)
    found: list[torch.Tensor] = []

    def look(*_: Any) -> None:
        found.append(torch.cat([parameter.grad.flatten() for parameter in ours.trainable]))

    handle = ours.optimizer.register_step_pre_hook(look)
    limit, ours.train.max_grad_norm = ours.train.max_grad_norm, 0.0
    ours.step(theirs.samples)
    ours.train.max_grad_norm = limit
    handle.remove()
    return float((found[0] - expected).norm() / expected.norm())


def questions(pairs: int) -> dict[str, Any]:
    """100 questions over one memory together, against one request after another."""
    config = load_config("tiny", ["memory.budget=400", "memory.retrieve_budget=200"])
    worker = build_worker(config)
    stream = StreamFeed(config.data.train, config.data.path, 5).take(1)[0]
    memory = worker.new_memory()
    for number, chunk in enumerate(stream.chunks):
        arguments = {"memory_type": "semantic", "content": f"{number}: {chunk.text[:80]}"}
        memory.execute(_call(arguments))
    asked = [question for _ in range(100) for question in stream.questions][:100]
    asked = [question.model_copy(update={"text": f"{question.text} {n}"}) for n, question in enumerate(asked)]

    def together() -> object:
        async def play() -> list[Any]:
            return await asyncio.gather(*(worker.ask(stream.source, question, memory, _place()) for question in asked))

        return asyncio.run(play())

    def one_by_one() -> object:
        async def play() -> list[Any]:
            return [await worker.ask(stream.source, question, memory, _place()) for question in asked]

        return asyncio.run(play())

    return compare("100 questions over one memory", together, one_by_one, "one request each", pairs=pairs, aim=8.0)


def _call(arguments: dict[str, Any]) -> Any:
    from memrl.envs.tools import ToolCall

    return ToolCall(name="memory_insert", arguments=arguments)


def _place() -> Any:
    from memrl.engines.engine import ANYWHERE

    return ANYWHERE


BENCHMARKS = {"rollout": rollout, "learner": learner, "trl": trl, "questions": questions}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5, help="of each ratio")
    parser.add_argument("--only", nargs="+", choices=sorted(BENCHMARKS), default=list(BENCHMARKS))
    parser.add_argument("--json", type=Path, help="write the result there too")
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    disable_progress_bar(), set_verbosity_error()
    result = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, load "
        f"{os.getloadavg()[0]:.1f}",
        "date": date.today().isoformat(),
        "results": [BENCHMARKS[name](arguments.pairs) for name in arguments.only],
    }
    text = json.dumps(result, indent=2)
    print(text)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
