"""The learner on a tiny random model: it learns, repeats to the bit, publishes whole adapters."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers import Qwen3Config, Qwen3ForCausalLM

from memrl.config import Config, LoraConfig
from memrl.config.shipped import TINY_MODEL
from memrl.errors import CheckpointError, ConfigError, LearnerError
from memrl.learner.build import build_learner
from memrl.learner.learner import STATE_FILE, Learner
from memrl.learner.lora import wrap_lora
from memrl.records import Sample
from memrl.storage.files import find_damage
from tests.support import ROOT


def base_model() -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    return Qwen3ForCausalLM(
        Qwen3Config(
            vocab_size=48,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=8,
            initializer_range=0.2,
            attention_dropout=0.3,  # must not act: sampling has none
        )
    )


def make_config(change: Callable[[Config], None] | None = None) -> Config:
    config = Config(seed=11)
    config.model.lora.rank = 4
    config.train.lr = 1e-2
    config.train.micro_batch_tokens = 40
    config.rollout.temperature = 0.9
    if change is not None:
        change(config)
    return config


def make_learner(change: Callable[[Config], None] | None = None, total_updates: int = 20) -> Learner:
    return build_learner(make_config(change), total_updates, model=base_model())


def make_samples(learner: Learner, count: int = 6, seed: int = 1) -> list[Sample]:
    rng = random.Random(seed)
    samples = []
    for index in range(count):
        prompt = [rng.randrange(3, 48) for _ in range(rng.randrange(2, 12))]
        completion = [rng.randrange(3, 48) for _ in range(rng.randrange(1, 7))] + [2]
        blank = [0.0] * len(completion)
        samples.append(Sample(prompt, completion, blank, (-1.0) ** index, learner.version, "s", index))
    return [replace(sample, logprobs=row) for sample, row in zip(samples, learner.logprobs(samples), strict=True)]


def weights(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in learner.peft_model.named_parameters()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("loss", ["grpo", "dapo", "dr_grpo", "gspo", "cispo"])
def test_a_step_moves_each_completion_in_its_advantages_direction(loss: str) -> None:
    def change(config: Config) -> None:
        config.loss.type = loss
        config.train.lr = 1e-3

    for sign in (1.0, -1.0):
        learner = make_learner(change)
        sample = replace(make_samples(learner, 1)[0], advantage=sign)
        for _ in range(3):
            metrics = learner.step([sample])
        moved = sum(learner.logprobs([sample])[0]) - sum(sample.logprobs)
        assert moved * sign > 0.01
        assert metrics["tokens/trained"] == len(sample.completion_ids)
        assert metrics["loss/grad_norm"] > 0


def test_only_the_adapter_learns_and_version_zero_is_the_base_model() -> None:
    learner = make_learner()
    samples = make_samples(learner)
    with learner.peft_model.disable_adapter():
        assert learner.logprobs(samples) == [sample.logprobs for sample in samples]
    before = weights(learner)
    learner.step(samples)
    changed = {name for name, value in weights(learner).items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora_" in name for name in changed)
    assert (learner.version, learner.updates) == (1, 1)


def test_on_policy_metrics() -> None:
    learner = make_learner(lambda config: setattr(config.loss, "kl", 0.01))
    samples = make_samples(learner)
    first = learner.step(samples)
    assert first["loss/kl"] == pytest.approx(0.0, abs=1e-9)
    assert first["loss/sampling_gap_max"] < 1e-4
    assert first["loss/ratio_max"] == pytest.approx(1.0)
    assert first["loss/entropy"] > 0
    second = learner.step(samples)  # stale by one version now
    assert second["loss/kl"] > 0
    assert second["loss/sampling_gap_max"] > 1e-3
    assert set(first) == set(second) == set(learner.step([]))
    assert learner.version == 2  # no samples, no version


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradient_does_not_depend_on_micro_batches_or_checkpointing(checkpointing: bool) -> None:
    results = []
    for tokens in (16, 10_000):

        def change(config: Config, tokens: int = tokens) -> None:
            config.train.micro_batch_tokens = tokens
            config.train.gradient_checkpointing = checkpointing and tokens == 16
            config.loss.type = "grpo"
            config.loss.kl = 0.1

        learner = make_learner(change)
        samples = make_samples(learner)
        calls: list[tuple[int, int]] = []
        forwards: list[None] = []
        first_layer = learner.model.get_submodule("model.layers.0.mlp")
        first_layer.register_forward_pre_hook(lambda *_, forwards=forwards: forwards.append(None))
        metrics = learner.step(samples, lambda *call, calls=calls: calls.append(call))
        assert calls[-1] == (len(calls), len(calls))
        # once for the base model's log-probs, once for our own, and once more where activations are recomputed
        assert len(forwards) == len(calls) * (3 if learner.train.gradient_checkpointing else 2)
        results.append((metrics, len(calls)))
    (small, many), (large, one) = results
    assert many > one == 1
    assert small["loss/grad_norm"] == pytest.approx(large["loss/grad_norm"], rel=1e-5)
    assert small["loss/total"] == pytest.approx(large["loss/total"], rel=1e-5, abs=1e-7)


def test_same_seed_same_bits_and_the_global_generator_is_left_alone() -> None:
    runs = []
    for _ in range(2):
        torch.manual_seed(random.randrange(1000))
        learner = make_learner(lambda config: setattr(config.train, "updates_per_step", 2))
        samples = make_samples(learner)
        runs.append(([learner.step(samples) for _ in range(3)], weights(learner)))
    assert runs[0][0] == runs[1][0]
    assert same(runs[0][1], runs[1][1])
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    model = base_model()
    torch.manual_seed(5)
    build_learner(Config(), 1, model=model)
    assert torch.equal(torch.rand(1), expected)


def test_several_updates_a_step_measure_the_ratio_from_its_start() -> None:
    learner = make_learner(lambda config: setattr(config.train, "updates_per_step", 3))
    samples = make_samples(learner)
    metrics = learner.step(samples)
    assert metrics["learner/updates"] == 3
    assert learner.updates == 3
    assert learner.version == 1
    assert metrics["tokens/trained"] == sum(len(sample.completion_ids) for sample in samples)
    assert metrics["loss/sampling_gap_max"] < 1e-4  # old = the step's start, though the weights moved meanwhile
    assert metrics["loss/kl_old"] > 1e-6


def test_resume_is_exact(tmp_path: Path) -> None:
    def change(config: Config) -> None:
        config.train.updates_per_step = 2
        config.train.schedule = "linear"
        config.train.warmup_steps = 3

    learner = make_learner(change)
    samples = make_samples(learner)
    learner.step(samples)
    learner.save(tmp_path / "state")
    expected = [learner.step(samples) for _ in range(3)]

    resumed = make_learner(change)
    resumed.load(tmp_path / "state")
    assert (resumed.version, resumed.updates) == (1, 2)
    assert [resumed.step(samples) for _ in range(3)] == expected
    assert same(weights(resumed), weights(learner))


def test_a_state_of_another_adapter_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    make_learner().save(tmp_path)
    with pytest.raises(CheckpointError, match=r"another model or model.lora"):
        make_learner(lambda config: setattr(config.model.lora, "rank", 8)).load(tmp_path)
    (tmp_path / STATE_FILE).write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="not a learner's state"):
        make_learner().load(tmp_path)
    with pytest.raises(CheckpointError, match="cannot read"):
        make_learner().load(tmp_path / "nowhere")


def test_published_adapters_are_whole_versioned_and_what_was_trained(tmp_path: Path) -> None:
    learner = make_learner()
    samples = make_samples(learner)
    assert learner.publish(tmp_path).name == "v00000"
    learner.step(samples)
    ref = learner.publish(tmp_path)
    assert ref == learner.publish(tmp_path)
    assert (ref.version, ref.name, ref.path) == (1, "v00001", str(tmp_path / "v00001"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["v00000", "v00001"]
    assert find_damage(Path(ref.path)) is None

    loaded = PeftModel.from_pretrained(base_model(), ref.path).eval()
    for sample, expected in zip(samples, learner.logprobs(samples), strict=True):
        ids = torch.tensor([sample.prompt_ids + sample.completion_ids])
        with torch.no_grad():
            logprobs = (loaded(ids).logits[0] / 0.9).log_softmax(-1)[len(sample.prompt_ids) - 1 : -1]
        found = logprobs.gather(-1, torch.tensor(sample.completion_ids)[:, None])[:, 0]
        torch.testing.assert_close(found, torch.tensor(expected), rtol=0, atol=1e-4)


def test_a_non_finite_loss_is_named_and_changes_nothing() -> None:
    learner = make_learner(lambda config: setattr(config.train, "updates_per_step", 3))
    samples = make_samples(learner)
    learner.step(samples)
    before, updates = weights(learner), learner.updates
    broken = [*samples[:5], replace(samples[5], advantage=float("nan"), stream_id="zebra")]
    with pytest.raises(LearnerError, match=r"loss is nan at learner step 2.*'zebra', episode 5.*nothing was updated"):
        learner.step(broken)
    assert same(weights(learner), before)
    assert (learner.version, learner.updates) == (1, updates)
    twin = make_learner(lambda config: setattr(config.train, "updates_per_step", 3))
    twin.step(samples)
    assert twin.step(samples) == learner.step(samples)  # the optimizer's state was put back too


def test_a_non_finite_gradient_is_named_and_changes_nothing() -> None:
    learner = make_learner()
    samples = make_samples(learner)
    before = weights(learner)
    name, parameter = next(iter(learner._trainable.items()))
    hook = parameter.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(LearnerError, match=f"gradient's norm is (nan|inf).*{name}.*nothing was updated"):
        learner.step(samples)
    hook.remove()
    assert same(weights(learner), before)


def test_an_interrupted_step_is_undone() -> None:
    learner = make_learner(lambda config: setattr(config.train, "updates_per_step", 2))
    samples = make_samples(learner)
    before = weights(learner)

    def interrupt(done: int, total: int) -> None:
        if done == total:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learner.step(samples, interrupt)
    assert same(weights(learner), before)
    assert (learner.version, learner.updates) == (0, 0)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ConfigError, match=r"model.lora"):
        make_learner(lambda config: setattr(config.model.lora, "target_modules", "no_such_module"))
    with pytest.raises(ConfigError, match=r"train.schedule 'sometimes'"):
        make_learner(lambda config: setattr(config.train, "schedule", "sometimes"))
    with pytest.raises(ConfigError, match=r"rollout.temperature"):
        make_learner(lambda config: setattr(config.rollout, "temperature", 0.0))
    with pytest.raises(LearnerError, match="empty prompt or completion"):
        make_learner().step([Sample([1], [], [], 1.0, 0)])


def test_lora_on_an_output_layer_that_is_the_input_embeddings_is_refused() -> None:
    tied = base_model()
    tied.config.tie_word_embeddings = True
    tied.lm_head.weight = tied.get_input_embeddings().weight
    settings = LoraConfig(rank=4, target_modules="q_proj,lm_head")
    with pytest.raises(ConfigError, match=r"names 'lm_head', whose weights Qwen3ForCausalLM shares with its input"):
        wrap_lora(tied, settings, seed=0)
    wrap_lora(tied, replace(settings, target_modules="all-linear"), seed=0)


ADAPTERS = """
import sys
from pathlib import Path
from memrl.config import LoraConfig, ModelConfig
from memrl.engines.models import load_model
from memrl.learner.lora import wrap_lora, write_lora
write_lora(wrap_lora(load_model(ModelConfig(path=sys.argv[1], device="cpu")), LoraConfig(), 0), Path(sys.argv[2]))
"""


def test_the_same_adapter_is_the_same_bytes_in_every_process_and_names_no_place(tmp_path: Path) -> None:
    model = Path(shutil.copytree(TINY_MODEL, tmp_path / "somewhere" / "agent-base"))
    for number in ("1", "2"):  # the order of sets
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONHASHSEED": number}
        command = [sys.executable, "-c", ADAPTERS, str(model), str(tmp_path / number)]
        subprocess.run(command, env=environment, check=True)
    files = sorted(path.name for path in (tmp_path / "1").iterdir())
    assert files == ["adapter_config.json", "adapter_model.safetensors"]
    for name in files:
        data = (tmp_path / "1" / name).read_bytes()
        assert data == (tmp_path / "2" / name).read_bytes()
        assert str(tmp_path).encode() not in data
    told = json.loads((tmp_path / "1" / "adapter_config.json").read_text())
    assert told["base_model_name_or_path"] == "agent-base"
    assert told["target_modules"] == sorted(told["target_modules"]) != []
