"""Stages and pools: when a stage is entered, which streams it draws, what is drawn less often, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from memrl.config import DataConfig, DifficultyConfig, MemoryConfig, StageConfig, UntilConfig, load_config, save_config
from memrl.config.identity import decisive, differences
from memrl.config.stages import TrainingStage, stages
from memrl.data.curriculum import Curriculum, check_kinds
from memrl.data.difficulty import Pools, pool_figures
from memrl.data.drawing import Drawing
from memrl.data.feed import StreamFeed
from memrl.envs.errors import DataError
from memrl.errors import ConfigError

CHUNKS = (2, 3, 5)
FINITE = {"source": "synthetic", "count": 10, "seed": 7, "chunks": 2}


def staged(
    *untils: UntilConfig | None, train: Sequence[dict[str, Any]] = ({"source": "synthetic"},)
) -> list[TrainingStage]:
    """Stages that end so, each with longer streams than the last."""
    curriculum = [
        StageConfig(until=until, train={"chunks": chunks}) for until, chunks in zip(untils, CHUNKS, strict=False)
    ]
    return stages(DataConfig(train=list(train), curriculum=curriculum), MemoryConfig())


def numbers(curriculum: Curriculum, steps: int) -> list[int]:
    return [curriculum.stage_of(step).number for step in range(steps)]


# When a stage is entered --------------------------------------------------------------------------------------------


def test_without_a_curriculum_there_is_one_stage_that_changes_nothing() -> None:
    data, memory = DataConfig(train=[{"source": "synthetic", "chunks": 4}]), MemoryConfig(budget=99)
    [stage] = stages(data, memory)
    assert (stage.train, stage.memory, stage.until, stage.words) == (data.train, memory, None, "")
    assert numbers(Curriculum([stage]), 5) == [0] * 5


def test_a_stage_has_its_options_and_its_memory() -> None:
    """An option counts for the sources that have it."""
    sources = [{"source": "synthetic", "chunks": 1, "people": 4}, {"source": "squad", "path": "x.json"}]
    curriculum = [
        StageConfig(UntilConfig(step=1), {"chunks": 6, "people": 9}, {"budget": 50, "max_calls": 3}),
        StageConfig(),
    ]
    one, other = stages(DataConfig(train=sources, curriculum=curriculum), MemoryConfig(budget=200, core_budget=40))
    assert one.train == [{"source": "synthetic", "chunks": 6, "people": 9}, {**sources[1], "chunks": 6}]
    assert one.memory == MemoryConfig(budget=50, core_budget=40, max_calls=3)
    assert one.words == "chunks=6, people=9, memory.budget=50, memory.max_calls=3"
    assert (other.train, other.memory) == (sources, MemoryConfig(budget=200, core_budget=40))


def test_a_stage_ends_on_its_step() -> None:
    curriculum = Curriculum(staged(UntilConfig(step=2), UntilConfig(step=5), None))
    assert numbers(curriculum, 7) == [0, 0, 1, 1, 1, 2, 2]
    assert [(one["stage"], one["first_step"]) for one in curriculum.entered()] == [(1, 1), (2, 3), (3, 6)]


def test_a_stage_ends_on_a_held_out_score_or_on_its_step_whichever_is_first() -> None:
    curriculum = Curriculum(staged(UntilConfig(score=0.5), UntilConfig(score=0.9, step=4), None))
    curriculum.take_held_out(0.49, {"when": 0.95})
    assert numbers(curriculum, 2) == [0, 0]
    curriculum.take_held_out(0.5, {})
    assert [curriculum.stage_of(step).number for step in (2, 3)] == [1, 1]
    assert curriculum.stage_of(4).number == 2, "by its step"


def test_an_evaluation_that_is_good_enough_for_several_stages_ends_them_all() -> None:
    curriculum = Curriculum(staged(UntilConfig(score=0.5), UntilConfig(score=0.6), None))
    curriculum.take_held_out(0.6, {})
    assert curriculum.stage_of(0).number == 2


def test_a_score_of_one_kind_counts_alone_and_one_that_was_not_asked_ends_nothing() -> None:
    curriculum = Curriculum(staged(UntilConfig(score=0.5, kind="when"), None))
    curriculum.take_held_out(0.9, {"when": 0.4})
    assert curriculum.stage_of(0).number == 0
    curriculum.take_held_out(0.9, {})
    assert curriculum.stage_of(1).number == 0
    curriculum.take_held_out(0.1, {"when": 0.6})
    assert curriculum.stage_of(2).number == 1


def test_a_training_score_is_the_mean_of_three_steps_of_the_stage_itself() -> None:
    until = UntilConfig(score=0.5, of="training")
    curriculum = Curriculum(staged(until, until, None))
    for score in (0.9, 0.9):
        curriculum.take_training(0, score)
    assert curriculum.stage_of(0).number == 0, "two steps are too few"
    curriculum.take_training(0, 0.0)
    assert curriculum.stage_of(1).number == 1
    curriculum.take_training(0, 1.0)  # a rollout of the first stage that was under way when the second was entered
    for score in (0.4, 0.5, 0.59):
        curriculum.take_training(1, score)
    assert curriculum.stage_of(2).number == 1
    curriculum.take_training(1, 0.41)  # 0.5, 0.59, 0.41
    assert curriculum.stage_of(3).number == 2


def test_where_it_stands_is_kept_by_way_of_json() -> None:
    def filled() -> Curriculum:
        found = Curriculum(staged(UntilConfig(step=1), UntilConfig(score=0.5, of="training"), None))
        numbers(found, 2)
        found.take_training(1, 0.4)
        found.take_training(1, 0.6)
        found.take_held_out(0.3, {"who": 0.2})
        return found

    other = Curriculum(filled().stages)
    other.restore(json.loads(json.dumps(filled().state())))
    assert (other.state(), other.entered()) == (filled().state(), filled().entered())
    other.take_training(1, 0.5)
    assert other.stage_of(2).number == 2


def test_a_kind_that_is_never_asked_is_refused_by_name() -> None:
    held_out = StreamFeed([{"source": "synthetic"}], None, 0).take(4)
    check_kinds(staged(UntilConfig(score=0.5, kind="when"), None), held_out)
    with pytest.raises(DataError, match=r"curriculum\[0\].until.kind is 'wen'.*no question.*did you mean 'when'"):
        check_kinds(staged(UntilConfig(score=0.5, kind="wen"), None), held_out)


# Which streams a stage draws ----------------------------------------------------------------------------------------

TWO = (UntilConfig(step=1), None)
OFF = DifficultyConfig()


def stream_ids(feed_of: TrainingStage, places: Sequence[int]) -> list[tuple[str, int]]:
    streams = StreamFeed(feed_of.train, None, 3).take(max(places) + 1)
    return [(streams[place].id, len(streams[place].chunks)) for place in places]


def told(drawn: Sequence[Any]) -> list[tuple[str, int]]:
    return [(one.stream.id, len(one.stream.chunks)) for one in drawn]


def test_a_stage_goes_on_where_the_last_one_stopped_and_draws_again_what_was_given_back() -> None:
    found = staged(*TWO)
    drawing = Drawing(found, None, 3, OFF)
    drawn, _ = drawing.draw(0, 6)
    assert told(drawn) == stream_ids(found[0], range(6))
    drawing.give_back(0, drawn[4:])
    late, _ = drawing.draw(1, 4)  # the two that were given back, with the options of the second stage, and two new ones
    assert [one.place for one in late] == [4, 5, 6, 7]
    assert told(late) == stream_ids(found[1], [4, 5, 6, 7])
    drawing.give_back(0, drawn[3:4])  # by a rollout of the first stage that ended only now
    again, _ = drawing.draw(1, 2)
    assert told(again) == stream_ids(found[1], [3, 8])


def test_what_was_drawn_is_had_again_by_stage_and_number() -> None:
    found = staged(*TWO)
    drawing = Drawing(found, None, 3, OFF)
    first, _ = drawing.draw(0, 5)
    second, _ = drawing.draw(1, 3)
    drawing.give_back(1, second[1:])
    other = Drawing(found, None, 3, OFF)
    other.restore(json.loads(json.dumps(drawing.state())))
    assert other.drawn(0, [one.place for one in first], [one.pool for one in first]) == first
    assert other.drawn(1, [second[0].place], None) == second[:1]
    assert other.draw(1, 4) == drawing.draw(1, 4)
    assert other.state() == drawing.state()
    assert drawing.first() == first[0].stream


def test_a_checkpoint_from_before_there_were_stages_is_gone_on_from() -> None:
    drawing = Drawing(staged(None), None, 3, OFF)
    drawing.restore({"position": 6, "returned": [4], "under_way": []})
    assert told(drawing.draw(0, 2)[0]) == stream_ids(drawing._stages[0], [4, 6])


# Pools of difficulty ------------------------------------------------------------------------------------------------

HALF = DifficultyConfig(keep=0.5)


def test_a_group_puts_its_stream_into_a_pool() -> None:
    streams = StreamFeed([FINITE], None, 0).take(5)
    pools = Pools(DifficultyConfig(keep=0.5, easy=0.9, hard=0.1), 0)
    for stream, scores in zip(streams, ([1.0, 0.9], [0.1, 0.0], [0.0, 1.0], [1.0]), strict=False):
        pools.note(stream, scores)
    assert [pools.pool_of(stream) for stream in streams] == ["easy", "hard", "mixed", "new", "new"]
    pools.note(streams[0], [0.5, 0.9])
    assert pools.pool_of(streams[0]) == "mixed", "its last group counts"
    renamed = streams[1].model_copy(update={"id": "of another pass"})
    assert pools.pool_of(renamed) == "hard", "a stream is known by its text"


@pytest.mark.long
def test_streams_of_easy_and_hard_pools_are_passed_over_but_for_their_share() -> None:
    drawing = Drawing(staged(None, train=[FINITE]), None, 3, HALF)
    first, passed_over = drawing.draw(0, 10)
    assert (passed_over, {one.pool for one in first}) == (0, {"new"})
    for one, scores in zip(first, [*[[1.0, 1.0]] * 4, *[[0.0, 0.0]] * 2, *[[0.0, 1.0]] * 4], strict=True):
        drawing.note(0, one.stream, scores)
    later, passed_over = drawing.draw(0, 700)
    figures = pool_figures([one.pool for one in later], passed_over)
    # Of ten turns four are easy and two hard, half of them passed over: 2 : 1 : 4 of what is drawn.
    assert figures == {
        "difficulty/new": 0.0,
        "difficulty/easy": pytest.approx(2 / 7, abs=0.03),
        "difficulty/hard": pytest.approx(1 / 7, abs=0.03),
        "difficulty/mixed": pytest.approx(4 / 7, abs=0.03),
        "difficulty/passed_over": pytest.approx(300, abs=40),
    }
    assert later[-1].place == 10 + 700 + passed_over - 1


def test_pools_are_kept_and_another_stage_begins_without_them() -> None:
    found = staged(*TWO, train=[FINITE])
    drawing, other = Drawing(found, None, 3, HALF), Drawing(found, None, 3, HALF)
    for one in drawing.draw(0, 10)[0]:
        drawing.note(0, one.stream, [1.0, 1.0])
    other.restore(json.loads(json.dumps(drawing.state())))
    assert other.draw(0, 6) == drawing.draw(0, 6)
    assert drawing.draw(0, 6)[1] > 0
    stage, passed_over = drawing.draw(1, 20)
    assert (passed_over, {one.pool for one in stage}) == (0, {"new"})
    drawing.note(0, stage[0].stream, [1.0, 1.0])  # what a rollout of the first stage finds says nothing of the second
    assert drawing.pools.pool_of(stage[0].stream) == "new"


def test_where_no_stream_comes_again_it_is_said_once(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("memrl.data.drawing._UNMET", 50)
    for train in ([FINITE], [{"source": "synthetic", "count": 4, "chunks": 1}]):
        assert caplog.text == ""
        drawing = Drawing(staged(None, train=train), None, 3, HALF)
        for _ in range(11):
            for one in drawing.draw(0, 10)[0]:
                drawing.note(0, one.stream, [0.0, 1.0])
    assert caplog.text.count("none of 50 streams came a second time") == 1, "the second makes others in each pass"


def test_without_pools_nothing_is_kept() -> None:
    drawing = Drawing(staged(None, train=[FINITE]), None, 3, OFF)
    drawn, _ = drawing.draw(0, 10)
    drawing.note(0, drawn[0].stream, [1.0, 1.0])
    assert drawing.state() == {"position": 10, "returned": [], "stage": 0}


# What is refused ----------------------------------------------------------------------------------------------------

LAST = "{train: {chunks: 24}}"


def curriculum(*written: str) -> str:
    return f"data.curriculum=[{', '.join(written)}]"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([curriculum("{until: {step: 40}}", LAST)], "[0].until.step is 40 and train.steps 40: the next stage can"),
        ([curriculum("{until: {step: 0}}", LAST)], "[0].until.step is 0; it must be at least 1"),
        ([curriculum("{until: {step: 9}}", "{until: {step: 9}}", LAST)], "[1].until.step is 9, and an earlier stage"),
        ([curriculum("{train: {chunks: 3}}", LAST)], "[0] has no `until`, so the stage after it can never be entered"),
        ([curriculum("{until: {}}", LAST)], "[0].until names neither a step nor a score"),
        ([curriculum("{until: {step: 3}}")], "[0] is the last stage, and its `until` leads nowhere"),
        ([curriculum("{until: {score: 1.01}}", LAST)], "[0].until.score is 1.01; scores lie between 0 and 1"),
        ([curriculum("{until: {score: 0}}", LAST)], "[0].until.score is 0.0; scores lie between 0 and 1"),
        ([curriculum("{until: {score: .nan}}", LAST)], "[0].until.score is nan; scores lie between"),
        ([curriculum("{until: {score: 0.5, of: traning}}", LAST)], "[0].until.of is 'traning'; did you mean 'train"),
        ([curriculum("{until: {step: 3, kind: who}}", LAST)], "[0].until says whose score counts, and no score"),
        (
            [curriculum("{until: {score: 0.5, of: training, kind: who}}", LAST)],
            "[0].until.kind is 'who', which counts held-out questions only",
        ),
        ([curriculum("{until: {score: 0.5}}", LAST), "eval.every=0"], "[0].until waits for a held-out score"),
        ([curriculum("{until: {score: 0.5}}", LAST), "eval.every=40"], "[0].until waits for a held-out score"),
        ([curriculum("{until: {score: 0.5}}", LAST), "eval.target=0.5"], "[0].until.score is 0.5 and eval.target 0.5"),
        (
            [curriculum("{until: {score: 0.5, of: training}}", LAST), "train.steps=3"],
            "[0].until waits for the mean of 3 steps and train.steps is 3",
        ),
        ([curriculum("{train: {chunk: 3}}")], "('synthetic') has the option 'chunk'; did you mean 'chunks'?"),
        ([curriculum("{train: {seed: 3}}")], "[0].train changes 'seed', which says what data there is"),
        ([curriculum("{train: {path: x}}")], "[0].train changes 'path', which says what data there is"),
        ([curriculum("{train: {chunks: 0}}")], "[0].train, merged over data.train[0]: synthetic: chunks, sentences"),
        ([curriculum("{train: {chunks: many}}")], "[0].train, merged over data.train[0]: source 'synthetic', option"),
        ([curriculum("{memory: {budget: 0}}")], "[0].memory.budget is 0; it must be a whole number of at least 1"),
        ([curriculum("{memory: {budget: 19}}")], "[0].memory: the core_budget (20) exceeds the budget (19)"),
        ([curriculum("{memory: {max_calls: true}}")], "[0].memory.max_calls is True; it must be a whole number"),
        ([curriculum("{memory: {render_budget: 256}}")], "[0].memory.render_budget (256) leaves no room"),
        ([curriculum("{memory: {retrieve_budget: 9}}")], "changes 'retrieve_budget', which belongs to the reader"),
        ([curriculum("{memory: {design: stores}}")], "changes 'design', which decides which tools the policy has"),
        ([curriculum("{memory: {budjet: 9}}")], "the memory has no setting 'budjet'; did you mean 'budget'?"),
        ([curriculum("{untill: {step: 3}}")], "data.curriculum[0] has no 'untill'; did you mean 'until'?"),
        ([curriculum("{until: {stpe: 3}}", LAST)], "data.curriculum[0].until has no 'stpe'; did you mean 'step'?"),
        ([curriculum("{until: 3}", LAST)], "data.curriculum[0].until must be a mapping like {step: 10}, not 3"),
        (["data.curriculum=3"], "data.curriculum must be a list like"),
        (["data.curriculum=[3]"], "data.curriculum must be a list like"),
        (["data.difficulty.keep=0"], "data.difficulty.keep is 0.0; it must lie between 0.05 and 1"),
        (["data.difficulty.keep=.nan"], "data.difficulty.keep is nan; it must be a finite number"),
        (["data.difficulty.easy=1.5"], "data.difficulty.easy is 1.5; it must lie between 0 and 1"),
        (["data.difficulty.hard=1"], "data.difficulty.hard (1) is not below data.difficulty.easy (1)"),
        (["data.difficulty.keep=0.5"], "data.train[0] (synthetic) makes new streams without end: none comes again"),
        (
            ["data.difficulty.keep=0.5", "data.train=[{source: synthetic, count: 9}]"],
            "Give it a `count` and a `seed`, which make it a finite set",
        ),
    ],
)  # fmt: skip
def test_what_cannot_work_is_refused_in_words(words: list[str], complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_config("tiny", words)
    assert complaint in str(caught.value)
    assert "things are wrong" not in str(caught.value), "and nothing beside it"


def test_all_that_is_wrong_with_a_curriculum_is_told_at_once() -> None:
    with pytest.raises(ConfigError, match="5 things are wrong"):
        load_config(
            "tiny", [curriculum("{until: {score: 2}, memory: {budget: 0}}", "{train: {chunk: 2}}", "{memory: {x: 1}}")]
        )


def test_a_sound_curriculum_is_loaded_saved_known_and_changed_by_an_override(tmp_path: Path) -> None:
    words = [curriculum("{until: {step: 10}, train: {chunks: 2}}", "{until: {score: 0.8, kind: who}}", LAST)]
    config = load_config(
        "tiny", [*words, "data.difficulty.keep=0.5", "data.train=[{source: synthetic, count: 9, seed: 1}]"]
    )
    assert config.data.curriculum == [
        StageConfig(UntilConfig(step=10), {"chunks": 2}),
        StageConfig(UntilConfig(score=0.8, kind="who")),
        StageConfig(train={"chunks": 24}),
    ]
    save_config(config, tmp_path / "config.yaml")
    assert load_config(tmp_path / "config.yaml") == config
    changed = load_config(tmp_path / "config.yaml", ["data.curriculum[0].until.step=20"])
    assert differences(decisive(config), changed) == {
        "data.curriculum[0].until.step": "data.curriculum[0].until.step: 10 then, 20 now"
    }
    without = load_config("tiny")
    assert "data.curriculum[2].train.chunks: 24 then, not set now" in differences(decisive(config), without).values()
    assert differences(decisive(config, training=False), without, training=False) == {}
