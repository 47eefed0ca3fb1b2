"""Reward parts that others bring: paid, credited and conserved as those that ship, and refused where they cannot be."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import pytest

from memrl.config import AdvantageConfig, load_config
from memrl.credit import group_advantages
from memrl.envs.errors import PluginError
from memrl.errors import ConfigError
from memrl.evaluation.evaluate import Evaluation, summarise
from memrl.evaluation.statistics import Interval
from memrl.records import AnswerRecord, Completion, Episode, Group, Step
from memrl.rewards.compose import (
    RewardWeights,
    WeightedPart,
    episode_shares,
    episode_slopes,
    episode_value,
    open_part,
    pay,
    resolve_weights,
    total,
)
from memrl.rewards.parts import PARTS, EpisodeView, StepView, misfit
from memrl.training.figures import reward_figures
from memrl.training.rescore import rescored

PARTS_OF_OTHERS = f"{__name__}:"


@dataclass(frozen=True)
class Brevity:
    """A step part with an option."""

    level: ClassVar[Literal["step"]] = "step"
    tokens: int = 2

    def value(self, step: StepView) -> float:
        return min(1.0, self.tokens / max(step.tokens, 1))


class Breadth:
    """An episode part, gated, absent where nothing is held."""

    level = "episode"
    gate = "qa"
    default_weight = 0.3

    def value(self, episode: EpisodeView) -> float | None:
        return len(set(episode.memory)) / 4 if episode.memory else None


class Thrift:
    """An episode part that enters as it is."""

    level = "episode"

    def value(self, episode: EpisodeView) -> float:
        return -sum(step.tokens for step in episode.steps) / 10


class Level:
    level = "chunk"

    def value(self, step: StepView) -> float:
        return 0.0


class NoValue:
    level = "step"


class NoArgument:
    level = "step"

    def value(self) -> float:
        return 0.0


class GatedStep(Brevity):
    gate = "qa"


class Picky:
    level = "step"

    def __init__(self, sort: str) -> None:
        if sort != "good":
            raise KeyError(sort)

    def value(self, step: StepView) -> float:
        return 0.0


class OddGate(Thrift):
    gate = "tool_success"


class NaN(Thrift):
    def value(self, episode: EpisodeView) -> float:
        return float("nan")


class Raises(Brevity):
    def value(self, step: StepView) -> float:
        return 1 / step.memory_tokens


class Word(Brevity):
    def value(self, step: StepView) -> float:
        return "much"  # type: ignore[return-value]


ADDED: dict[str, Any] = {
    "brevity": {"import_path": PARTS_OF_OTHERS + "Brevity", "weight": 0.2, "tokens": 3},
    "breadth": {"import_path": PARTS_OF_OTHERS + "Breadth"},
    "thrift": {"import_path": PARTS_OF_OTHERS + "Thrift", "weight": 0.5},
}


def weights(preset: str = "default", **overrides: float) -> RewardWeights:
    return resolve_weights(preset, overrides, ADDED)


# Made of settings ---------------------------------------------------------------------------------------------------


def test_added_parts_come_after_those_that_ship_each_on_its_level() -> None:
    found = weights(breadth=0.4)
    assert [one.name for one in found.episode] == ["qa", "compression", "breadth", "thrift"]
    assert [one.name for one in found.steps] == ["tool_success", "content", "brevity"]
    assert (found["brevity"], found["breadth"], found["thrift"]) == (0.2, 0.4, 0.5)
    assert found.steps[-1].part == Brevity(tokens=3)
    assert weights()["breadth"] == 0.3, "its own default"


def test_one_class_can_be_two_parts_of_a_run() -> None:
    path = PARTS_OF_OTHERS + "Brevity"
    both = {name: {"import_path": path, "weight": 0.1, "tokens": n} for name, n in (("short", 1), ("shorter", 2))}
    payment = pay(
        EpisodeView((1.0,), chunk_tokens=9, steps=(StepView(tokens=4),)), resolve_weights("default", {}, both)
    )
    assert payment.steps == [{"tool_success": 1.0, "short": 0.25, "shorter": 0.5}]


def add(name: str, what: str | None, **settings: Any) -> Mapping[str, Any]:
    return {name: {**({"import_path": PARTS_OF_OTHERS + what} if what else {}), "weight": 0.1, **settings}}


@pytest.mark.long
@pytest.mark.parametrize(
    ("added", "complaint"),
    [
        (add("brevity", None), "rewards.parts.brevity: no installed package brings a reward part 'brevity'. A part of"),
        (
            add("b", "Brief"),
            "rewards.parts.b: reward part " + PARTS_OF_OTHERS + "Brief cannot be imported: AttributeError",
        ),
        ({"b": {"import_path": "no.such:Part", "weight": 1}}, "no.such:Part cannot be imported: ModuleNotFoundError"),
        ({"b": {"import_path": "no.such.Part", "weight": 1}}, "import_path must be written package.module:Class, not"),
        ({"b": "no.such:Part"}, "rewards.parts.b must be a mapping like {import_path: package.module:Class, weight"),
        (add("b", "Level"), "has the level 'chunk'; a reward part has the class attribute level = 'episode' or"),
        (add("b", "NoValue"), "NoValue has no method `value`; a reward part has value(self, step)"),
        (add("b", "NoArgument"), "has a method value(self) -> 'float'; it must take one argument, the step"),
        (add("b", "GatedStep"), "has a `gate`, which only a part of the level 'episode' can have"),
        (add("b", "ADDED"), "is no class but 'dict'"),
        (add("b", "OddGate"), "rewards.parts.b: its gate is 'tool_success'; it must be an episode part without a gate"),
        (add("b", "Brevity", token=1), "Brevity has no option 'token'; did you mean 'tokens'?"),
        (add("b", "Picky"), "Picky does not take its options: TypeError"),
        (add("b", "Picky", sort="bad"), "Picky does not take its options: KeyError: 'bad'"),
        (add("b", "Brevity", weight=float("inf")), "rewards.parts.b.weight must be a finite number, not inf"),
        (add("b", "Brevity", weight="much"), "rewards.parts.b.weight must be a finite number, not 'much'"),
        (add("b", "Brevity", weight=None), "rewards.parts.b has no weight; say how much it counts"),
        (
            add("compression", "Brevity"),
            "'compression' ships with memrl and is part of every run; its weight is rewards",
        ),
        (add("total", "Brevity"), "'total' is no name for a reward part"),
        (add("qa_fact", "Brevity"), "'qa_fact' is no name for a reward part"),
        (add("my/part", "Brevity"), "'my/part' is no name for a reward part"),
    ],
)
def test_what_is_no_part_is_refused_with_its_setting(added: Mapping[str, Any], complaint: str) -> None:
    with pytest.raises(PluginError, match=re.escape(complaint)):
        resolve_weights("default", {}, added)
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_config("tiny", [f"rewards.parts={to_yaml(added)}"])


def to_yaml(added: Mapping[str, Any]) -> str:
    import json

    return json.dumps(added).replace("Infinity", ".inf")


def test_all_complaints_about_parts_are_listed_together() -> None:
    wrong = {**add("b", "Level"), **add("c", "NoValue")}
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", [f"rewards.parts={to_yaml(wrong)}", "rewards.weights={d: 1.0}"])
    for words in ("3 things are wrong", "rewards.parts.b", "rewards.parts.c", "unknown part 'd'"):
        assert words in str(caught.value)


def test_a_config_takes_parts_and_single_settings_of_them() -> None:
    config = load_config(
        "tiny", [f"rewards.parts={to_yaml(ADDED)}", "rewards.parts.brevity.tokens=7", "rewards.weights.thrift=0.25"]
    )
    found = resolve_weights(config.rewards.preset, config.rewards.weights, config.rewards.parts)
    assert found.steps[-1] == WeightedPart("brevity", Brevity(tokens=7), 0.2)
    assert found["thrift"] == 0.25


# Entry points -------------------------------------------------------------------------------------------------------


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose `.dist-info` Python takes for that of an installed package."""
    about = tmp_path / "ourparts-1.5.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: ourparts\nVersion: 1.5\n")
    (about / "entry_points.txt").write_text(f"[memrl.rewards]\nbreadth = {PARTS_OF_OTHERS}Breadth\n")
    monkeypatch.syspath_prepend(tmp_path)
    return about


