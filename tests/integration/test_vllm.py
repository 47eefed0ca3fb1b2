"""The engine on vLLM beyond the contract: a real model, whole runs, and processes that die."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import load_file, save_file

import memrl.engines.build
from memrl.config import Config
from memrl.data.feed import StreamFeed
from memrl.engines.build import open_vllm
from memrl.engines.canary import mean_gap
from memrl.engines.engine import Sampling
from memrl.engines.models import end_ids, load_tokenizer
from memrl.engines.prompting import Prompter
from memrl.engines.vllm_engine import VllmEngine
from memrl.engines.vllm_thread import VllmThread
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.tools import ResultCode
from memrl.errors import EngineDied, EngineError
from memrl.learner.build import build_learner
from memrl.learner.learner import Learner
from memrl.records import AdapterRef, Completion, Sample
from memrl.rollout.build import build_worker, open_ray_pool
from memrl.storage.files import MANIFEST
from memrl.training.canary import AdapterCanary
from memrl.training.trainer import Trainer
from tests.shared import shared
from tests.support import (
    ROOT,
    STALE_ROW,
    Outcomes,
    counted,
    overrides,
    perturb,
    quiet,
    rows,
    small_config,
    stale,
    unload_all,
)

pytestmark = pytest.mark.vllm
log = logging.getLogger(__name__)
BOUNDS = (1e-4, 1e-3)
"""Nats a token between vLLM and transformers in float32, mean and largest, that are still rounding."""
LOUD = 0.1
"""Size of the adapters: each changes the log-probs of `FIXED` by 0.5 to 1.6 nats a token, whatever the processor."""
FIXED = "The ferry to island 7 left at 1 o'clock."
"""A completion that no engine has sampled: other processors round otherwise, and sample other tokens."""
VLLM = {"rollout.engine": "vllm", "vllm.enforce_eager": "true"}


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(work)


# A real model -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SmolLM2-135M-Instruct."""
    get_model = shared("tools", "get_model.py")
    folder = tmp_path_factory.mktemp("smollm2") / "model"
    subprocess.run([sys.executable, str(get_model), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module", params=["bfloat16", "float32"])
def config(request: pytest.FixtureRequest, smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Config:
    changes = {
        **VLLM,
        "model.dtype": request.param,
        "rollout.max_prompt_tokens": 900,
        "rollout.max_completion_tokens": 64,
        "rollout.temperature": 0.9,
        "rollout.max_batch": 16,
    }
    return small_config(smollm2, tmp_path_factory.mktemp("run"), changes)


@pytest.fixture(scope="module")
def engine(config: Config) -> Iterator[VllmEngine]:
    made = open_vllm(config, end_ids(config.model, load_tokenizer(config.model)), 2)
    assert isinstance(made, VllmEngine)
    yield made
    made.close()


@pytest.fixture(scope="module")
def learner(config: Config) -> Learner:
    return build_learner(config, 10)


@pytest.fixture(scope="module")
def prompt(config: Config) -> list[int]:
    return prompt_of(config)


def prompt_of(config: Config) -> list[int]:
    prompter = Prompter(load_tokenizer(config.model), HermesDialect())
    text = " ".join(f"On day {day} the ferry to island {day * 7} left at {day % 24} o'clock." for day in range(7))
    return prompter.encode([{"role": "user", "content": f"Repeat what matters of this. {text}"}])


def publish(learner: Learner, version: int, folder: Path) -> AdapterRef:
    learner.version = version
    perturb(learner.peft_model, version, LOUD)
    return learner.publish(folder)


async def sample(engine: VllmEngine, prompt: list[int], ref: AdapterRef | None, count: int) -> list[Completion]:
    requests = [engine.generate(prompt, Sampling(12, 0.9, seed), ref) for seed in range(count)]
    return list(await asyncio.gather(*requests))


def gaps(learner: Learner, prompt: list[int], completions: list[Completion]) -> list[float]:
    """Nats between what was sampled and what the learner makes of it, token by token."""
    samples = [Sample(prompt, one.ids, one.logprobs, 0.0, 0) for one in completions]
    return [
        abs(mine - theirs)
        for one, scored in zip(samples, learner.logprobs(samples), strict=True)
        for mine, theirs in zip(one.logprobs, scored, strict=True)
    ]


def test_completions_held_to_their_grammar_are_sampled_as_the_learner_scores_them(
    smollm2: Path, tmp_path: Path
) -> None:
    changes = {**VLLM, "rollout.guided": "json", "rollout.max_prompt_tokens": 900, "rollout.max_completion_tokens": 96}
    config = small_config(smollm2, tmp_path / "run", changes)
    tokenizer, prompt = load_tokenizer(config.model), prompt_of(config)
    engine = open_vllm(config, end_ids(config.model, tokenizer), 2)
    try:

        async def both() -> list[Completion]:
            heat = config.rollout.temperature
            asked = [Sampling(96, heat, seed, guided=seed % 2 == 0) for seed in range(8)]
            return list(await asyncio.gather(*(engine.generate(prompt, each) for each in asked)))

        completions = run(both())
    finally:
        engine.close()
    held, free = completions[::2], completions[1::2]
    found = gaps(build_learner(config, 10), prompt, held)
    assert sum(found) / len(found) < BOUNDS[0] and max(found) < BOUNDS[1]
    prompter = Prompter(tokenizer, HermesDialect())
    for one in held:
        calls = prompter.dialect.parse(prompter.decode(one.ids), truncated=one.stop == "length")
        assert all(call.error in (None, ResultCode.TRUNCATED) for call in calls)
    config.rollout.guided = "off"
    found = gaps(build_learner(config, 10), prompt, free)
    assert sum(found) / len(found) < BOUNDS[0] and max(found) < BOUNDS[1]


def test_three_versions_are_swapped_in_and_sampled_as_the_learner_scores_them(
    config: Config, engine: VllmEngine, learner: Learner, prompt: list[int], tmp_path: Path
) -> None:
    """Eight samples of one prompt each, all but the first with the prompt in the prefix cache."""
    mean_bound, largest_bound = BOUNDS
    fixed = load_tokenizer(config.model).encode(FIXED)
    asked = [Sample(prompt, fixed, [0.0] * len(fixed), 0.0, 0)]
    scores = [run(engine.score(prompt, fixed, None))]
    for version in (1, 2, 3):
        ref = publish(learner, version, tmp_path)
        run(engine.load_adapter(ref))
        first = run(sample(engine, prompt, ref, 1))
        completions = run(sample(engine, prompt, ref, 8))
        assert first[0].cached_tokens == 0  # nothing that another version has computed
        assert all(one.cached_tokens > len(prompt) / 2 for one in completions)
        assert len({tuple(one.ids) for one in completions}) > 1
        assert all(one.version == version for one in completions)
        found = gaps(learner, prompt, [*first, *completions])  # so the cache changes nothing but rounding either
        scores.append(run(engine.score(prompt, fixed, ref)))
        [expected] = learner.logprobs(asked, temperature=1.0)
        rounding = mean_gap(scores[-1], expected)
        effect = mean_gap(scores[-1], scores[-2])
        log.info(
            "%s, v%d: %.2g nats in the mean, %.2g at most; fixed completion: %.2g, and what the adapter changes %.2g",
            config.model.dtype, version, sum(found) / len(found), max(found), rounding, effect,
        )  # fmt: skip
        if config.model.dtype == "float32":
            assert sum(found) / len(found) < mean_bound
            assert max(found) < largest_bound
            assert rounding < mean_bound
            assert effect > 3 * mean_bound  # so each adapter mattered
        else:  # how much a loud adapter is rounded depends on the processor; that it is rounding does not
            assert effect > 0.2
            assert sum(found) / len(found) < effect / 3
            assert rounding < effect / 3
    with pytest.raises(EngineError, match=r"v00001.*not loaded \(loaded: v00002, v00003\)"):
        run(engine.score(prompt, fixed, AdapterRef(1, "v00001", str(tmp_path / "v00001"))))


def publish_quietly(learner: Learner, folder: Path) -> AdapterRef:
    """Publish a version that differs from the one before by about what one update changes."""
    learner.version += 1
    perturb(learner.peft_model, learner.version, LOUD / 5)
    return learner.publish(folder)


def test_the_canary_finds_an_adapter_that_is_missing_half_loaded_or_stale(
    config: Config, engine: VllmEngine, learner: Learner, prompt: list[int], tmp_path: Path
) -> None:
    asked = Sample(prompt[:20], prompt[20:60], [0.0] * 40, 0.0, 0)  # few: some processors have no bfloat16
    named: dict[str, AdapterRef | None] = {}
    """The adapter that the engine really scores with, by the name of the one that it is asked for."""

    def score(prompt_ids: Sequence[int], ids: Sequence[int], ref: AdapterRef) -> list[list[float]]:
        return [run(engine.score(prompt_ids, ids, named.get(ref.name, ref)))]

    def load(ref: AdapterRef) -> None:
        run(engine.load_adapter(ref))

    def load_half(ref: AdapterRef) -> None:
        held = load_file(Path(ref.path) / "adapter_model.safetensors")
        halved = {
            name: torch.zeros_like(tensor) if int(name.split(".layers.")[1].split(".")[0]) % 2 else tensor
            for name, tensor in held.items()
        }
        folder = tmp_path / "half"
        shutil.copytree(ref.path, folder, ignore=shutil.ignore_patterns(MANIFEST))
        save_file(halved, folder / "adapter_model.safetensors")
        named["loud"] = AdapterRef(-2, "half", str(folder))
        run(engine.load_adapter(named["loud"]))

    def load_nothing(ref: AdapterRef) -> None:
        named["loud"] = None

    for name, parameter in learner.peft_model.named_parameters():
        if "lora_B" in name:  # the run's own adapter is quiet, whatever a test before has made of it
            parameter.data.zero_()
    learner.version = 10
    own = learner.publish(tmp_path)
    complaint = r"an adapter that changes log-probs by .*leaves the adapter out, or takes only a part"
    for number, (how, message) in enumerate([(load_nothing, complaint), (load_half, complaint), (load, "")]):
        named.clear()
        canary = AdapterCanary(learner, score, config.model.dtype, "rollout.engine=vllm")
        canary.swap_loud(asked, tmp_path / f"canary-{number}", how)
        run(engine.load_adapter(own))
        if message:
            with pytest.raises(EngineError, match=message):
                canary.check(own, [asked])
        else:
            canary.check(own, [asked])
    # From here on the engine keeps what it has, whatever is published; a step changes little.
    with pytest.raises(EngineError, match=r"canary: after loading v000\d\d .*start again with --resume"):
        for _ in range(10):
            canary.remember([asked])
            ref = publish_quietly(learner, tmp_path)
            named[ref.name] = own
            canary.check(ref, [asked])


# Whole runs ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def on_one_vllm(plain_vllm: VllmThread, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[type[Any]], None]]:
    """Have the runs of a test use the vLLM of all tests, through an engine class of the test's own."""
    made: list[VllmEngine] = []

    def use(engine: type[Any]) -> None:
        def build(config: Config, ends: list[int]) -> VllmEngine:
            made.append(engine(plain_vllm, ends, keep_versions=2))
            monkeypatch.setattr(made[-1], "close", lambda: None)
            return made[-1]

        monkeypatch.setattr(memrl.engines.build, "build_engine", build)

    yield use
    for engine in made:
        run(unload_all(engine))


def test_a_run_learns_from_what_vllm_samples(
    plain_model: Path, tmp_path: Path, on_one_vllm: Callable[[type[Any]], None]
) -> None:
    on_one_vllm(VllmEngine)
    config = small_config(plain_model, tmp_path / "run", VLLM)
    Trainer(config, name="vllm", resume=False, console=quiet()).run()
    found = rows(tmp_path / "run")
    assert [row["step"] for row in found] == [0, 1, 2, 3]
    assert all(row["canary/gap"] < 1e-4 for row in found)
    assert all(row["loss/sampling_gap_max"] < 1e-3 and row["fail/episodes"] == 0 for row in found[1:])
    assert all(row["learner/version"] == row["step"] for row in found[1:])
    assert all(0 <= row["tokens/prompt_cached"] < row["tokens/prompt"] for row in found[1:])


@pytest.mark.parametrize("kept", [0, 1])
def test_the_canary_catches_a_stale_adapter(
    plain_model: Path, tmp_path: Path, on_one_vllm: Callable[[type[Any]], None], kept: int, outcomes: Outcomes
) -> None:
    on_one_vllm(stale(VllmEngine, kept))
    settings = {**VLLM, "train.warmup_steps": 0, "train.schedule": "constant"}
    trainer = Trainer(small_config(plain_model, tmp_path / "run", settings), name="", resume=False, console=quiet())
    with pytest.raises(EngineError, match=f"canary: after loading v{kept + 1:05d}.*start again with --resume"):
        trainer.run()
    assert [row["step"] for row in rows(tmp_path / "run")] == list(range(kept + 1))
    if kept:
        outcomes.append(STALE_ROW)


def test_a_model_that_vllm_computes_otherwise_is_refused_before_the_first_rollout(
    quick_model: Path, tmp_path: Path, outcomes: Outcomes
) -> None:
    """The quick model's attention has output biases, as the embedded model's."""
    trainer = Trainer(small_config(quick_model, tmp_path / "run", VLLM), name="", resume=False, console=quiet())
    with pytest.raises(EngineError, match=r"canary: after loading v00000.*does not support .* exactly"):
        trainer.run()
    assert not (tmp_path / "run" / "metrics.jsonl").read_text()
    outcomes.append(
        ("vLLM computes the model otherwise", "the canary stops the run before the first rollout", "nothing sampled")
    )


# Processes that die -------------------------------------------------------------------------------------------------


def core_below(process: psutil.Process, before: Collection[int] = ()) -> psutil.Process:
    """vLLM's engine among the children of a process that uses it, but those that were there before.

    One look may find it under another name, on a busy machine: so there are several.
    """
    found: list[psutil.Process] = []
    for _ in range(100):
        children = [child for child in process.children(recursive=True) if child.pid not in before]
        found = [child for child in children if "EngineCore" in " ".join(child.cmdline())]
        if found:
            break
        time.sleep(0.2)
    [core] = found
    return core


def test_more_prompts_may_wait_than_one_step_reads(plain_model: Path, tmp_path: Path) -> None:
    """A step has room for 300 tokens; of 16 prompts of 160 tokens it would read the second in two parts."""
    settings = VLLM | {"rollout.max_prompt_tokens": 200, "rollout.max_completion_tokens": 8, "rollout.max_batch": 16}
    config = small_config(plain_model, tmp_path, settings)
    config.vllm.options = {"max_num_batched_tokens": 300}
    engine = open_vllm(config, end_ids(config.model, load_tokenizer(config.model)), 1)
    try:

        async def play() -> list[Completion]:
            asked = ([3 + (number + place) % 50 for place in range(160)] for number in range(16))
            return await asyncio.gather(*(engine.generate(ids, Sampling(8, 1.0, 5), None) for ids in asked))

        assert all(completion.ids for completion in run(play()))
    finally:
        engine.close()


def test_an_engine_whose_process_dies_says_so(plain_model: Path, tmp_path: Path) -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    engine = open_vllm(small_config(plain_model, tmp_path, VLLM), [2], 2)
    assert run(engine.generate([1, 30, 40], Sampling(4))).ids
    core_below(psutil.Process(), before).kill()
    with pytest.raises(EngineDied, match="vLLM's engine has died"):
        run(asyncio.wait_for(engine.generate([1, 30, 40], Sampling(4)), 60))
    engine.close()


def test_a_ray_worker_whose_vllm_dies_is_replaced(plain_model: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    """Left alone, it would be the worker with the least to do, and every episode would fail on it at once."""
    settings = {**VLLM, "rollout.workers": 1, "rollout.max_completion_tokens": 200, "reader.type": "lexical"}
    config = small_config(plain_model, tmp_path, settings | {"memory.render_budget": 40})
    pool = open_ray_pool(config, build_worker)
    try:
        learner = build_learner(config, 1)
        adapter = learner.publish(tmp_path / "adapters")
        pool.load_adapter(adapter)
        [before] = pool.workers()
        worker = psutil.Process(int(before.split()[1]))
        core = core_below(worker)
        left = worker.children(recursive=True)
        threading.Timer(1.0, core.kill).start()
        streams = StreamFeed(config.data.train, None, 0).take(4)
        groups = pool.run(pool.play_groups(streams, adapter, step=1, first=0))
        assert [len(group.episodes) for group in groups] == [config.train.group_size] * 4
        assert all(group.failures == [] for group in groups)
        assert pool.counts["workers"] == 1
        assert pool.counts["retries"] >= 1
        assert pool.workers() != [before]
        _, alive = psutil.wait_procs([worker, *left], timeout=20)
        assert alive == []
        outcomes.append(
            (
                "vLLM's process in a Ray worker killed",
                "the worker is replaced, its episodes are played again",
                counted(pool),
            )
        )
    finally:
        pool.close()


def test_nothing_of_vllm_outlives_a_run_that_was_killed(plain_model: Path, tmp_path: Path, outcomes: Outcomes) -> None:
    words = overrides(plain_model, tmp_path / "run", {**VLLM, "train.steps": 1000})
    driver = subprocess.Popen(
        [sys.executable, "-m", "memrl.cli", "train", "tiny", *words],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "log").open("w"),
    )
    metrics, deadline = tmp_path / "run" / "metrics.jsonl", time.monotonic() + 180
    while not (metrics.is_file() and len(metrics.read_text().splitlines()) > 1):
        assert driver.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    left = psutil.Process(driver.pid).children(recursive=True)
    assert len(left) >= 2
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    gone, alive = psutil.wait_procs(left, timeout=20)
    assert not [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]
    assert gone
    outcomes.append(("run with vLLM killed (SIGKILL)", "vLLM's processes end with it", "no process left"))
