"""`memrl eval`: a policy against baselines, on the same streams, with the same reader and budgets.

Each (suite, method, stream) is measured once and written down at once, so that an evaluation that was stopped goes on,
and what failed is measured again alone. Everything else is computed from these records.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from memrl.config import Config, JudgeConfig, ReaderConfig
from memrl.config.identity import decisive, differences, set_keys
from memrl.engines.build import open_engine
from memrl.engines.engine import Place
from memrl.engines.models import load_tokenizer
from memrl.envs.stream import Stream
from memrl.errors import ConfigError, DataError, InfrastructureError
from memrl.evaluation.baselines import BASELINES
from memrl.evaluation.baselines.dense import load_embedder
from memrl.evaluation.suites import Suite, open_suite, set_of
from memrl.policies.policy import POLICY, UNTRAINED, Policy
from memrl.records import AnswerRecord
from memrl.rollout.build import open_worker
from memrl.rollout.worker import RolloutWorker, episode_seed
from memrl.storage.files import write_json_atomic
from memrl.storage.formats import check_format, stamp
from memrl.storage.rundir import EVALUATION_FILE, JsonLines

METHODS = (POLICY, UNTRAINED, *BASELINES)
Phase = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


class Measured(BaseModel):
    """One method on one stream."""

    model_config = ConfigDict(frozen=True)

    suite: str
    method: str
    stream: str
    """What the suite calls it: its id and a digest of its content."""
    set_name: str
    """The set of the suite that the stream is of."""
    chunks: int
    answers: list[AnswerRecord] = []
    memory_tokens: int = 0
    chunk_tokens: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of what the method generated; the reader's stand in the answers."""
    seconds: float = 0.0
    """While others were measured beside it."""
    failure: str = ""
    """What prevented it; it is measured again when the evaluation is repeated."""


@dataclass(frozen=True)
class Plan:
    """The plan of an evaluation: what is measured.

    Args:
        suites: as `open_suite` takes them.
        methods: names in METHODS.
        out: where records go; what is there is not measured again.
        streams: most streams of a suite, for each seed.
        seeds: of the suites' sources; None: the config's `eval.seed`.
        overrides: `key=value` settings in place of the policy's.
    """

    suites: Sequence[str]
    methods: Sequence[str]
    out: Path
    streams: int = 64
    seeds: Sequence[int] | None = None
    overrides: Sequence[str] = ()