def test_an_installed_part_needs_its_name_alone(installed: Path) -> None:
    config = load_config("tiny", ["rewards.parts={breadth: }"])
    found = resolve_weights("default", {}, config.rewards.parts)
    assert found["breadth"] == 0.3 and isinstance(found.parts[-1].part, Breadth)


def test_a_name_that_no_package_brings_is_refused_with_the_nearest(installed: Path) -> None:
    with pytest.raises(PluginError, match=r"brings a reward part 'breath'; did you mean 'breadth'\?"):
        open_part("breath", None)


def test_an_installed_parts_name_is_taken(installed: Path) -> None:
    with pytest.raises(PluginError, match=r"taken by the entry point 'breadth' of ourparts 1\.5\. Give yours"):
        open_part("breadth", ADDED["breadth"] | {"weight": 1})


def test_an_installed_part_that_breaks_is_named_with_its_distribution(installed: Path) -> None:
    (installed / "entry_points.txt").write_text(f"[memrl.rewards]\nodd = {PARTS_OF_OTHERS}Level\n")
    with pytest.raises(PluginError, match=r"entry point 'odd' of ourparts 1\.5\) has the level 'chunk'"):
        open_part("odd", {"weight": 1})


def test_the_shipped_parts_have_the_shape_that_is_asked_of_others() -> None:
    assert [misfit(PARTS.get(name)) for name in ("qa", "compression", "tool_success", "content")] == [""] * 4


