"""`memrl eval`: a policy against baselines, on the same streams, with the same reader and budgets.

Each (suite, method, stream) is measured once and written down at once, so that an evaluation that was stopped goes on,
and what failed is measured again alone. Everything else is computed from these records.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
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
from memrl.evaluation.baselines import BASELINES, EMBEDDED, HELD
from memrl.evaluation.baselines.retrieved import load_embedder
from memrl.evaluation.budgets import at_share, check_free
from memrl.evaluation.suites import Suite, open_suite, set_of
from memrl.policies.policy import POLICY, UNTRAINED, Policy
from memrl.records import AdapterRef, AnswerRecord, Step
from memrl.report.causes import Reading, causes_of
from memrl.rollout.build import for_other_processes, open_pool, open_worker
from memrl.rollout.pool import InProcessPool, Pool
from memrl.rollout.worker import RolloutWorker, episode_seed
from memrl.storage.files import write_json_atomic
from memrl.storage.formats import check_format, stamp
from memrl.storage.rundir import EVALUATION_FILE, JsonLines

log = logging.getLogger(__name__)
LONGEST_ITEM = 2_000
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
    budget: float | None = None
    """Share of the text that the memory may hold; None: as the settings say. Records of methods in HELD have none."""
    answers: list[AnswerRecord] = []
    causes: dict[str, str] = {}
    """Question id -> why its answer is wrong (`memrl.report.causes`), of the answers that are; of a baseline as far as
    its final memory tells. None in records of versions that did not tell."""
    items: dict[str, str] = {}
    """Item id -> text, cut at LONGEST_ITEM characters, of the items that some question's reader was shown."""
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
        budgets: shares of each stream's text that a memory may hold, each measured; none: `memory.budget` alone.
    """

    suites: Sequence[str]
    methods: Sequence[str]
    out: Path
    streams: int = 64
    seeds: Sequence[int] | None = None
    overrides: Sequence[str] = ()
    budgets: Sequence[Fraction] = ()

    def cells(self) -> list[tuple[str, Fraction | None]]:
        """Return each method with each budget at which it is measured; None: as the settings say, or whatever it is."""
        return [
            (method, share)
            for method in self.methods
            for share in ([None] if method in HELD or not self.budgets else self.budgets)
        ]


@dataclass(frozen=True)
class Evaluated:
    """The records of an evaluation, and what they are of."""

    config: Config
    suites: list[Suite]
    measured: list[Measured]


def evaluate(policy: Policy, plan: Plan, phase: Phase) -> Evaluated:
    """Measure every method on every suite, but for what `plan.out` holds already.

    Args:
        phase: shows progress.

    Raises:
        ConfigError: no suite or method of that name, or one that this policy cannot have; `out` holds another
            evaluation; or settings say a budget beside the plan's.
        DataError: a suite's data is wrong.
        EngineError: the model, or the server that has it, failed at once; or no Ray worker came up.
    """
    for name in plan.methods:
        if name not in METHODS:
            raise ConfigError(f"unknown method {name!r}; choose from {', '.join(METHODS)}")
        if name == UNTRAINED and name not in policy.adapters:
            raise ConfigError(f"what {policy.name} was before training is not known: leave {UNTRAINED} out.")
    if plan.budgets:
        check_free(plan.suites, plan.overrides)
    config = policy.configured(plan.overrides)
    if any(name in EMBEDDED for name in plan.methods):
        load_embedder(config.eval.embedder)
    seeds = plan.seeds or [config.eval.seed]
    suites = [open_suite(words, config.data, plan.streams, seeds) for words in plan.suites]
    configs = [for_other_processes(policy.configured([*plan.overrides, *suite.settings])) for suite in suites]
    _claim(plan, config, policy, seeds)
    pool = _open_pool(config, policy)
    try:
        adapters = [policy.adapters[name] for name in plan.methods if name in policy.adapters]
        for ref in {ref.name: ref for ref in adapters if ref is not None}.values():
            pool.load_adapter(ref)

        async def measure() -> list[Measured]:
            found: list[Measured] = []
            for suite, settings in zip(suites, configs, strict=True):
                await pool.work(JudgeCheck(settings), None)
                for method, share in plan.cells():
                    at = "" if share is None else f" at {share}"
                    with phase(f"{suite.name}: {method}{at}", len(suite.streams)) as advance:
                        mine = await _suite(pool, settings, suite, method, share, policy, plan.out, advance)
                    held = HELD.get(method, share) if plan.budgets else None
                    found += [one.model_copy(update={"budget": None if held is None else float(held)}) for one in mine]
            return found

        return Evaluated(config, suites, pool.run(measure()))
    finally:
        pool.close()


def _open_pool(config: Config, policy: Policy) -> Pool:
    """The pool that measures: the workers of `rollout.workers`; where a server generates, one in this process."""
    if policy.served is None:
        return open_pool(config)
    if config.rollout.workers:
        log.warning("a server generates: its requests are made in this process, and rollout.workers does not count")
    tokenizer = load_tokenizer(config.model)
    worker = open_worker(config, open_engine(config, tokenizer, policy.served), tokenizer)
    return InProcessPool(worker, group_size=config.train.group_size, seed=config.seed)


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
    pool: Pool,
    settings: Config,
    suite: Suite,
    method: str,
    share: Fraction | None,
    policy: Policy,
    out: Path,
    advance: Callable[[], None],
) -> list[Measured]:
    slug = re.sub(r"[^\w.=-]+", "-", suite.name).strip("-")
    at = "" if share is None else f"@{share.numerator}-{share.denominator}"
    file = JsonLines(out / "answers" / slug / f"{method}{at}.jsonl")
    file.path.parent.mkdir(parents=True, exist_ok=True)
    known = {one.stream: one for one in read_records(file) if not one.failure}
    slots = asyncio.Semaphore(settings.rollout.max_batch * max(1, settings.rollout.workers))
    adapter = policy.adapters.get(method)

    async def one(number: int, name: str, stream: Stream) -> Measured:
        if name not in known:
            whose: dict[str, Any] = {"suite": suite.name, "method": method, "stream": name, "set_name": set_of(stream)}
            whose |= {} if share is None else {"budget": float(share)}
            errand = Measurement(method, settings, stream, number, plays=method in policy.adapters, share=share)
            async with slots:
                known[name] = await _measured(pool, errand, adapter, whose)
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


async def _measured(pool: Pool, errand: Measurement, adapter: AdapterRef | None, whose: dict[str, Any]) -> Measured:
    chunks = len(errand.stream.chunks)
    try:
        found = await pool.work(errand, adapter)
    except InfrastructureError as error:
        return Measured(**whose, chunks=chunks, failure=f"{type(error).__name__}: {error}")
    return Measured(**whose, **found, chunks=chunks)


def _under(settings: Config, worker: RolloutWorker) -> RolloutWorker:
    """The worker of a suite's settings, on the engine of one of the pool's."""
    build = partial(open_worker, settings, worker.engine, worker.prompter.tokenizer)
    return worker.beside(repr(settings), build)


@dataclass(frozen=True)
class JudgeCheck:
    """A look at the judge of a suite's settings, as a worker of the pool is given it."""

    settings: Config

    async def __call__(self, worker: RolloutWorker, adapter: AdapterRef | None) -> None:
        """Have the judge grade its canaries.

        Raises:
            JudgeError: it failed one.
        """
        await _under(self.settings, worker).check_judge()


