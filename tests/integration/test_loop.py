"""The loop on a tiny model: what is sampled is what is trained, failures are data, and a run leaves all its files."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from peft import PeftModel

import memrl.engines.transformers_engine
from memrl.config import Config
from memrl.data.feed import StreamFeed
from memrl.engines.engine import ANYWHERE, Place, Sampling
from memrl.engines.models import load_model, load_tokenizer
from memrl.engines.transformers_engine import TransformersEngine
from memrl.errors import ConfigError, EngineError, NothingLearned
from memrl.learner.build import build_learner
from memrl.records import AdapterRef, Completion, Episode, Sample
from memrl.report.metric_keys import metric_of
from memrl.report.progress import RunProgress
from memrl.rewards.compose import resolve_weights, total
from memrl.rollout.build import open_pool
from memrl.rollout.pool import InProcessPool
from memrl.storage.files import find_damage
from memrl.storage.rundir import EpisodeWriter
from memrl.training.trainer import Trainer
from tests.support import STALE_ROW, Outcomes, quiet, rows, small_config, stale


def make_trainer(config: Config, monkeypatch: pytest.MonkeyPatch, engine: type = TransformersEngine) -> Trainer:
    monkeypatch.setattr(memrl.engines.transformers_engine, "TransformersEngine", engine)
    return Trainer(config, name="small", resume=False, console=quiet())


def trained_samples(trainer: Trainer, monkeypatch: pytest.MonkeyPatch) -> list[list[Sample]]:
    """What the learner will be given, step by step."""
    given: list[list[Sample]] = []
    step = trainer.learner.step
    monkeypatch.setattr(trainer.learner, "step", lambda samples, *more: given.append(samples) or step(samples, *more))
    return given


# The worker ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["policy-base", "lexical"])
def test_a_worker_plays_an_episode(quick_model: Path, tmp_path: Path, reader: str) -> None:
    config = small_config(quick_model, tmp_path, {"reader.type": reader})
    pool = open_pool(config)
    assert isinstance(pool, InProcessPool)
    tokenizer = pool.worker.prompter.tokenizer
    adapter = build_learner(config, 1).publish(tmp_path)
    pool.load_adapter(adapter)
    stream = StreamFeed(config.data.train, None, 0).take(1)[0]

    def play(**how: Any) -> Episode:
        return pool.run(pool.worker.play(stream, adapter=adapter, **how))

    episode, again, other = play(seed=5), play(seed=5), play(seed=6)
    assert episode == again
    assert [step.completion.ids for step in episode.steps] != [step.completion.ids for step in other.steps]
    greedy = play(seed=5, temperature=0.0)
    assert greedy.steps == play(seed=6, temperature=0.0).steps

    assert [step.chunk for step in episode.steps] == [0, 1]
    assert [answer.question_id for answer in episode.answers] == [question.id for question in stream.questions]
    for step in episode.steps:
        assert step.text == tokenizer.decode(step.completion.ids, skip_special_tokens=True)
        assert (step.completion.ids[-1] == tokenizer.eos_token_id) == (step.completion.stop == "stop")
        assert set(step.parts) == {"tool_success"}
    assert set(episode.parts) == {"qa", "compression"}
    weights = resolve_weights(config.rewards.preset, config.rewards.weights)
    assert episode.total == total(episode.parts, [step.parts for step in episode.steps], weights)
    assert all((answer.prompt_tokens > 0) == (reader == "policy-base") for answer in episode.answers)
    assert Episode.model_validate_json(episode.model_dump_json()) == episode
    pool.close()


def test_a_prompt_that_grows_too_long_stops_the_run_and_is_no_failed_episode(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(small_config(quick_model, tmp_path), monkeypatch)
    monkeypatch.setattr(trainer.config.rollout, "max_prompt_tokens", 20)
    with pytest.raises(ConfigError, match=r"chunk 0: the prompt has \d+ tokens, rollout.max_prompt_tokens allows 20"):
        trainer.run()


# A whole run --------------------------------------------------------------------------------------------------------


def test_a_run_trains_what_it_sampled_and_leaves_every_file(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    config = small_config(quick_model, folder, {"eval.every": 3})
    trainer = make_trainer(config, monkeypatch)
    given = trained_samples(trainer, monkeypatch)
    summary = trainer.run()

    # Tokens in, tokens out: exactly the sampled ids and log-probs, the end of turn included, reach the loss.
    writer = EpisodeWriter(folder / "episodes")
    metrics = rows(folder)
    assert [row["step"] for row in metrics] == [0, 1, 2, 3]
    ended = 0
    for row, samples in zip(metrics[1:], given, strict=True):
        episodes = writer.read(row["step"])
        steps = {
            (episode.stream_id, episode.index, step.chunk): step.completion
            for episode in episodes
            for step in episode.steps
        }
        assert samples
        for sample in samples:
            completion = steps[sample.stream_id, sample.episode, sample.chunk]
            assert (sample.completion_ids, sample.logprobs) == (completion.ids, completion.logprobs)
            assert sample.version == completion.version == row["step"] - 1
            ended += completion.stop == "stop"
        assert row["tokens/trained"] == sum(len(sample.completion_ids) for sample in samples)
        assert row["tokens/completion"] == sum(len(completion.ids) for completion in steps.values())
        assert row["learner/samples"] == len(samples)
        assert row["loss/grad_norm"] > 0
        assert row["loss/sampling_gap_max"] < 1e-3
        assert row["canary/gap"] < 1e-4
        assert (row["fail/episodes"], row["fail/rate"]) == (0, 0)
        assert len(episodes) % config.train.group_size == 0
    assert ended > 0

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    assert all(next(iter(json.loads(line))) == "step" for line in lines)
    assert all("time/step" in json.loads(line) for line in lines)
    assert [key for line in lines for key in json.loads(line) if metric_of(key) is None] == []
    assert [row["step"] for row in metrics if "eval/qa" in row] == [0, 3]
    evaluations = summary["eval"]
    assert summary == json.loads((folder / "summary.json").read_text())
    for moment in ("before", "best", "after"):
        for part in ("qa", "tool_success", "compression"):
            assert set(evaluations[moment][part]) == {"value", "low", "high"}
            assert evaluations[moment][part]["low"] <= evaluations[moment][part]["value"]
    assert evaluations["after"]["qa"]["value"] == metrics[-1]["eval/qa"]
    seconds = summary["wall_seconds"]
    assert set(seconds) == {"total", "build", "rollout", "learn", "eval"}
    assert all(value > 0 for value in seconds.values())
    assert sum(seconds.values()) - seconds["total"] <= seconds["total"]
    assert (summary["seed"], summary["steps"]) == (0, 3)
    assert summary["episodes"] == metrics[-1]["episodes"] == sum(len(writer.read(step)) for step in (1, 2, 3))
    assert {"memrl", "torch", "transformers", "peft"} <= summary["versions"].keys()
    assert {"faithful", "update_id", "reader_ceiling", "reader_ceiling_fact"} <= set(summary["gates"])

    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert {
        "config.yaml",
        "command.txt",
        "environment.json",
        "metrics.jsonl",
        "summary.json",
        "curve.png",
        "episodes/step_00001.jsonl.zst",
        "checkpoints/step_00003/learner/learner.pt",
    } <= names
    assert not [name for name in names if ".partial" in name]
    assert (folder / "checkpoints" / "latest").resolve().name == "step_00003"
    assert (folder / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert f"path: {quick_model}" in (folder / "config.yaml").read_text()
    assert json.loads((folder / "environment.json").read_text())["packages"] == summary["versions"]
    adapters = sorted(path.name for path in (folder / "adapters").iterdir())
    assert adapters == ["v00000", "v00002", "v00003"]
    for name in adapters:
        assert find_damage(folder / "adapters" / name) is None
        PeftModel.from_pretrained(load_model(config.model), str(folder / "adapters" / name))
    assert (folder / summary["adapter"]["best"]).is_dir()


def test_other_temperatures_and_save_intervals(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary compares like with like at any temperature; without a checkpoint nothing is thrown away."""
    changes = {"rollout.temperature": 0.6, "run.save_every": 3, "train.steps": 2, "run.save_episodes": "false"}
    trainer = make_trainer(small_config(quick_model, tmp_path / "run", changes), monkeypatch)
    trainer.run()
    assert all(row["loss/sampling_gap_max"] < 1e-3 for row in rows(tmp_path / "run")[1:])
    assert {path.name for path in (tmp_path / "run" / "checkpoints").iterdir()} == {
        "step_00000",
        "step_00002",
        "latest",
    }
    assert not (tmp_path / "run" / "episodes").exists()