# Paid ---------------------------------------------------------------------------------------------------------------


def make_episode(index: int, written: list[int], scores: list[float], memory: list[str]) -> Episode:
    """Steps that wrote so many tokens, and were worth as much to the answers as those say."""
    steps = [
        Step(
            chunk=t, prompt_ids=[1], completion=Completion(ids=[5] * n, logprobs=[-0.1] * n, stop="stop", version=3),
            text="", results=[], diff=[], memory_tokens=3 * (t + 1) * (index + 1),
            worth={f"q{q}": value for q, value in enumerate(scores)} if t == 0 else {},
        )
        for t, n in enumerate(written)
    ]  # fmt: skip
    answers = [
        AnswerRecord(
            question_id=f"q{q}", kind="fact", question="?", gold=["x"], answer="x" if value else "y",
            metric="exact_match", score=value, evidence=[0], retrieved=[],
        )
        for q, value in enumerate(scores)
    ]  # fmt: skip
    return Episode(
        stream_id="s", source="test", index=index, version=3, seed=0, steps=steps, answers=answers,
        memory={"items": [{"content": text} for text in memory]}, chunk_tokens=100,
        memory_tokens=steps[-1].memory_tokens,
    )  # fmt: skip


def episodes(paid: RewardWeights) -> list[Episode]:
    made = [
        make_episode(0, [1, 6], [1.0, 0.0], ["a", "b"]),
        make_episode(1, [4, 4], [0.0, 0.0], []),
        make_episode(2, [3, 12], [1.0, 1.0], ["a", "a", "b", "c"]),
    ]
    return [episode.paid(paid) for episode in made]


def test_an_episode_is_paid_for_added_parts() -> None:
    first, second, _ = episodes(weights())
    assert first.parts == {"qa": 0.5, "compression": 0.94, "breadth": 0.5, "thrift": -0.7}
    assert [step.parts for step in first.steps] == [
        {"tool_success": 1.0, "brevity": 1.0},
        {"tool_success": 1.0, "brevity": 0.5},
    ]
    expected = 0.5 + 0.05 * 0.5 * 0.94 + 0.3 * 0.5 * 0.5 + 0.5 * -0.7 + 0.1 + 0.2 * 0.75
    assert first.total == pytest.approx(expected)
    assert "breadth" not in second.parts, "absent where it has no value"


def test_a_weight_of_zero_measures_and_does_not_pay() -> None:
    free = episodes(weights(brevity=0.0, breadth=0.0, thrift=0.0))
    plain = episodes(resolve_weights("default"))
    assert [episode.total for episode in free] == [episode.total for episode in plain]
    assert free[0].steps[1].parts["brevity"] == 0.5