def evaluate(policy: Policy, plan: Plan, phase: Phase) -> tuple[Config, list[Measured]]:
    """Measure every method on every suite, but for what `plan.out` holds already.

    Args:
        phase: shows progress.

    Raises:
        ConfigError: no suite or method of that name, or one that this policy cannot have; or `out` holds another
            evaluation.
        DataError: a suite's data is wrong.
        EngineError: the model, or the server that has it, failed at once.
    """
    for name in plan.methods:
        if name not in METHODS:
            raise ConfigError(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
        if name == UNTRAINED and name not in policy.adapters:
            raise ConfigError(f"what {policy.name} was before training is not known: leave {UNTRAINED} out.")
    config = policy.configured(plan.overrides)
    if "dense" in plan.methods:
        load_embedder(config.eval.embedder)
    seeds = plan.seeds or [config.eval.seed]
    opened = [open_suite(words, config.data, plan.streams, seeds) for words in plan.suites]
    configs = [policy.configured([*plan.overrides, *suite.settings]) for suite in opened]
    _claim(plan, config, policy, seeds)
    tokenizer = load_tokenizer(config.model)
    engine = open_engine(config, tokenizer, policy.served)

    async def measure() -> list[Measured]:
        found: list[Measured] = []
        try:
            for ref in {ref.name: ref for ref in policy.adapters.values() if ref is not None}.values():
                await engine.load_adapter(ref)
            for suite, settings in zip(opened, configs, strict=True):
                worker = open_worker(settings, engine, tokenizer)
                await worker.check_judge()
                for method in plan.methods:
                    with phase(f"{suite.name}: {method}", len(suite.streams)) as advance:
                        found += await _suite(worker, settings, suite, method, policy, plan.out, advance)
        finally:
            engine.close()
        return found

    return config, asyncio.run(measure())


def _claim(plan: Plan, config: Config, policy: Policy, seeds: Sequence[int]) -> None:
    """Refuse a folder with records of something else: of another policy, other streams, or other decisive settings.

    A policy is known by its content where it has a manifest, so one that was moved is the same.
    """
    mine = {
        **stamp("evaluation"),
        "policy": policy.name,
        "manifest": policy.manifest,
        "streams": plan.streams,
        "seeds": list(seeds),
        "settings": decisive(config, training=False),
        "set": set_keys(config),
        "reader": reader_name(config),
        "judge": judge_name(config),
    }
    file = plan.out / EVALUATION_FILE
    if file.is_file():
        other = json.loads(file.read_text(encoding="utf-8"))
        if check_format("evaluation", other, plan.out) == 0:
            raise ConfigError(
                f"{plan.out} holds an evaluation of an earlier version of memrl, which did not keep its settings: "
                "whether this is the same cannot be told. Give another --out; `memrl eval compare` reads the old one."
            )
        known_by = "policy" if None in (policy.manifest, other["manifest"]) else "manifest"
        changed = [f"another {name}" for name in (known_by, "streams", "seeds") if other[name] != mine[name]]
        changed += differences(other["settings"], config, set_then=other["set"], training=False).values()
        if changed:
            raise ConfigError(f"{plan.out} holds another evaluation ({'; '.join(changed)}); give another --out.")
    write_json_atomic(file, mine)


def reader_name(config: Config) -> str:
    """Return who reads, which is part of what a score means."""
    return _named(config, config.reader)


def judge_name(config: Config) -> str | None:
    """Return who judges, where anybody does."""
    return None if config.judge.type == "none" else _named(config, config.judge)


def _named(config: Config, who: ReaderConfig | JudgeConfig) -> str:
    if who.type == "policy-base":
        return f"policy-base ({config.model.path})"
    return str(who.endpoint.model) if who.type == "endpoint" else who.type


async def _suite(
    worker: RolloutWorker,
    settings: Config,
    suite: Suite,
    method: str,
    policy: Policy,
    out: Path,
    advance: Callable[[], None],
) -> list[Measured]:
    slug = re.sub(r"[^\w.=-]+", "-", suite.name).strip("-")
    file = JsonLines(out / "answers" / slug / f"{method}.jsonl")
    file.path.parent.mkdir(parents=True, exist_ok=True)
    known = {one.stream: one for one in read_records(file) if not one.failure}
    slots = asyncio.Semaphore(worker.rollout.max_batch)

    async def one(number: int, name: str, stream: Stream) -> Measured:
        if name not in known:
            whose = {"suite": suite.name, "method": method, "stream": name, "set_name": set_of(stream)}
            async with slots:
                known[name] = await _measure(worker, settings, whose, policy, number, stream)
            file.append(known[name].model_dump(mode="json"))
        advance()
        return known[name]

    streams = enumerate(suite.streams.items())
    return list(await asyncio.gather(*(one(number, name, stream) for number, (name, stream) in streams)))


def read_records(file: JsonLines) -> list[Measured]:
    """The records of a file, of which a later one counts.

    Raises:
        DataError: it is damaged.
    """
    try:
        return [Measured.model_validate(row) for row in file.rows()]
    except ValueError as error:
        why = " ".join(str(error).split())[:200]
        raise DataError(f"{file.path} is damaged ({why}); remove it to have its streams measured again.") from error


async def _measure(
    worker: RolloutWorker, settings: Config, whose: dict[str, str], policy: Policy, number: int, stream: Stream
) -> Measured:
    began = time.monotonic()
    try:
        found = await _play(worker, settings, whose["method"], policy, number, stream)
    except InfrastructureError as error:
        return Measured(**whose, chunks=len(stream.chunks), failure=f"{type(error).__name__}: {error}")
    return Measured(
        **whose,
        **found,
        chunks=len(stream.chunks),
        chunk_tokens=sum(worker.prompter.count_tokens(chunk.text) for chunk in stream.chunks),
        seconds=time.monotonic() - began,
    )


async def _play(
    worker: RolloutWorker, settings: Config, method: str, policy: Policy, number: int, stream: Stream
) -> dict[str, Any]:
    place = Place(Place.EVALUATION, number)
    if method in policy.adapters:
        seed = episode_seed(settings.seed, place)
        episode = await worker.play(stream, seed=seed, adapter=policy.adapters[method], place=place, temperature=0.0)
        return {
            "answers": episode.answers,
            "memory_tokens": episode.memory_tokens,
            "prompt_tokens": sum(len(step.prompt_ids) for step in episode.steps),
            "completion_tokens": sum(len(step.completion.ids) for step in episode.steps),
        }
    kept = await BASELINES[method](worker, settings.eval).read(stream, place)
    answers = await worker.ask_all(stream, kept.memory, place.at(len(stream.chunks)))
    return {
        "answers": answers,
        "memory_tokens": kept.memory.token_count(),
        "prompt_tokens": kept.prompt_tokens,
        "completion_tokens": kept.completion_tokens,
    }
