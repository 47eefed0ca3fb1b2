"""`memrl eval`: a trained policy against baselines, on the same streams, with the same reader and budgets.

Each (suite, method, stream) is measured once and written down at once, so that an evaluation that was stopped goes on,
and what failed is measured again alone. Everything else is computed from these records.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from pydantic import BaseModel, ConfigDict

from envs.stream import Stream
from memrl.config import Config, JudgeConfig, ReaderConfig, load_config
from memrl.errors import ConfigError, DataError, InfrastructureError
from memrl.evaluation.baselines import BASELINES
from memrl.evaluation.suites import Suite, open_suite
from memrl.files import write_json_atomic
from memrl.models import end_ids, load_tokenizer
from memrl.records import AdapterRef, AnswerRecord
from memrl.rollout.build import build_engine
from memrl.rollout.worker import RolloutWorker, request_seed
from memrl.rundir import CONFIG_FILE, JsonLines, find_adapter

POLICY, UNTRAINED = "policy", "untrained"
METHODS = (POLICY, UNTRAINED, *BASELINES)
IDENTITY = "evaluation.json"
Phase = Callable[[str, int], AbstractContextManager[Callable[[], None]]]


class Measured(BaseModel):
    """One method on one stream."""

    model_config = ConfigDict(frozen=True)

    suite: str
    method: str
    stream: str
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


def evaluate(
    run: Path,
    suites: Sequence[str],
    methods: Sequence[str],
    out: Path,
    *,
    adapter: str = "best",
    streams: int = 64,
    overrides: Sequence[str] = (),
    phase: Phase,
) -> tuple[Config, list[Measured]]:
    """Measure every method on every suite, but for what `out` holds already.

    Args:
        run: the run's folder.
        methods: names in METHODS.
        adapter: `best`, `last` or a version's name.
        streams: most streams of a suite.
        overrides: `key=value` settings in place of the run's.
        phase: shows progress.

    Raises:
        ConfigError: no run, adapter, suite or method of that name; or `out` holds another evaluation.
        DataError: a suite's data is wrong.
    """
    if not (run / CONFIG_FILE).is_file():
        raise ConfigError(f"{run} is no run folder: it has no {CONFIG_FILE}.")
    if unknown := [name for name in methods if name not in METHODS]:
        raise ConfigError(f"unknown method {unknown[0]!r}; choose from {', '.join(METHODS)}")
    config = load_config(run / CONFIG_FILE, overrides, check=False)
    folder = find_adapter(run, adapter)
    opened = [open_suite(words, config, streams) for words in suites]
    configs = [load_config(run / CONFIG_FILE, [*overrides, *suite.settings]) for suite in opened]
    _claim(out, config, folder, streams)
    tokenizer = load_tokenizer(config)
    engine = build_engine(config, end_ids(config, tokenizer))
    adapters = {POLICY: _ref(folder), UNTRAINED: _ref(find_adapter(run, "v00000"))}

    async def measure() -> list[Measured]:
        found: list[Measured] = []
        try:
            for ref in {adapters[name].version: adapters[name] for name in adapters}.values():
                await engine.load_adapter(ref)
            for suite, settings in zip(opened, configs, strict=True):
                worker = RolloutWorker(settings, engine, tokenizer)
                await worker.check_judge()
                for method in methods:
                    with phase(f"{suite.name}: {method}", len(suite.streams)) as advance:
                        found += await _suite(worker, suite, method, adapters, out, advance)
        finally:
            engine.close()
        return found

    return config, asyncio.run(measure())


def _ref(folder: Path) -> AdapterRef:
    return AdapterRef(int(folder.name.removeprefix("v")), folder.name, str(folder))


def _claim(out: Path, config: Config, adapter: Path, streams: int) -> None:
    """Refuse a folder with records of something else."""
    mine = {
        "adapter": str(adapter.resolve()),
        "streams": streams,
        "config": hashlib.sha256(OmegaConf.to_yaml(OmegaConf.structured(config)).encode()).hexdigest(),
        "reader": reader_name(config),
        "judge": judge_name(config),
    }
    file = out / IDENTITY
    if file.is_file():
        other = json.loads(file.read_text(encoding="utf-8"))
        if changed := [name for name, value in mine.items() if other.get(name) != value]:
            raise ConfigError(f"{out} holds another evaluation ({', '.join(changed)} differ); give another --out.")
    write_json_atomic(file, mine)


def reader_name(config: Config) -> str:
    """Who reads; part of what a score means."""
    return _named(config, config.reader)


def judge_name(config: Config) -> str | None:
    """Who judges, where anybody does."""
    return None if config.judge.type == "none" else _named(config, config.judge)


def _named(config: Config, who: ReaderConfig | JudgeConfig) -> str:
    if who.type == "policy-base":
        return f"policy-base ({config.model.path})"
    return str(who.endpoint.model) if who.type == "endpoint" else who.type


async def _suite(
    worker: RolloutWorker,
    suite: Suite,
    method: str,
    adapters: dict[str, AdapterRef],
    out: Path,
    advance: Callable[[], None],
) -> list[Measured]:
    slug = re.sub(r"[^\w.=-]+", "-", suite.name).strip("-")
    file = JsonLines(out / "answers" / slug / f"{method}.jsonl")
    file.path.parent.mkdir(parents=True, exist_ok=True)
    known = {one.stream: one for one in _read(file) if not one.failure}
    slots = asyncio.Semaphore(worker.config.rollout.max_batch)

    async def one(number: int, stream: Stream) -> Measured:
        if stream.id not in known:
            async with slots:
                known[stream.id] = await _measure(worker, suite.name, method, adapters, number, stream)
            file.append(known[stream.id].model_dump(mode="json"))
        advance()
        return known[stream.id]

    return list(await asyncio.gather(*(one(number, stream) for number, stream in enumerate(suite.streams))))


def _read(file: JsonLines) -> list[Measured]:
    """The records of a file, of which a later one counts."""
    try:
        return [Measured.model_validate(row) for row in file.rows()]
    except ValueError as error:
        why = " ".join(str(error).split())[:200]
        raise DataError(f"{file.path} is damaged ({why}); remove it to have its streams measured again.") from error


async def _measure(
    worker: RolloutWorker, suite: str, method: str, adapters: dict[str, AdapterRef], number: int, stream: Stream
) -> Measured:
    place = {"suite": suite, "method": method, "stream": stream.id, "chunks": len(stream.chunks)}
    began = time.monotonic()
    try:
        found = await _play(worker, method, adapters, number, stream)
    except InfrastructureError as error:
        return Measured(**place, failure=f"{type(error).__name__}: {error}")
    chunk_tokens = sum(worker.prompter.count_tokens(chunk.text) for chunk in stream.chunks)
    return Measured(**place, **found, chunk_tokens=chunk_tokens, seconds=time.monotonic() - began)


async def _play(
    worker: RolloutWorker, method: str, adapters: dict[str, AdapterRef], number: int, stream: Stream
) -> dict[str, Any]:
    order = (-1, number, 0)
    if method in adapters:
        seed = request_seed(worker.config.seed, *order)
        episode = await worker.play(stream, seed=seed, adapter=adapters[method], place=order, temperature=0.0)
        return {
            "answers": episode.answers,
            "memory_tokens": episode.memory_tokens,
            "prompt_tokens": sum(len(step.prompt_ids) for step in episode.steps),
            "completion_tokens": sum(len(step.completion.ids) for step in episode.steps),
        }
    kept = await BASELINES[method](worker).read(stream, order)
    answers = await worker.ask_all(stream, kept.memory, (*order, len(stream.chunks)))
    return {
        "answers": answers,
        "memory_tokens": kept.memory.token_count(),
        "prompt_tokens": kept.prompt_tokens,
        "completion_tokens": kept.completion_tokens,
    }