@pytest.mark.parametrize(
    ("what", "complaint"),
    [
        ("NaN", "stream 's', episode 0: reward part 'b' is nan; a part must be a finite number, or None"),
        ("Raises", "stream 's', episode 0: reward part 'b' of step 0: ZeroDivisionError: division by zero"),
        ("Word", "reward part 'b' of step 0: ValueError: could not convert string to float: 'much'"),
    ],
)
def test_a_part_that_fails_is_named_and_pays_nobody(what: str, complaint: str) -> None:
    episode = make_episode(0, [1], [1.0], [])
    steps = [episode.steps[0].model_copy(update={"memory_tokens": 0})]
    with pytest.raises(PluginError, match=re.escape(complaint)):
        episode.model_copy(update={"steps": steps}).paid(resolve_weights("default", {}, add("b", what)))


def test_a_saved_episode_is_paid_again_to_the_bit_and_by_parts_it_did_not_have() -> None:
    made = episodes(weights())
    saved = [Episode.model_validate_json(episode.model_dump_json()) for episode in made]
    assert [rescored(episode, weights()) for episode in saved] == made
    plain = episodes(resolve_weights("default"))
    assert [rescored(episode, weights()) for episode in plain] == made
    # Without its parts it is paid as ever; what was recorded of them stays beside.
    again = [rescored(episode, resolve_weights("default")) for episode in made]
    assert [episode.total for episode in again] == [episode.total for episode in plain]
    assert again[0].parts["thrift"] == -0.7


def test_the_views_hold_what_happened() -> None:
    view = make_episode(1, [2, 3], [1.0], ["a"]).view()
    assert (view.scores, view.kinds, view.memory, view.chunk_tokens) == ((1.0,), ("fact",), ("a",), 100)
    assert [(step.tokens_before, step.memory_tokens, step.tokens) for step in view.steps] == [(0, 6, 2), (6, 12, 3)]


# Credited -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["default", "memalpha"])
def test_slopes_are_the_differences_of_the_value_with_added_parts(preset: str) -> None:
    parts, paid = {"qa": 0.4, "compression": 0.7, "breadth": 0.5, "thrift": -0.2}, weights(preset)
    assert sum(episode_shares(parts, paid).values()) == pytest.approx(episode_value(parts, paid))
    slopes = episode_slopes(parts, paid)
    assert list(slopes) == list(parts)
    for part, slope in slopes.items():
        more = {**parts, part: parts[part] + 0.1}
        assert episode_value(more, paid) - episode_value(parts, paid) == pytest.approx(0.1 * slope)


def advantages(config: AdvantageConfig, paid: RewardWeights) -> np.ndarray:
    group = Group("s", episodes(paid), [])
    report = group_advantages([group], config, paid)
    return np.array([sample.advantage for sample in report.samples]).reshape(len(group.episodes), -1)


@pytest.mark.parametrize("preset", ["default", "memalpha"])
@pytest.mark.parametrize("mode", ["evidence", "counterfactual"])
def test_added_parts_are_paid_once(mode: str, preset: str) -> None:
    paid = weights(preset)
    found = advantages(AdvantageConfig(mode=mode, spill=0.0, normalize_std=False), paid)
    totals = np.array([total(e.parts, [step.parts for step in e.steps], paid) for e in episodes(paid)])
    np.testing.assert_allclose(found.sum(axis=1), totals - totals.mean(), atol=1e-12)


def test_episode_shares_added_parts_and_compares_steps_by_position() -> None:
    paid = weights()
    found = advantages(AdvantageConfig(mode="episode", normalize_std=False), paid)
    made = episodes(paid)
    whole = np.array([episode_value(episode.parts, paid) for episode in made])
    brevity = 0.2 * np.array([[step.parts["brevity"] for step in episode.steps] for episode in made])
    np.testing.assert_allclose(found, (whole - whole.mean())[:, None] + brevity - brevity.mean(axis=0), atol=1e-12)


def test_pooled_compares_all_rewards() -> None:
    paid = weights()
    made = episodes(paid)
    rewards = np.array([
        [episode_value(e.parts, paid) + 0.1 + 0.2 * step.parts["brevity"] for step in e.steps] for e in made
    ])  # fmt: skip
    found = advantages(AdvantageConfig(mode="pooled", normalize_std=False), paid)
    np.testing.assert_allclose(found, rewards - rewards.mean(), atol=1e-12)


