"""Out of memory: a batch is halved where that keeps the result, and else said what did not fit and what helps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from memrl.cli import main as cli
from memrl.config import Config, ModelConfig
from memrl.config.shipped import TINY_MODEL
from memrl.engines import models
from memrl.errors import ConfigError, LearnerError
from memrl.learner.learner import Learner
from memrl.sft import run as sft
from memrl.training import machine
from tests.integration.test_learner import make_learner, make_samples, weights
from tests.support import CONFIG, ROOT, overrides, perturb, quiet, small_config

FULL = "CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has a total capacity of 79.11 GiB\nand more"


def bounded(model: Any, most: int) -> list[int]:
    """Let a model's memory hold at most so many positions in one pass; returns the sizes of passes that fitted."""
    fitted: list[int] = []

    def look(module: Any, arguments: tuple[torch.Tensor, ...]) -> None:
        if arguments[0].numel() > most:
            raise torch.OutOfMemoryError(FULL)
        fitted.append(arguments[0].numel())

    model.get_input_embeddings().register_forward_pre_hook(look)
    return fitted


def kept_gradient(learner: Learner) -> list[list[torch.Tensor]]:
    """The gradient of every update that a learner takes."""
    kept: list[list[torch.Tensor]] = []
    apply = learner._apply_gradient

    def applied() -> float:
        kept.append([parameter.grad.clone() for parameter in learner.trainable if parameter.grad is not None])
        return apply()

    learner._apply_gradient = applied  # type: ignore[method-assign]
    return kept


def whole(config: Config) -> None:
    config.train.micro_batch_tokens = 400
    config.train.share_prefixes = False


def test_a_learner_halves_its_micro_batches_and_the_step_is_the_same(caplog: pytest.LogCaptureFixture) -> None:
    free, tight = make_learner(whole), make_learner(whole)
    samples = make_samples(free, 8)
    for learner in (free, tight):
        perturb(learner.peft_model, seed=1)  # else half of the gradient is zero
    fitted = bounded(tight.model, 45)
    gradients = [kept_gradient(learner) for learner in (free, tight)]
    figures, halved = free.step(samples), tight.step(samples)
    assert "out of memory with a micro-batch of" in caplog.text
    assert max(fitted) <= 45
    assert len(fitted) > 2
    assert len(gradients[0]) == len(gradients[1]) == 1, "one update each"
    for one, other in zip(gradients[0][0], gradients[1][0], strict=True):
        assert one.abs().max() > 0
        assert torch.allclose(one, other, rtol=1e-4, atol=1e-6)
    for name in figures:
        if name not in ("tokens/learner_padded",):
            assert halved[name] == pytest.approx(figures[name], rel=1e-4, abs=1e-6), name
    told = caplog.text
    tight.step(make_samples(tight, 8, seed=2))  # it has learned how much fits
    assert caplog.text == told


def test_a_learner_that_cannot_hold_one_sample_says_what_helps_and_is_as_before() -> None:
    learner = make_learner(whole)
    samples = make_samples(learner, 4)
    before = weights(learner)
    bounded(learner.model, 3)
    with pytest.raises(
        LearnerError, match=r"out of memory on cpu with a sample of \d+ tokens at learner step 1: CUDA"
    ) as caught:
        learner.step(samples)
    for setting in ("train.gradient_checkpointing=true", "model.dtype=bfloat16", "rollout.max_prompt_tokens"):
        assert setting in str(caught.value)
    assert all(torch.equal(value, weights(learner)[name]) for name, value in before.items())
    assert learner.version == 0


def twice(config: Config) -> None:
    whole(config)
    config.train.updates_per_step = 2


def full_at(target: Any, name: str, *times: int) -> None:
    """Let calls of a method, counted from 1, find memory full."""
    real, calls = getattr(target, name), []

    def called(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) in times:
            raise torch.OutOfMemoryError(FULL)
        return real(*arguments, **options)

    setattr(target, name, called)


def test_a_step_of_two_updates_that_is_done_again_counts_each_once() -> None:
    free, tight = make_learner(twice), make_learner(twice)
    samples = make_samples(free, 8)
    for learner in (free, tight):
        perturb(learner.peft_model, seed=1)
    full_at(tight, "_accumulate", 2)  # after the first update
    free.step(samples)
    tight.step(samples)
    assert (tight.version, tight.updates, tight.scheduler.last_epoch) == (1, 2, 2)
    assert (free.version, free.updates, free.scheduler.last_epoch) == (1, 2, 2)
    for name, value in weights(free).items():
        assert torch.allclose(value, weights(tight)[name], rtol=1e-3, atol=1e-5), name


def test_a_learner_that_cannot_go_back_for_want_of_memory_goes_no_further() -> None:
    learner = make_learner(twice)
    full_at(learner, "_accumulate", 2)
    full_at(learner.optimizer, "load_state_dict", 1)
    with pytest.raises(LearnerError, match=r"again on the way back to the state before it.*--resume"):
        learner.step(make_samples(learner, 8))


