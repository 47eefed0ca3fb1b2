"""Members of a learner without Ray: two processes with gloo come to what one process comes to."""

from __future__ import annotations

import os
import pickle
import traceback
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch.distributed.tensor import DTensor

from memrl.config import Config, TrainConfig
from memrl.errors import LearnerError
from memrl.learner.build import build_learner
from memrl.learner.learner import Learner
from memrl.learner.members import Members, OutOfStep, PeerFailed, ShardMembers
from memrl.learner.peers import Peers
from memrl.learner.sharing import ShareResult, share_out, step_metrics
from memrl.records import Sample
from tests.integration.test_learner import base_model, make_config, make_learner, make_samples

Change = Callable[[Config], None]
WAYS = {"ddp": Members, "fsdp": ShardMembers}


def in_two(folder: Path, work: Callable[[int], Any]) -> list[Any]:
    """What `work(rank)` returns in two processes with a process group; they are forked, so they start at once."""
    children = []
    for rank in range(2):
        child = os.fork()
        if not child:
            code = 1
            try:
                torch.set_num_threads(1)  # the threads of the parent are not in a fork
                dist.init_process_group("gloo", init_method=f"file://{folder}/group", rank=rank, world_size=2)
                (folder / f"{rank}").write_bytes(pickle.dumps(work(rank)))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        children.append(child)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0, 0]
    return [pickle.loads((folder / f"{rank}").read_bytes()) for rank in range(2)]


def member(way: str, change: Change | None, dtype: torch.dtype = torch.float32) -> Learner:
    return learner_of(change, WAYS[way](torch.device("cpu")), dtype)


def learner_of(change: Change | None, peers: Peers | None = None, dtype: torch.dtype = torch.float32) -> Learner:
    return build_learner(make_config(change), 20, peers, model=base_model().to(dtype))


def adapter(learner: Learner) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in learner._trainable.items()}


def work(learner: Learner, samples: list[Sample], rank: int) -> ShareResult:
    return learner.work(learner.share_out(samples, 2)[rank], None, learner.state())


def watch_gradients(learner: Learner) -> list[torch.Tensor]:
    """Each update's gradient, as the optimizer gets it."""
    found: list[torch.Tensor] = []
    apply = learner._apply_gradient

    def watched() -> float:
        found.append(torch.cat([p.grad.flatten() for p in learner.trainable if p.grad is not None]))
        return apply()

    learner._apply_gradient = watched  # type: ignore[method-assign]
    return found


CASES: dict[str, Change] = {
    **{loss: lambda config, loss=loss: setattr(config.loss, "type", loss) for loss in ("dapo", "dr_grpo", "gspo")},
    "grpo with kl": lambda config: (setattr(config.loss, "type", "grpo"), setattr(config.loss, "kl", 0.1)),
    "cispo in two updates": lambda config: (
        setattr(config.loss, "type", "cispo"),
        setattr(config.train, "updates_per_step", 2),
    ),
    "checkpointing": lambda config: setattr(config.train, "gradient_checkpointing", True),
}


@pytest.mark.parametrize("way", list(WAYS))
def test_two_members_take_the_steps_of_one(tmp_path: Path, way: str) -> None:
    """Gradients and figures of every update; seven samples of uneven length, three steps that leave the policy. In
    float64, where a wrong factor cannot hide behind rounding."""

    def taken(case: str, rank: int | None) -> tuple[list[Any], list[torch.Tensor], dict[str, torch.Tensor]]:
        peers = None if rank is None else WAYS[way](torch.device("cpu"))
        learner = learner_of(CASES[case], peers, torch.float64)
        gradients, results = watch_gradients(learner), []
        for step in range(3):
            samples = pinned(step)
            if rank is None:
                results.append(learner.step(samples))
            else:
                share = learner.share_out(samples, 2)[rank]
                results.append((learner.work(share, None, learner.state()), share, learner.version))
        return results, gradients, adapter(learner)

    both = in_two(tmp_path, lambda rank: {case: taken(case, rank) for case in CASES})
    for case in CASES:
        expected, gradients, weights = taken(case, None)
        for _, found, held in (members[case] for members in both):
            for mine, want in zip(found, gradients, strict=True):
                torch.testing.assert_close(mine, want, rtol=1e-9, atol=1e-12)
            for name, value in held.items():
                torch.testing.assert_close(value, weights[name], rtol=1e-9, atol=1e-12)
                assert torch.equal(value, both[0][case][2][name])  # between members to the bit
        for step, want in enumerate(expected):
            results = [members[case][0][step] for members in both]
            found = step_metrics([result for result, _, _ in results], results[0][1], want["loss/lr"], step + 1)
            for name in want.keys() - {"tokens/learner_padded"}:
                assert found[name] == pytest.approx(want[name], rel=1e-6, abs=1e-9), (case, name)


def pinned(step: int) -> list[Sample]:
    """The same samples wherever they are asked for."""
    return make_samples(make_learner(), 7, step)