@dataclass(frozen=True)
class Measurement:
    """One method on one stream, as a worker of the pool is given it."""

    method: str
    settings: Config
    stream: Stream
    number: int
    """Of the stream in its suite."""
    plays: bool
    """The method writes its memory by the policy's own calls; else it is a baseline."""
    share: Fraction | None = None
    """Of the stream's text, what the memory may hold; None: `memory.budget`."""

    async def __call__(self, worker: RolloutWorker, adapter: AdapterRef | None) -> dict[str, Any]:
        """Return the fields of `Measured` that are found out.

        Raises:
            InfrastructureError: the engine, the reader or the judge failed.
        """
        began = time.monotonic()
        worker = _under(self.settings, worker)
        chunk_tokens = sum(worker.prompter.count_tokens(chunk.text) for chunk in self.stream.chunks)
        if self.share is not None:
            worker = worker.holding(at_share(worker.memory, self.share, chunk_tokens))
        found = await (self._play(worker, adapter) if self.plays else self._baseline(worker))
        return {**found, "chunk_tokens": chunk_tokens, "seconds": time.monotonic() - began}

    async def _play(self, worker: RolloutWorker, adapter: AdapterRef | None) -> dict[str, Any]:
        place = Place(Place.EVALUATION, self.number)
        seed = episode_seed(self.settings.seed, place)
        episode = await worker.play(self.stream, seed=seed, adapter=adapter, place=place, temperature=0.0)
        return {
            "answers": episode.answers,
            **self._explained(episode.answers, episode.steps, episode.memory),
            "memory_tokens": episode.memory_tokens,
            "prompt_tokens": sum(len(prompt_ids) for step in episode.steps for prompt_ids, _ in step.in_turns()),
            "completion_tokens": sum(len(said.ids) for step in episode.steps for said in step.completions),
        }

    async def _baseline(self, worker: RolloutWorker) -> dict[str, Any]:
        place = Place(Place.EVALUATION, self.number)
        kept = await BASELINES[self.method](worker, self.settings.eval).read(self.stream, place)
        answers = await worker.ask_all(self.stream, kept.memory, place.at(len(self.stream.chunks)))
        return {
            "answers": answers,
            **self._explained(answers, [], kept.memory.snapshot()),
            "memory_tokens": kept.memory.token_count(),
            "prompt_tokens": kept.prompt_tokens,
            "completion_tokens": kept.completion_tokens,
        }

    def _explained(self, answers: list[AnswerRecord], steps: list[Step], memory: dict[str, Any]) -> dict[str, Any]:
        """The causes of wrong answers, and the texts that the reader was shown."""
        reading = Reading(self.stream.chunks, steps, memory)
        shown = {item for answer in answers for item in answer.retrieved}
        return {
            "causes": {question: why.cause.value for question, why in causes_of(answers, reading).items()},
            "items": {
                item: str(held["content"])[:LONGEST_ITEM] for item, held in reading.items.items() if item in shown
            },
        }