REAL = """
import logging, resource, sys
from pathlib import Path
import torch
from memrl.records import Sample
from tests.integration.test_learner import make_learner
logging.basicConfig(level=logging.WARNING)
def change(config):
    config.train.micro_batch_tokens = 1 << 20
    config.train.share_prefixes = False
learner = make_learner(change)
samples = [Sample([3 + i % 40] * 500, [5] * 8, [-3.0] * 8, (-1.0) ** i, 0, "s", i) for i in range(48)]
learner.logprobs(samples[:1])
taken, room = 0, 240 << 20
# How much a step wants depends on torch and the allocator: the first room that is too small is at least half of it.
while learner._micro_batch_tokens == 1 << 20 and room > 1 << 20:
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + room, -1))
    figures = learner.step(samples)
    taken, room = taken + 1, room // 2
print(learner.version == taken, learner._micro_batch_tokens < 1 << 20, int(figures["learner/samples"]))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs /proc to limit what a process may hold")
def test_a_real_limit_of_memory_is_met_by_smaller_micro_batches() -> None:
    own = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "131072"}  # what is freed is given back
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **own}
    done = subprocess.run([sys.executable, "-c", REAL], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["True", "True", "48"], done.stderr[-2000:]
    assert "can't allocate memory" in done.stderr


def test_a_model_that_does_not_fit_is_named_with_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *arguments: Any, **options: Any) -> None:
        raise torch.OutOfMemoryError(FULL)

    monkeypatch.setattr("transformers.PreTrainedModel.to", full)
    with pytest.raises(ConfigError, match=r"does not fit in float32 .*model\.dtype=bfloat16.*model\.path") as caught:
        models.load_model(ModelConfig(path=str(TINY_MODEL), device="cpu"))
    assert "\n" not in str(caught.value)


def test_a_warm_start_goes_through_a_batch_in_pieces_and_learns_the_same(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from safetensors.torch import load_file

    changes = {"sft.steps": 2, "sft.batch_size": 4, "sft.streams": 4, "sft.lr": 1e-4}
    free = sft.warm_start(small_config(quick_model, tmp_path / "free", changes), quiet())
    load, sizes = sft.load_model, list[list[int]]()

    def tight(config: ModelConfig) -> Any:
        model = load(config)
        sizes.append(bounded(model, 120))
        return model

    monkeypatch.setattr(sft, "load_model", tight)
    halved = sft.warm_start(small_config(quick_model, tmp_path / "halved", changes), quiet())
    assert "from now on at most" in caplog.text and "(sft.micro_batch_tokens)" in caplog.text
    assert len(sizes[0]) > 2, "more than one pass a step"
    first, second = (load_file(folder / "model.safetensors") for folder in (free, halved))
    apart = torch.cat([(value - second[name]).abs().flatten() for name, value in first.items()])
    # Adam moves a weight whose gradient is nothing but rounding by the whole rate, here or there.
    assert float((apart > 2e-5).float().mean()) < 0.02 and float(apart.max()) < 4.1e-4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
@pytest.mark.parametrize("command", ["train", "sft"])
def test_a_gpu_that_is_not_there_is_told_before_anything_slow(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memrl.data.feed.check_data", lambda *_, **__: pytest.fail("data were looked at"))
    words = overrides(TINY_MODEL, tmp_path / "run", {"model.device": "cuda"})
    assert cli.main([command, str(ROOT / CONFIG), *words]) == 2
    told = capsys.readouterr().err
    assert "model.device is cuda, and torch" in told and "model.device=cpu" in told
    assert "Traceback" not in told
    assert not (tmp_path / "run").exists()


def test_too_little_shared_memory_is_told_before_anything_slow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    disk = tmp_path / "shm"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", disk]).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    monkeypatch.setattr(machine, "SHARED_MEMORY", disk)
    try:
        machine.check_room_for_ray(small_config(TINY_MODEL, tmp_path / "run"))  # which starts no Ray
        assert not caplog.text
        on_ray = small_config(TINY_MODEL, tmp_path / "run", {"rollout.workers": 2})
        monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
        machine.check_room_for_ray(on_ray)  # which Ray plays nevertheless
        assert f"16 MiB free: Ray will keep its objects in files under {tmp_path}" in caplog.text
        monkeypatch.setenv("RAY_TMPDIR", str(disk))
        with pytest.raises(ConfigError, match=r"has 16 MiB free and .*, and Ray.*--shm-size=2g.*rollout\.workers=0"):
            machine.check_room_for_ray(on_ray)
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_disk_that_cannot_be_written_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    if os.geteuid() or subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=1m", "tmpfs", disk]).returncode:
        pytest.skip("needs the right to mount a tmpfs")
    try:
        for command, code in (("train", 1), ("sft", 2)):
            changes = {"sft.steps": 1, "sft.streams": 1}
            assert cli.main([command, str(ROOT / CONFIG), *overrides(TINY_MODEL, disk / "run", changes)]) == code
            told = capsys.readouterr().err
            assert "Read-only file system" in told, told
            assert "Traceback" not in told
            assert command == "sft" or "run.dir=" in told
    finally:
        subprocess.run(["umount", disk], check=True)


def test_the_learner_of_others_does_not_halve_alone() -> None:
    from memrl.learner.peers import Peers

    class Others(Peers):
        """Peers, of which there are some."""

    learner: Learner = make_learner(whole)
    learner.peers = Others()
    samples = make_samples(learner, 8)
    bounded(learner.model, 45)
    with pytest.raises(LearnerError, match=r"a lower train\.micro_batch_tokens"):
        learner.step(samples)
