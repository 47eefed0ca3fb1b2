"""Any architecture generates and learns, or is refused in words: models of many kinds, small and random.

The quick ones stand for a mechanism each; all others are marked slow.
"""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Coroutine
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import PreTrainedModel

from memrl.config import Config, LoraConfig, ModelConfig
from memrl.engines.canary import mean_gap
from memrl.engines.engine import Sampling
from memrl.engines.heads import head_of
from memrl.engines.models import carries_state, score_completion
from memrl.engines.transformers_engine import TransformersEngine
from memrl.errors import ConfigError
from memrl.learner.learner import Learner
from memrl.learner.lora import wrap_lora
from memrl.records import AdapterRef, Completion, Sample
from tests.architectures import REFUSED, SETTINGS, build

QUICK = {
    "llama": "trees",
    "gemma3": "a window, and a vision tower beside the text",
    "qwen3_5_text": "layers of linear attention, which have no `batch_select_indices`",
    "lfm2": "a state of a convolution",
    "falcon_h1": "attention and a state in one layer",
    "mamba": "no attention, and a cache by another name",
    "minimax": "a cache of its own, and a state that padding reaches",
    "phimoe": "a router that is a linear layer and more",
    "opt": "dropout that is a setting of its layers",
}
LOOSE = {"zamba2", "nemotron_h"}
"""Those in which a step bounds its time otherwise than a pass over all tokens."""
names = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(SETTINGS)]
)
Request = tuple[list[int], Sampling]


def bound(name: str) -> float:
    return 1e-3 if name in LOOSE else 1e-4


@lru_cache(maxsize=1)
def built(name: str) -> PreTrainedModel:
    return build(name)


def model(name: str) -> Any:
    return copy.deepcopy(built(name))