def test_a_spread_model_is_spread_and_its_adapter_is_whole_and_float32(tmp_path: Path) -> None:
    def spread(rank: int) -> tuple[set[str], set[str], set[torch.dtype], list[str], torch.Tensor]:
        learner = member("fsdp", None, torch.bfloat16)
        gradients = watch_gradients(learner)
        for _ in range(2):
            work(learner, pinned(0), rank)
        named = dict(learner.model.named_parameters())
        shards = {name for name, p in named.items() if isinstance(p, DTensor)}
        assert all(2 * p.to_local().numel() == p.numel() for p in named.values() if isinstance(p, DTensor))
        folder = tmp_path / f"adapter-{rank}"
        learner.write_adapter(folder)
        files = sorted(path.name for path in folder.iterdir())
        return shards, named.keys() - shards, {p.dtype for p in learner.trainable}, files, gradients[0]

    (shards, whole, dtypes, files, gradient), other = in_two(tmp_path, spread)
    assert all(".layers." in name for name in shards)
    assert {name for name in whole if ".layers." in name} == {name for name in whole if "lora_" in name}
    assert dtypes == {torch.float32}
    assert "adapter_model.safetensors" in files
    alone = learner_of(None, dtype=torch.bfloat16)
    expected = watch_gradients(alone)
    alone.step(pinned(0))
    assert torch.equal(gradient, other[4])
    assert float((gradient - expected[0]).norm() / expected[0].norm()) < 0.02  # bfloat16 in other micro-batches


@pytest.mark.parametrize("way", list(WAYS))
def test_a_member_may_have_no_sample_and_a_failure_of_one_is_one_of_all(tmp_path: Path, way: str) -> None:
    def one_sample(rank: int) -> dict[str, Any]:
        learner = member(way, lambda config: setattr(config.train, "micro_batch_tokens", 16))
        seen: dict[str, Any] = {}
        shares = learner.share_out(pinned(0)[:1], 2)
        assert [len(share[0].samples) for share in shares] == [1, 0]
        work(learner, pinned(0)[:1], rank)
        seen["one"], before = adapter(learner), learner.state()

        broken = pinned(1)
        broken[3] = replace(broken[3], advantage=float("nan"), stream_id="zebra")
        with pytest.raises(LearnerError) as caught:
            work(learner, broken, rank)
        seen["error"] = (type(caught.value), str(caught.value))
        assert learner.state() == before
        work(learner, pinned(1), rank)
        seen["after"] = (adapter(learner), learner.version)

        if rank:
            learner._score = lambda batch: 1 / 0  # type: ignore[method-assign,assignment,return-value]
        with pytest.raises((ZeroDivisionError, PeerFailed, OutOfStep)) as caught_more:
            work(learner, pinned(1), rank)
            if way == "fsdp":
                raise PeerFailed("this process would wait for ever")
        seen["bug"] = type(caught_more.value)
        assert way == "fsdp" or learner.version == 2
        return seen

    first, second = in_two(tmp_path, one_sample)
    learner = make_learner(lambda config: setattr(config.train, "micro_batch_tokens", 16))
    learner.step(pinned(0)[:1])
    for name, value in adapter(learner).items():
        torch.testing.assert_close(first["one"][name], value, rtol=0, atol=1e-6)
        assert torch.equal(first["one"][name], second["one"][name])
    errors = dict([first["error"], second["error"]])
    assert set(errors) == {LearnerError, PeerFailed}
    assert "loss is nan at learner step 2" in errors[LearnerError]
    assert "'zebra'" in errors[LearnerError]
    learner.step(pinned(1))
    for name, value in adapter(learner).items():
        torch.testing.assert_close(first["after"][0][name], value, rtol=0, atol=1e-6)
    assert (first["bug"], second["bug"]) == (
        (PeerFailed, ZeroDivisionError) if way == "ddp" else (OutOfStep, OutOfStep)
    )


def test_samples_are_shared_out_by_tokens() -> None:
    samples = [Sample([1] * length, [1], [0.0], 1.0, 0) for length in (9, 1, 8, 2, 7, 3)]
    train = TrainConfig()
    shared = partial(share_out, samples, train, max_completion_tokens=24, seed=0, version=0)
    shares = shared(members=2)
    loads = [sum(len(sample.prompt_ids) for sample in share[0].samples) for share in shares]
    assert loads == [15, 15]
    assert [share[0].normaliser.samples for share in shares] == [6, 6]
    assert shared(members=1)[0][0].samples == samples  # alone: all of them, in order
    train.updates_per_step, train.micro_batch_tokens = 3, 9
    both, [one] = shared(members=2), shared(members=1)
    for update in range(3):  # the samples of an update do not depend on who works on it
        mine = [sample for share in both for sample in share[update].samples]
        assert sorted(map(id, mine)) == sorted(map(id, one[update].samples))
        assert {share[update].passes for share in both} == {max(share[update].batches for share in both)}
