"""Credit on the real loop: steps get their worth while they are played, and saved episodes can be paid again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from memrl.cli.main import main
from memrl.config import load_config
from memrl.credit import group_advantages
from memrl.records import Group
from memrl.rewards.compose import resolve_weights
from memrl.storage.rundir import EpisodeWriter
from memrl.training.rescore import rescore
from memrl.training.trainer import Trainer
from tests.support import quiet, rows

SOURCE = "[{source: synthetic, chunks: 3, sentences: 3, people: 16, questions: 8, metric: substring}]"


def train(folder: Path, mode: str, *more: str, resume: bool = False) -> None:
    settings = {
        "run.dir": folder, "model.device": "cpu", "advantage.mode": mode, "data.train": SOURCE, "data.eval": SOURCE,
        "reader.type": "lexical", "train.steps": 2, "train.group_size": 4, "train.streams_per_step": 2,
        "eval.streams": 2, "eval.every": 0, "rollout.max_completion_tokens": 96,
    }  # fmt: skip
    config = load_config("tiny", [*(f"{key}={value}" for key, value in settings.items()), *more])
    Trainer(config, name="credit", resume=resume, console=quiet()).run()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("credit") / "run"
    train(folder, "counterfactual")
    return folder


def test_steps_get_their_worth(run: Path) -> None:
    worths = 0
    for number, row in zip((1, 2), rows(run)[1:], strict=True):
        episodes = EpisodeWriter(run / "episodes").read(number)
        assert row["reader/asked_again"] == sum(episode.asked_again for episode in episodes) > 0
        for episode in episodes:
            ids = {answer.question_id for answer in episode.answers}
            for step in episode.steps:
                assert step.worth is not None and set(step.worth) <= ids
                assert any(result.ok for result in step.results) or step.worth == {}
                worths += sum(value > 0 for value in step.worth.values())
            # An answer that is right hangs on some step, unless two hold it; what is wrong hangs on none.
            for answer in episode.answers:
                gained = sum(step.worth.get(answer.question_id, 0.0) for step in episode.steps if step.worth)
                assert gained <= len(episode.steps) * answer.score
    assert worths > 0


def test_rescoring_gives_the_rewards_that_were_paid_to_the_bit(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for (number, before, after, advantages), row in zip(rescore(run), rows(run)[1:], strict=True):
        assert number == row["step"] and before == after
        for key, value in advantages.items():
            assert row[key] == value
    assert main(["rescore", str(run)]) == 0
    assert "every reward is the one that was paid" in capsys.readouterr().out


@pytest.mark.parametrize("mode", ["episode", "evidence", "pooled", "retrieved"])
def test_other_settings_pay_as_if_they_had_been_the_runs(run: Path, mode: str) -> None:
    overrides = ["rewards.preset=memalpha", f"advantage.mode={mode}"]
    config = load_config(run / "config.yaml", overrides)
    weights = resolve_weights(config.rewards.preset, config.rewards.weights)
    for _, before, after, advantages in rescore(run, overrides):
        assert [episode.total for episode in before] != [episode.total for episode in after]
        groups = [
            Group(name, [episode for episode in after if episode.stream_id == name], [])
            for name in dict.fromkeys(episode.stream_id for episode in after)
        ]
        assert group_advantages(groups, config.advantage, weights).metrics() == advantages


def test_another_metric_scores_the_same_answers(run: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    assert main(["rescore", str(run), "--metric", "exact_match", "--out", str(out)]) == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(lines) == sum(len(EpisodeWriter(run / "episodes").read(number)) for number in (1, 2))
    assert {line["parts"]["qa"] for line in lines} == {0.0}  # the lexical reader answers in whole items


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["/none"], "/none is no run"),
        (["RUN", "train.lr=1"], "would change what was generated"),
        (["RUN", "rewards.preset=memalfa"], "memalpha"),
        (["RUN", "--metric", "f1"], "unknown metric 'f1'; choose from"),
        (["RUN", "--metric", "boxed"], "the metric 'boxed' needs integer golds"),
        (["RUN", "more"], "settings are written key=value"),
        (["RUN", "advantage.mode=reroll"], "this run was played with advantage.mode=counterfactual. Train with"),
    ],
)
def test_what_cannot_be_is_refused(
    run: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["rescore", *(str(run) if word == "RUN" else word for word in words)]) == 2
    assert message in " ".join(capsys.readouterr().err.split())


# Re-rolls ------------------------------------------------------------------------------------------------------------


REROLL = ("advantage.rerolls=2", "advantage.reroll_steps=2", "rewards.content=lexical", "rollout.max_staleness=1")


@pytest.fixture(scope="module")
def rerolled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reroll") / "run"
    train(folder, "reroll", *REROLL)
    return folder


def test_rerolls_are_played_saved_learned_from_and_counted(rerolled: Path) -> None:
    contents = set()
    for number, row in zip((1, 2), rows(rerolled)[1:], strict=True):
        episodes = EpisodeWriter(rerolled / "episodes").read(number)
        steps = [step for episode in episodes for step in episode.steps]
        others = [(step, other) for step in steps for other in step.rerolls]
        assert len(others) == 2 * 2 * len(episodes)
        assert row["tokens/reroll_completion"] == sum(len(other.completion.ids) for _, other in others)
        assert row["tokens/reroll_prompt"] == sum(len(step.prompt_ids) for step, _ in others)
        assert row["reader/asked_again"] == sum(episode.asked_again for episode in episodes) > 0
        assert row["advantage/samples"] == row["advantage/groups_used"] * 4 * (3 + 2 * 2)
        assert row["learner/samples"] == row["advantage/samples"] and row["fail/stale"] == 0
        # The engine's log-probs of all that was sampled are the learner's.
        if row["learner/staleness"] == 0:
            assert 0 < row["loss/sampling_gap"] < 1e-4
        for step, other in others:
            assert len(other.completion.logprobs) == len(other.completion.ids) > 0
            assert other.completion.version == {episode.version for episode in episodes}.pop()
            contents.add(other.parts["content"])
            if other.completion.ids == step.completion.ids:
                assert (other.results, other.parts) == (step.results, step.parts)
        by_stream = {
            episode.stream_id: {tuple(step.chunk for step in episode.steps if step.rerolls)} for episode in episodes
        }
        for episode in episodes:
            by_stream[episode.stream_id].add(tuple(step.chunk for step in episode.steps if step.rerolls))
        assert all(len(chosen) == 1 for chosen in by_stream.values()), "the same steps in all episodes of a group"
    assert len(contents) > 1


def test_a_run_with_rerolls_is_the_same_again_and_after_a_stop(rerolled: Path, tmp_path: Path) -> None:
    train(tmp_path / "twin", "reroll", *REROLL)
    assert rows(tmp_path / "twin") == rows(rerolled)
    stopped = Path(shutil.copytree(rerolled, tmp_path / "run", symlinks=True))
    shutil.rmtree(stopped / "checkpoints" / "step_00002")
    train(stopped, "reroll", *REROLL, resume=True)
    assert rows(stopped) == rows(rerolled)
    for number in (1, 2):
        assert EpisodeWriter(stopped / "episodes").read(number) == EpisodeWriter(rerolled / "episodes").read(number)


def test_rerolls_are_paid_again_by_other_weights_and_by_no_other_parts(
    rerolled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for (_, before, after, advantages), row in zip(rescore(rerolled), rows(rerolled)[1:], strict=True):
        assert before == after
        assert all(row[key] == value for key, value in advantages.items())
    assert len(list(rescore(rerolled, ["rewards.weights={compression: 0.7}"]))) == 2
    assert len(list(rescore(rerolled, ["advantage.mode=retrieved", "rewards.preset=memalpha"]))) == 2
    for words in (["rewards.preset=memalpha"], ["--metric", "exact_match"]):
        assert main(["rescore", str(rerolled), *words]) == 2
        assert "re-rolls are saved with the values of their reward parts" in " ".join(capsys.readouterr().err.split())


def test_a_run_ends_when_it_has_reached_its_target(tmp_path: Path) -> None:
    train(tmp_path, "evidence", "eval.target=0.0001", "eval.every=1")
    assert [row["step"] for row in rows(tmp_path)] == [0]
    assert json.loads((tmp_path / "summary.json").read_text())["eval"]["after"]["step"] == 0


def test_damaged_episodes_are_named(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy: Any = tmp_path / "run"
    (copy / "episodes").mkdir(parents=True)
    (copy / "config.yaml").write_text((run / "config.yaml").read_text())
    assert main(["rescore", str(copy)]) == 2
    assert "has no saved episodes" in " ".join(capsys.readouterr().err.split())
    (copy / "episodes" / "step_00001.jsonl.zst").write_bytes(b"nonsense")
    assert main(["rescore", str(copy)]) == 2
    assert "step_00001.jsonl.zst cannot be read" in "".join(capsys.readouterr().err.split("\n"))