@pytest.mark.parametrize("mode", ["episode", "evidence", "counterfactual"])
def test_parts_apart_give_added_parts_a_spread_of_their_own(mode: str) -> None:
    config = AdvantageConfig(mode=mode, normalize_parts=True)
    found = advantages(config, weights())
    np.testing.assert_allclose(found.sum(axis=0), 0.0, atol=1e-9)
    assert np.square(found).mean() == pytest.approx(1.0, rel=1e-4)
    alone = dict.fromkeys(("qa", "compression", "tool_success", "breadth", "thrift"), 0.0)
    few, many = (advantages(config, weights(**alone, brevity=weight)) for weight in (0.001, 10.0))
    np.testing.assert_allclose(few, many, rtol=1e-2, err_msg="alone, a part has the spread 1 whatever it weighs")
    assert not np.allclose(found, advantages(config, weights(brevity=0.0)))


# Told ---------------------------------------------------------------------------------------------------------------


def test_figures_and_evaluations_have_every_part() -> None:
    made = episodes(weights())
    row = reward_figures(made)
    assert row["reward/brevity"] == pytest.approx(np.mean([1, 0.5, 0.75, 0.75, 1, 0.25]))
    assert row["reward/breadth"] == pytest.approx((0.5 + 0.75) / 2), "over those that have it"
    assert set(row) == {f"reward/{n}" for n in ("total", "qa", "compression", "tool_success", *ADDED)}
    evaluation = summarise(made, 4, 2)
    assert evaluation.metrics()["eval/thrift"] == pytest.approx(np.mean([-0.7, -0.8, -1.5]))
    assert evaluation.summary()["brevity"]["low"] <= evaluation.summary()["brevity"]["value"]


@pytest.mark.long
def test_evaluations_survive_checkpoints_those_of_older_runs_too() -> None:
    from dataclasses import asdict

    evaluation = summarise(episodes(weights()), 4, 2)
    assert Evaluation.restore(asdict(evaluation)) == evaluation
    plain = summarise(episodes(resolve_weights("default")), 4, 2)
    older = asdict(plain)
    older |= older.pop("parts")
    assert Evaluation.restore(older) == plain
    for name in ("answerable", "unanswerable", "over"):
        del older[name]
    older["by_kind"] = {kind: found["value"] for kind, found in older["by_kind"].items()}
    before = Evaluation.restore(older)
    assert (before.qa, before.over) == (plain.qa, "streams")
    assert before.by_kind == {kind: Interval(found.value, None, None) for kind, found in plain.by_kind.items()}


def test_an_evaluation_keeps_unanswerable_questions_apart_and_says_what_is_missing() -> None:
    played = episodes(resolve_weights("default"))
    unknown = [
        AnswerRecord(question_id="u", kind="none", question="?", gold=["unknown"], answer="unknown",
                     metric="abstention",
                     score=1.0, evidence=None, retrieved=[])
    ]  # fmt: skip
    mixed = [episode.model_copy(update={"answers": [*episode.answers, *unknown]}) for episode in played]
    evaluation = summarise(mixed, 4, 2)
    alone = summarise(played, 4, 2)
    assert (alone.answerable, alone.unanswerable) == (None, None), "there is one sort only"
    assert evaluation.answerable == alone.qa and evaluation.unanswerable is not None
    assert evaluation.unanswerable.value == 1.0 > evaluation.qa.value > alone.qa.value
    assert evaluation.metrics()["eval/unanswerable"] == 1.0
    assert evaluation.summary()["answerable"]["value"] == alone.qa.value
    assert evaluation.summary()["qa_by_kind"]["none"]["value"] == 1.0
    left = summarise([mixed[0], "failed", "failed"], 4, 2)
    assert (left.qa.low, left.qa.high, left.over, left.failures) == (None, None, "streams", 2)
    assert "eval/qa" in left.metrics() and "eval/qa_low" not in left.metrics()
    only = summarise([mixed[0]], 4, 2)
    assert only.over == "questions" and only.qa.low is not None