def run(work: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(asyncio.wait_for(work, timeout=60))


async def all_of(engine: TransformersEngine, requests: list[Request], adapter: AdapterRef | None = None) -> Any:
    return await asyncio.gather(*[engine.generate(*request, adapter) for request in requests])


def uneven(seed: int, temperature: float = 1.0) -> list[Request]:
    """Prompts of several lengths, two of them equal, whose completions end one after another."""
    prompts = [[5, 9, 11, 7, 20 + n // 2] + [13] * (3 * (n // 2)) for n in range(4)]
    return [(prompt, Sampling(3 + 2 * n, temperature, 10 * seed + n)) for n, prompt in enumerate(prompts)]


def test_the_architectures_are_many() -> None:
    assert len(SETTINGS) >= 25
    assert set(QUICK) <= set(SETTINGS)


@names
def test_it_generates_what_a_plain_pass_says(name: str) -> None:
    engine = TransformersEngine(model(name), [])
    requests = uneven(seed=0)
    found: list[Completion] = run(all_of(engine, requests))
    for request, completion in zip(requests, found, strict=True):
        [alone] = run(all_of(engine, [request]))
        assert (completion.ids, completion.stop) == (alone.ids, alone.stop)
        assert len(completion.ids) == request[1].max_tokens
        plain = score_completion(built(name), request[0], completion.ids)
        assert mean_gap(completion.logprobs, plain) <= bound(name)
        assert completion.logprobs == pytest.approx(plain, abs=10 * bound(name))
    greedy = [(prompt, Sampling(6, 0.0)) for prompt, _ in requests[::2]]
    for (prompt, _), completion in zip(greedy, run(all_of(engine, greedy)), strict=True):
        ids = torch.tensor([prompt])
        written = built(name).generate(
            ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=6, min_new_tokens=6,
            eos_token_id=None, pad_token_id=0,
        )  # fmt: skip
        assert completion.ids == written[0, len(prompt) :].tolist()


def new_learner(of: Any, *, checkpointing: bool = False) -> Learner:
    config = Config()
    config.train.lr, config.train.schedule, config.train.warmup_steps = 1e-2, "constant", 0
    config.train.gradient_checkpointing = checkpointing
    return Learner(
        of, lora=config.model.lora, loss=config.loss, train=config.train, temperature=1.0, max_completion_tokens=16,
        seed=0, total_updates=4,
    )  # fmt: skip


def samples_of(requests: list[Request], found: list[Completion], version: int) -> list[Sample]:
    return [
        Sample(prompt, completion.ids, completion.logprobs, 1.0 if number % 2 else -1.0, version)
        for number, ((prompt, _), completion) in enumerate(zip(requests, found, strict=True))
    ]


@names
def test_it_learns_and_the_engine_follows(name: str, tmp_path: Path) -> None:
    engine, learner = TransformersEngine(model(name), []), new_learner(model(name))
    for step in range(2):
        adapter = learner.publish(tmp_path)
        run(engine.load_adapter(adapter))
        requests = uneven(seed=1 + step)
        samples = samples_of(requests, run(all_of(engine, requests, adapter)), learner.version)
        before = learner.logprobs(samples)
        for sample, scores in zip(samples, before, strict=True):
            assert mean_gap(sample.logprobs, scores) <= bound(name)
        assert learner.step(samples)["loss/grad_norm"] > 0
        after = learner.logprobs(samples)
        assert max(mean_gap(one, other) for one, other in zip(before, after, strict=True)) > 0.01
    adapter = learner.publish(tmp_path)
    run(engine.load_adapter(adapter))
    for sample, scores in zip(samples, after, strict=True):
        swapped = run(engine.score(sample.prompt_ids, sample.completion_ids, adapter))
        assert mean_gap(swapped, scores) <= bound(name)
    # Each adapter acts: one that nothing passes through would do something in another engine.
    still = [key for key, value in learner.peft_model.named_parameters() if "lora_B" in key and not value.any()]
    assert still == []


@pytest.mark.parametrize("name", ["opt", "phimoe", "falcon_h1"])
def test_activations_that_are_recomputed_are_those_of_the_engine(name: str) -> None:
    learner = new_learner(model(name), checkpointing=True)
    requests = uneven(seed=0)
    found = run(all_of(TransformersEngine(model(name), []), requests))
    samples = samples_of(requests, found, 0)
    learner.step(samples)
    assert learner.version == 1
    plain = new_learner(model(name))
    plain.step(samples)
    for one, other in zip(learner.trainable, plain.trainable, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_sampled_from_is_refused_in_words(name: str) -> None:
    kind = type(built(name)).__name__
    with pytest.raises(ConfigError, match=f"rollout.engine=transformers cannot sample from {kind}: .*Use rollout"):
        TransformersEngine(model(name), [])


@pytest.mark.parametrize(
    ("name", "left_out"),
    [
        ("gemma3", "vision_tower"),
        ("mamba", "dt_proj"),  # its weights are used past it
        ("falcon_h1", "mamba.out_proj"),  # peft refuses it
        ("llama4_text", "router"),
        ("llama", "lm_head"),
    ],
)
def test_an_adapter_stands_only_where_text_passes(name: str, left_out: str) -> None:
    of = model(name)
    assert any(left_out in key for key, _ in of.named_modules())
    wrapped = wrap_lora(of, LoraConfig(), seed=0)
    adapted = [key for key, _ in wrapped.named_parameters() if "lora_A" in key]
    assert adapted
    assert not [key for key in adapted if left_out in key]


def test_a_head_that_shares_its_weights_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"lm_head.*shares with its input embeddings"):
        wrap_lora(model("gemma"), LoraConfig(target_modules="q_proj,lm_head"), seed=0)


def test_a_head_with_a_soft_cap_is_known_by_each_of_its_names() -> None:
    head = head_of(model("recurrent_gemma"))
    assert head is not None
    assert head.cap == 30.0  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "carries"), [("llama", False), ("gemma2", False), ("mamba", True), ("lfm2", True)])
def test_a_state_that_is_carried_is_seen_in_the_config(name: str, carries: bool, tmp_path: Path) -> None:
    built(name).config.save_pretrained(tmp_path)
    assert carries_state(ModelConfig(path=str(tmp_path))) == carries