def test_ctrl_c_saves_the_steps_that_have_no_checkpoint(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(quick_model, tmp_path / "run", {"run.save_every": 10})
    trainer = make_trainer(config, monkeypatch)
    play = trainer.pool.play_groups

    def interrupted(*arguments: Any, step: int, **options: Any) -> Any:
        if step == 2:
            raise KeyboardInterrupt
        return play(*arguments, step=step, **options)

    monkeypatch.setattr(trainer.pool, "play_groups", interrupted)
    with pytest.raises(KeyboardInterrupt):
        trainer.run()
    assert (tmp_path / "run" / "checkpoints" / "step_00002").is_dir()
    whole = make_trainer(small_config(quick_model, tmp_path / "whole"), monkeypatch)
    whole.run()
    resumed = Trainer(config, name="small", resume=True, console=quiet())
    assert resumed.step == 2
    resumed.run()
    assert rows(tmp_path / "run") == rows(tmp_path / "whole")


# Failures -----------------------------------------------------------------------------------------------------------


class Flaky(TransformersEngine):
    """Fails for every request of one sampled episode, and for the reader of another."""

    policy_fails: Sequence[tuple[int, int]] = ()
    reader_fails: Sequence[tuple[int, int]] = ()

    async def generate(
        self,
        prompt_ids: Sequence[int],
        sampling: Sampling,
        adapter: AdapterRef | None = None,
        *,
        place: Place = ANYWHERE,
    ) -> Completion:
        fails = self.reader_fails if adapter is None else self.policy_fails
        if (place.stream, place.episode) in fails and (adapter is None or sampling.temperature > 0):
            raise EngineError("the accelerator fell off")
        return await super().generate(prompt_ids, sampling, adapter, place=place)


def test_a_failed_episode_is_removed_and_counted(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class FailsTwice(Flaky):
        policy_fails = ((0, 1),)
        reader_fails = ((1, 2),)

    changes = {"train.steps": 1, "rollout.refill_rounds": 0, "rewards.preset": "memalpha"}
    config = small_config(quick_model, tmp_path / "run", changes)
    trainer = make_trainer(config, monkeypatch, FailsTwice)
    # Evaluation places its episodes at (n, 0), so it is spared.
    trainer.run()
    row = rows(tmp_path / "run")[1]
    assert (row["fail/episodes"], row["fail/rate"]) == (2, 0.25)
    episodes = EpisodeWriter(tmp_path / "run" / "episodes").read(1)
    assert [episode.index for episode in episodes] == [0, 2, 3, 0, 1, 3]
    assert row["reward/total"] == pytest.approx(sum(episode.total for episode in episodes) / 6)
    assert row["eval/failures"] == 0
    assert caplog.text.count("removed: EngineError: the accelerator fell off") == 2


def test_a_log_prob_that_is_no_number_costs_its_episode_and_nothing_else(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Blurred(TransformersEngine):
        """Gives NaN once, as an engine may whose kernel overflows."""

        blurred = False

        async def generate(self, *arguments: Any, **options: Any) -> Completion:
            completion = await super().generate(*arguments, **options)
            if arguments[2] is None or not arguments[1].temperature or Blurred.blurred:
                return completion
            Blurred.blurred = True
            return completion.model_copy(update={"logprobs": [math.nan, *completion.logprobs[1:]]})

    config = small_config(quick_model, tmp_path / "run", {"train.steps": 1, "rollout.retries": 1})
    make_trainer(config, monkeypatch, Blurred).run()
    row = rows(tmp_path / "run")[1]
    assert (row["fail/episodes"], row["fail/retries"]) == (0, 1)
    assert "chunk 0: the engine gave a log-prob that is no number" in caplog.text
    assert all(math.isfinite(value) for value in row.values())


def test_the_canary_takes_no_number_that_is_none(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Blind(TransformersEngine):
        async def score(self, *arguments: Any, **options: Any) -> list[float]:
            scores = await super().score(*arguments, **options)
            return [*scores[:-1], math.nan]

    trainer = make_trainer(small_config(quick_model, tmp_path / "run"), monkeypatch, Blind)
    with pytest.raises(EngineError, match=r"canary: after loading v00000 .* nan nats a token away"):
        trainer.run()


def test_too_many_failures_stop_the_run(quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FailsOften(Flaky):
        policy_fails = ((0, 0), (1, 1), (1, 2))

    trainer = make_trainer(small_config(quick_model, tmp_path), monkeypatch, FailsOften)
    message = r"3 of 8 episodes failed, rollout.max_failure_rate allows 25%.*the accelerator fell off"
    with pytest.raises(EngineError, match=message):
        trainer.run()


def test_an_evaluation_without_an_episode_is_an_error_and_no_score(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoReader(Flaky):
        reader_fails = ((0, 0), (1, 0))

    config = small_config(quick_model, tmp_path, {"rollout.max_failure_rate": 1.0})
    with pytest.raises(EngineError, match=r"every episode of the evaluation failed.*fell off"):
        make_trainer(config, monkeypatch, NoReader).run()


def test_an_episode_that_takes_too_long_is_a_failure(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Hangs(TransformersEngine):
        async def generate(self, *arguments: Any, place: Place = ANYWHERE, **options: Any) -> Completion:
            if (place.stream, place.episode) in ((0, 1), (0, 2), (0, 3)) and arguments[2] is not None:
                await asyncio.sleep(3600)
            return await super().generate(*arguments, place=place, **options)

    changes = {
        "train.steps": 1,
        "rollout.episode_timeout": 15,  # an honest one takes less, on a machine that does other things too
        "rollout.retries": 0,
        "rollout.refill_rounds": 0,
        "rollout.max_failure_rate": 0.5,
    }
    make_trainer(small_config(quick_model, tmp_path / "run", changes), monkeypatch, Hangs).run()
    row = rows(tmp_path / "run")[1]
    assert (row["fail/episodes"], row["advantage/groups_too_small"]) == (3, 1)
    assert "timeout: longer than rollout.episode_timeout (15 s)" in caplog.text


@pytest.mark.parametrize("kept", [0, 1])
def test_the_canary_catches_a_stale_adapter(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kept: int, outcomes: Outcomes
) -> None:
    # The default learning rate of the tiny run, without its warm-up.
    config = small_config(quick_model, tmp_path / "run", {"train.warmup_steps": 0, "train.schedule": "constant"})
    trainer = make_trainer(config, monkeypatch, stale(TransformersEngine, kept))
    with pytest.raises(EngineError, match=f"canary: after loading v{kept + 1:05d}.*start again with --resume"):
        trainer.run()
    assert [row["step"] for row in rows(tmp_path / "run")] == list(range(kept + 1))  # the step is not recorded
    resumed = Trainer(config, name="small", resume=True, console=quiet())
    assert resumed.step == kept
    if kept:
        outcomes.append(STALE_ROW)


LOW_PRECISION = {
    "model.dtype": "bfloat16",
    "train.warmup_steps": 0,
    "train.schedule": "constant",
    "train.lr": 1e-4,
    "train.steps": 4,
    "eval.streams": 1,
    "eval.every": 0,
}
"""An update changes less than rounding does."""


@pytest.mark.slow
def test_the_canary_lets_an_honest_engine_pass_in_low_precision(quick_model: Path, tmp_path: Path) -> None:
    config = small_config(quick_model, tmp_path / "run", LOW_PRECISION)
    Trainer(config, name="small", resume=False, console=quiet()).run()
    found = rows(tmp_path / "run")
    assert len(found) == 5 and all(row["canary/gap"] < 0.1 for row in found)


def test_the_canary_catches_a_stale_adapter_below_rounding(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_config(quick_model, tmp_path / "run", LOW_PRECISION)
    trainer = make_trainer(config, monkeypatch, stale(TransformersEngine, 1))
    with pytest.raises(EngineError, match=r"tokens lie closer to the adapter before than to the newest.*--resume"):
        trainer.run()
    assert all(row["canary/gap"] < 0.1 for row in rows(tmp_path / "run")), "the gap alone tells nothing"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("kept", ["none of it", "one layer in two"])
def test_the_canary_catches_an_adapter_that_is_missing_or_half_loaded(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str, kept: str
) -> None:
    class Half(TransformersEngine):
        async def load_adapter(self, ref: AdapterRef) -> None:
            await super().load_adapter(ref)
            base = dict(self._weights.model.named_parameters())
            merged = self._weights._merged.get(ref.name)
            for name, parameter in base.items() if merged is None else merged.named_parameters():
                if kept != "none of it" and ".layers.0." not in name and ".layers.2." not in name:
                    continue
                if merged is not None:
                    parameter.data.copy_(base[name])
                elif f"lora_B.{ref.name}" in name:
                    parameter.data.zero_()

    config = small_config(quick_model, tmp_path / "run", {"model.dtype": dtype})
    assert config.rollout.merge_adapters, "in float32, that is"
    trainer = make_trainer(config, monkeypatch, Half)
    with pytest.raises(EngineError, match=r"canary: an adapter that changes log-probs by .* only a part of it"):
        trainer.run()
    assert not (tmp_path / "run" / "canary").exists()


def test_the_canary_sees_the_path_that_samples(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Other(TransformersEngine):
        """Scores with the newest adapter, and samples from the base model."""

        async def generate(self, prompt_ids: Any, sampling: Any, adapter: Any = None, **more: Any) -> Completion:
            completion = await super().generate(prompt_ids, sampling, None, **more)
            return completion.model_copy(update={"version": adapter and adapter.version})

    config = small_config(quick_model, tmp_path / "run", {"train.warmup_steps": 0, "train.schedule": "constant"})
    trainer = make_trainer(config, monkeypatch, Other)
    with pytest.raises(EngineError, match=r"canary: the log-probs that were sampled with are .*is not what it scores"):
        trainer.run()
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 1]


def test_a_damaged_adapter_stops_the_run_with_its_own_message(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer(small_config(quick_model, tmp_path), monkeypatch)
    publish = trainer.learner.publish

    def damaged(folder: Path) -> AdapterRef:
        ref = publish(folder)
        (Path(ref.path) / "adapter_model.safetensors").write_bytes(b"junk")
        return ref

    monkeypatch.setattr(trainer.learner, "publish", damaged)
    with pytest.raises(EngineError, match=r"v00000.*is damaged: adapter_model.safetensors is not what was written"):
        trainer.run()


# Groups that teach nothing ------------------------------------------------------------------------------------------


def test_groups_without_spread_are_dropped_and_refilled(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first round's groups are made equal: its tool calls pay nothing, and its memories stay empty."""
    changes = {"train.steps": 1}
    trainer = make_trainer(small_config(quick_model, tmp_path / "run", changes), monkeypatch)
    rounds: list[tuple[int, int]] = []
    play = trainer.pool.play_groups

    async def levelled(streams: Any, *arguments: Any, first: int, **options: Any) -> Any:
        rounds.append((len(streams), first))
        groups = await play(streams, *arguments, first=first, **options)
        for group in groups[: 2 if first == 0 else 1]:
            group.episodes = [
                one.model_copy(
                    update={
                        "parts": {"qa": 0.0, "compression": 1.0},
                        "steps": [step.model_copy(update={"parts": {"tool_success": 1.0}}) for step in one.steps],
                    }
                )
                for one in group.episodes
            ]
        return groups

    monkeypatch.setattr(trainer.pool, "play_groups", levelled)
    given = trained_samples(trainer, monkeypatch)
    trainer.run()
    assert rounds[:2] == [(2, 0), (2, 2)]  # as many fresh streams as were missing, numbered on
    row = rows(tmp_path / "run")[1]
    assert row["advantage/groups_no_spread"] >= 3
    groups = sum(count for count, _ in rounds)
    assert row["advantage/groups_used"] + row["advantage/groups_no_spread"] == groups
    assert row["episodes"] == groups * 4  # all that was played is counted
    levelled_ids = {episode.stream_id for episode in EpisodeWriter(tmp_path / "run" / "episodes").read(1)[:12]}
    assert not levelled_ids & {sample.stream_id for sample in given[0]}


def test_a_step_without_any_spread_changes_nothing_and_goes_on(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    changes = {"train.steps": 2, "advantage.min_spread": 100.0, "rollout.refill_rounds": 1}
    trainer = make_trainer(small_config(quick_model, tmp_path / "run", changes), monkeypatch)
    trainer.run()
    first, second = rows(tmp_path / "run")[1:]
    for row in (first, second):
        assert (row["advantage/groups_used"], row["advantage/groups_no_spread"]) == (0, 4)
        assert (row["tokens/trained"], row["learner/version"], row["canary/gap"]) == (0, 0, 0)
    assert second["episodes"] == 32
    assert [path.name for path in (tmp_path / "run" / "adapters").iterdir()] == ["v00000"]
    assert "no group taught anything in any of the 2 steps" in caplog.text


def test_steps_that_teach_nothing_end_a_run_that_can_be_resumed(quick_model: Path, tmp_path: Path) -> None:
    changes = {"train.steps": 5, "advantage.min_spread": 100.0, "rollout.refill_rounds": 0, "eval.every": 0}
    config = small_config(quick_model, tmp_path / "run", {**changes, "train.max_idle_steps": 2, "run.save_every": 5})
    with pytest.raises(NothingLearned, match=r"step 2: in 2 steps in a row .*train.max_idle_steps.*memrl sft"):
        Trainer(config, name="small", resume=False, console=quiet()).run()
    with pytest.raises(NothingLearned, match="step 3: in 3 steps in a row"):
        Trainer(config, name="small", resume=True, console=quiet()).run()
    config.train.max_idle_steps = 0
    Trainer(config, name="small", resume=True, console=quiet()).run()
    assert [row["step"] for row in rows(tmp_path / "run")] == [0, 1, 2, 3, 4, 5]


def test_an_untrained_policy_without_a_good_call_is_warned_of(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Chatter(TransformersEngine):
        """Leaves out the opening tag of its calls."""

        async def generate(self, *arguments: Any, **more: Any) -> Completion:
            completion = await super().generate(*arguments, **more)
            ids = load_tokenizer(trainer.config.model).encode("Ada lives in Oslo.\n</tool_call>")
            return completion.model_copy(update={"ids": ids, "logprobs": [-1.0] * len(ids)})

    trainer = make_trainer(small_config(quick_model, tmp_path, {"train.steps": 1}), monkeypatch, Chatter)
    trainer.run()
    assert "no call of the untrained policy succeeded (4 calls in 4 steps: 4 malformed)" in caplog.text


def test_progress_bars_work_on_a_terminal(quick_model: Path, tmp_path: Path) -> None:
    from io import StringIO

    from rich.console import Console

    screen = StringIO()
    config = small_config(quick_model, tmp_path, {"train.steps": 1})
    Trainer(
        config,
        name="small",
        resume=False,
        console=Console(file=screen, force_terminal=True, width=200, color_system=None),
    ).run()
    text = screen.getvalue()
    for words in ("step 1/1: rollout", "step 0: evaluation", "all steps", "left", "held-out qa", "QA accuracy"):
        assert words in text
    assert isinstance(RunProgress(Console(file=StringIO())), RunProgress)


def test_one_completion_in_which_rounding_has_grown_ends_no_run(
    quick_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sharp head can make rounding large in a completion; an adapter that was not swapped is seen in all of them."""

    class Rounds(TransformersEngine):
        scored = 0

        async def score(
            self, prompt_ids: Sequence[int], completion_ids: Sequence[int], adapter: AdapterRef | None
        ) -> list[float]:
            found = await super().score(prompt_ids, completion_ids, adapter)
            type(self).scored += 1
            return [value - 3e-3 for value in found] if self.scored % 5 == 0 else found

    config = small_config(quick_model, tmp_path / "run", {"train.steps": 2})
    make_trainer(config, monkeypatch, Rounds).run()
    assert Rounds.scored >= 10 and all(row["canary/gap"] < 1e-4 for row in rows(tmp_path / "run"))
