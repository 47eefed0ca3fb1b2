"""Stages, pools and kinds in real runs: where a stage is entered, what it is played with, and that a run which was
stopped on either side of it is, resumed, the run that was never stopped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from memrl.config import Config
from memrl.config.stages import stages
from memrl.data.feed import StreamFeed
from memrl.engines.models import load_tokenizer
from memrl.engines.prompting import open_prompter
from memrl.envs.errors import DataError
from memrl.errors import ConfigError
from memrl.learner.build import build_learner
from memrl.records import AdapterRef, Episode
from memrl.report.metric_keys import metric_of
from memrl.rollout.build import check_records, open_pool
from memrl.rollout.pool import InProcessPool
from memrl.storage.rundir import EpisodeWriter
from memrl.training.trainer import Trainer
from tests.support import quiet, rows, small_config

FINITE = "[{source: synthetic, chunks: 2, count: 3, seed: 5}]"
STAGED: dict[str, Any] = {
    "train.steps": 6,
    "eval.every": 2,
    "rollout.refill_rounds": 1,
    "data.train": FINITE,
    "data.curriculum": "[{until: {step: 3}, train: {chunks: 1}, memory: {budget: 8, core_budget: 4, max_calls: 1}}, "
    "{until: {score: 0.9, step: 5}}, {train: {chunks: 3}}]",
    "data.difficulty.keep": 0.5,
}


def trainer(model: Path, folder: Path, *, resume: bool = False, **changes: Any) -> Trainer:
    settings = {**STAGED, **{key.replace("__", "."): value for key, value in changes.items()}}
    return Trainer(small_config(model, folder, settings), name="staged", resume=resume, console=quiet())


@pytest.fixture(scope="module", params=[0, 1], ids=["in turns", "ahead"])
def whole(request: pytest.FixtureRequest, quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("whole") / "run"
    summary = trainer(quick_model, folder, rollout__max_staleness=request.param).run()
    return folder, request.param, summary


def test_each_step_is_played_in_its_stage_and_says_so(whole: Any) -> None:
    folder, _, summary = whole
    metrics = rows(folder)
    assert [row.get("curriculum/stage") for row in metrics] == [None, 1.0, 1.0, 1.0, 2.0, 2.0, 3.0]
    played = [EpisodeWriter(folder / "episodes").read(step) for step in range(1, 7)]
    assert [{len(episode.steps) for episode in episodes} for episodes in played] == [{1}, {1}, {1}, {2}, {2}, {3}]
    assert [(one["stage"], one["first_step"]) for one in summary["curriculum"]] == [(1, 1), (2, 4), (3, 6)]
    assert summary["curriculum"][0]["changes"] == "chunks=1, memory.budget=8, memory.core_budget=4, memory.max_calls=1"
    for row in metrics[1:]:
        assert sum(row[f"difficulty/{pool}"] for pool in ("new", "mixed", "easy", "hard")) == pytest.approx(1)
    # The quick model knows nothing: no question is answered, so every stream that was played is hard.
    assert metrics[1]["difficulty/new"] == metrics[4]["difficulty/new"] == metrics[6]["difficulty/new"] == 1.0
    assert sum(row["difficulty/hard"] + row["difficulty/passed_over"] for row in metrics[1:]) > 0
    assert [key for row in metrics for key in row if metric_of(key) is None] == []
    assert {row["eval/streams"] for row in metrics if "eval/qa" in row} == {2}, "the evaluation knows no stages"


@pytest.mark.parametrize("stopped_in", [2, 4])
def test_a_run_that_was_stopped_beside_a_change_of_stage_is_resumed_to_the_bit(
    quick_model: Path, tmp_path: Path, whole: Any, monkeypatch: pytest.MonkeyPatch, stopped_in: int
) -> None:
    """Stages change before the rollouts of the steps 3 and 5 (from 0)."""
    expected, staleness, summary = whole
    folder = tmp_path / "run"
    first = trainer(quick_model, folder, rollout__max_staleness=staleness)
    play = first.pool.play_groups

    def interrupted(*arguments: Any, step: int, **options: Any) -> Any:
        if step == stopped_in:
            raise KeyboardInterrupt
        return play(*arguments, step=step, **options)

    monkeypatch.setattr(first.pool, "play_groups", interrupted)
    with pytest.raises(KeyboardInterrupt):
        first.run()
    again = trainer(quick_model, folder, resume=True, rollout__max_staleness=staleness)
    assert again.step <= stopped_in
    assert again.run()["curriculum"] == summary["curriculum"]
    assert rows(folder) == rows(expected)
    for file in sorted(expected.glob("adapters/*/adapter_model.safetensors")):
        assert (folder / file.relative_to(expected)).read_bytes() == file.read_bytes()


@pytest.mark.parametrize("mode", ["counterfactual", "reroll"])
def test_an_episode_is_played_with_the_memory_of_its_stage(tmp_path: Path, mode: str) -> None:
    """By the embedded model, which does store what it reads."""
    changes = {**STAGED, "data.difficulty.keep": 1, "rollout.max_completion_tokens": 48, "reader.type": "lexical"}
    changes |= {"data.train": FINITE.replace("chunks", "metric: substring, chunks"), "advantage.mode": mode}
    config = small_config(Path("tiny"), tmp_path, changes)
    pool = open_pool(config)
    assert isinstance(pool, InProcessPool)
    adapter = build_learner(config, 1).publish(tmp_path)
    pool.load_adapter(adapter)
    small, plain, longer = stages(config.data, config.memory)
    streams = StreamFeed(longer.train, None, 0).take(2)

    def play(**settings: Any) -> list[Episode]:
        groups = pool.run(pool.play_groups(streams, adapter, step=0, first=0, **settings))
        return [episode for group in groups for episode in group.episodes]

    def codes(episodes: list[Episode]) -> set[str]:
        return {found.code.value for episode in episodes for step in episode.steps for found in step.results}

    tight, loose = play(memory=small.memory), play()
    assert loose == play(memory=plain.memory), "a stage that changes nothing is the configuration"
    assert max(episode.memory_tokens for episode in tight) <= 8 < max(episode.memory_tokens for episode in loose)
    assert {"too_many_calls", "over_budget"} <= codes(tight)
    assert not {"too_many_calls", "over_budget"} & codes(loose)

    def rerolled(episodes: list[Episode]) -> set[str]:
        steps = [step for episode in episodes for step in episode.steps]
        return {found.code.value for step in steps for one in step.rerolls for found in one.results}

    if mode == "reroll":
        assert "too_many_calls" in rerolled(tight), "and so are its re-rolls"
        assert rerolled(loose) and "too_many_calls" not in rerolled(loose)
    else:
        assert any(step.worth for episode in tight for step in episode.steps), (
            "and the worth of a step is found out in it"
        )
    pool.close()


def test_what_is_wrong_with_a_later_stage_is_found_before_a_model_is_loaded(quick_model: Path, tmp_path: Path) -> None:
    def config(curriculum: str) -> Config:
        return small_config(quick_model, tmp_path, {**STAGED, "data.curriculum": curriculum})

    with pytest.raises(DataError, match=r"until.kind is 'whom', and the evaluation has no.*did you mean 'who'"):
        check_records(config("[{until: {score: 0.5, kind: whom}}, {}]"), None)
    long = config("[{until: {step: 2}}, {train: {sentences: 60}}]")
    prompter = open_prompter(load_tokenizer(long.model), long.rollout.dialect)
    with pytest.raises(ConfigError) as caught:
        check_records(long, prompter)
    assert "data.train[0] in stage 2, stream" in str(caught.value)
    assert "in stage 1" not in str(caught.value) and "data.eval" not in str(caught.value)


# No kind may rot ----------------------------------------------------------------------------------------------------


def test_a_kind_that_falls_rings_the_alarm_and_is_not_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Questions of one kind are answered no longer from the second evaluation on, all others rightly."""
    folder = tmp_path / "run"
    changes = {
        "train.steps": 2, "eval.every": 1, "eval.streams": 24, "rollout.refill_rounds": 0,
        "data.eval": "[{source: synthetic, chunks: 2, events: 0.6}]", "rollout.max_completion_tokens": 48,
        "reader.type": "lexical",
    }  # fmt: skip
    run = Trainer(small_config(Path("tiny"), folder, changes), name="falls", resume=False, console=quiet())
    greedy = run.pool.play_greedy

    evaluated = []

    def turned(episode: Episode) -> Episode:
        first = len(evaluated) == 1
        answers = [one.model_copy(update={"score": float((one.kind == "when") == first)}) for one in episode.answers]
        return episode.model_copy(update={"answers": answers})

    def falling(streams: Any, adapter: AdapterRef, *more: Any) -> Any:
        evaluated.append(adapter.version)
        return [turned(episode) for episode in greedy(streams, adapter, *more)]

    monkeypatch.setattr(run.pool, "play_greedy", falling)
    summary = run.run()
    metrics = rows(folder)
    assert [(row["alarm/kind_fell"], row["eval/worst_fall"]) for row in metrics] == [(0, 0), (1, -1), (1, -1)]
    assert metrics[0]["eval/qa"] < metrics[2]["eval/qa"], "the mean has risen"
    assert (summary["eval"]["best"]["step"], summary["adapter"]["best"]) == (0, "adapters/v00000")
    assert [(one["step"], one["kind"], one["value"]) for one in summary["kinds_fallen"]] == [
        (1, "when", -1),
        (2, "when", -1),
    ]
    assert "less the fall of the worst kind of question that lies significantly below" in summary["best_rule"]
    assert caplog.text.count("questions of the kind 'when' have fallen: 1.000 before training, -1.000 now") == 1
    assert "the best adapter is that of step 0" in caplog.text
    assert set(summary["eval"]["after"]["qa_by_kind"]["who"]) == {"value", "low", "high"}
    state = json.loads((folder / "checkpoints" / "latest" / "trainer.json").read_text())
    assert set(state["kinds_before"]) == set(summary["eval"]["before"]["qa_by_kind"])
