"""No kind may rot: the test of a fall, its two levels, the choice of the best evaluation, and where all of it is
shown."""

from __future__ import annotations

import json
from dataclasses import asdict
from io import StringIO
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from memrl.evaluation.evaluate import Evaluation
from memrl.evaluation.kinds import ALARM, BELOW, Fall, alarm_level, falls, kind_scores
from memrl.evaluation.statistics import Interval, fall_p
from memrl.records import AnswerRecord, Episode
from memrl.report.curve import kinds_of
from memrl.report.progress import final_table
from memrl.storage.rundir import best_row

# The test -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gaps", "p"),
    [
        ([-1.0], 1 / 2),  # of +1 and -1, one is as low
        ([-1.0] * 3, 1 / 8),
        ([-1.0] * 5, 1 / 32),
        ([-1.0, -1.0, 1.0], 1 / 2),  # sums of three signs: -3 once, -1 three times, of eight
        ([-2.0, -1.0, 1.0], 3 / 8),  # -4 once, -2 twice
        ([0.0, 0.0], 1.0),
        ([1.0] * 4, 1.0),
        ([-0.5] * 16, 2**-16),
        ([-0.1] * 40, 1 / 100_001),  # none of 100,000 drawn ones is as low
        ([0.1] * 40, 0.5),  # no fall
    ],
)
def test_the_p_of_a_fall_is_that_of_the_sign_flip_test(gaps: list[float], p: float) -> None:
    assert fall_p(gaps) == pytest.approx(p)


def test_drawn_flips_give_what_the_normal_approximation_does() -> None:
    rng = np.random.default_rng(1)
    for z in (-1.0, -2.0, -3.0):
        gaps = rng.choice((-1.0, 1.0), 400)
        gaps += z / 20 - gaps.mean()
        found = fall_p(gaps.tolist())
        assert found == pytest.approx(NormalDist().cdf(gaps.sum() / np.sqrt((gaps**2).sum())), rel=0.1)
        assert fall_p(gaps.tolist()) == found, "the same each time"


@pytest.mark.parametrize("gaps", [[], [float("nan")]])
def test_a_test_of_nothing_is_refused(gaps: list[float]) -> None:
    with pytest.raises(ValueError, match="at least one difference"):
        fall_p(gaps)


def scores(**kinds: list[float]) -> dict[str, dict[str, float]]:
    return {kind: {str(number): score for number, score in enumerate(of)} for kind, of in kinds.items()}


def test_a_kind_that_falls_is_found_however_much_the_others_rise() -> None:
    before = scores(fact=[0.5] * 20, when=[1.0] * 20, who=[0.5] * 4)
    now = scores(fact=[1.0] * 20, when=[0.5] * 20, who=[0.0] * 4)
    assert falls(before, now, 1) == {"when": Fall(-0.5, pytest.approx(1 / 100_001), 20, alarm=True)}  # who: too few
    now["who"] = {str(number): 0.0 for number in range(9)}  # streams that were not measured before do not count
    assert set(falls(before, now, 1)) == {"when"}
    assert falls(before, before, 1) == {}
    assert falls(before, {}, 1) == falls({}, now, 1) == {}


def test_a_fall_may_be_too_small_for_the_alarm_and_yet_be_no_best() -> None:
    """Six streams, all lower: p = 1/64. The alarm's level for one kind is 0.025 at the first look, then 0.0083."""
    before, now = scores(when=[1.0] * 6), scores(when=[0.9] * 6)
    assert falls(before, now, 1)["when"].alarm
    found = falls(before, now, 2)["when"]
    assert (found.p, found.alarm) == (1 / 64, False)
    assert falls(scores(when=[1.0] * 4), scores(when=[0.9] * 4), 1) == {}, "1/16: no fall at all"


def test_the_levels_of_all_kinds_and_looks_sum_to_no_more_than_the_alarms() -> None:
    assert alarm_level(1, 4) == ALARM / 8
    assert alarm_level(8, 4) == ALARM / 288
    assert sum(4 * alarm_level(look, 4) for look in range(1, 10_000)) < ALARM
    assert alarm_level(1, 1) <= BELOW


@pytest.mark.long
def test_the_alarm_does_not_ring_by_chance_however_often_one_looks() -> None:
    """Runs in which nothing changes but by luck: 12 streams, three kinds, six looks."""
    rng = np.random.default_rng(0)
    rung = 0
    for _ in range(200):
        before = scores(**{kind: rng.integers(0, 2, 12).tolist() for kind in "abc"})
        looks = [scores(**{kind: rng.integers(0, 2, 12).tolist() for kind in "abc"}) for _ in range(6)]
        found = [falls(before, now, look) for look, now in enumerate(looks, start=1)]
        rung += any(fall.alarm for one in found for fall in one.values())
    assert rung / 200 <= ALARM


def answer(kind: str, score: float) -> AnswerRecord:
    return AnswerRecord(
        question_id="q", kind=kind, question="?", gold=["x"], answer="", metric="exact_match", score=score,
        evidence=None, retrieved=[],
    )  # fmt: skip


def test_scores_are_kept_by_kind_and_stream_and_failures_leave_a_hole() -> None:
    def episode(*answers: AnswerRecord) -> Episode:
        return Episode(
            stream_id="s", source="x", index=0, version=1, seed=0, steps=[], answers=list(answers), memory={},
            chunk_tokens=1, memory_tokens=0,
        )  # fmt: skip

    outcomes = [
        episode(answer("who", 1.0), answer("who", 0.0), answer("when", 1.0)),
        "it failed",
        episode(answer("who", 1.0)),
    ]
    assert kind_scores(outcomes) == {"when": {"0": 1.0}, "who": {"0": 0.5, "2": 1.0}}


# The choice ---------------------------------------------------------------------------------------------------------

FELL = {"when": Fall(-0.2, 0.001, 30, alarm=True)}
SLIPPED = {"when": Fall(-0.1, 0.02, 30, alarm=False)}
TWO = {**SLIPPED, "who": Fall(-0.3, 0.001, 30, alarm=True)}


def evaluation(step: int, qa: float, found: dict[str, Fall] | None) -> Evaluation:
    return Evaluation(
        step=step, version=step, parts={"qa": Interval(qa, qa - 0.1, qa + 0.1)},
        by_kind={"when": Interval(0.5, 0.4, 0.6), "who": Interval(qa, None, None)}, streams=30, failures=0, falls=found,
    )  # fmt: skip


def chosen(*found: Evaluation) -> int:
    """The step of the best of them, by the run's state and by the rows that it leaves."""
    from memrl.training.state import RunState

    state = RunState.__new__(RunState)
    state.evaluations = list(found)
    row = best_row([{"step": 99}, *({"step": one.step, **one.metrics()} for one in found)])
    assert row is not None and row["step"] == state.ranked()[0].step
    return int(row["step"])


@pytest.mark.long
def test_the_best_evaluation_is_the_highest_less_the_fall_of_its_worst_kind() -> None:
    start = evaluation(0, 0.5, {})
    assert chosen(start, evaluation(5, 0.75, {}), evaluation(10, 0.9, FELL)) == 5, "0.9 - 0.2 is less"
    assert chosen(start, evaluation(5, 0.65, {}), evaluation(10, 0.9, FELL)) == 10
    assert chosen(start, evaluation(5, 0.75, {}), evaluation(10, 0.8, SLIPPED)) == 5, "no alarm is needed"
    assert chosen(start, evaluation(5, 0.8, TWO), evaluation(10, 0.78, FELL)) == 10, "the worst kind counts, 0.3 here"
    assert chosen(start, evaluation(5, 0.7, {}), evaluation(10, 0.7, {})) == 5, "of equals the earlier"
    assert chosen(start, evaluation(5, 0.65, FELL), evaluation(10, 0.55, SLIPPED)) == 0, "training has cost more"
    assert chosen(evaluation(0, 0.5, None), evaluation(5, 0.6, None)) == 5, "a run from before falls were looked for"
    assert best_row([{"step": 1}]) is None


def test_falls_are_kept_in_checkpoints_rows_and_the_summary() -> None:
    found = evaluation(5, 0.6, FELL)
    assert Evaluation.restore(json.loads(json.dumps(asdict(found)))) == found
    old = asdict(found)
    del old["falls"]
    assert Evaluation.restore(old) == evaluation(5, 0.6, None)
    assert (found.metrics()["alarm/kind_fell"], found.metrics()["eval/worst_fall"]) == (1.0, -0.2)
    assert evaluation(5, 0.6, SLIPPED).metrics()["alarm/kind_fell"] == 0.0
    assert not {"alarm/kind_fell", "eval/worst_fall"} & evaluation(5, 0.6, None).metrics().keys()
    assert found.summary()["kinds_below"] == {"when": {"value": -0.2, "p": 0.001, "streams": 30, "alarm": True}}


# Where it is shown --------------------------------------------------------------------------------------------------


def shown(width: int = 160, **moments: Evaluation) -> str:
    summary: dict[str, Any] = {
        "name": "tiny", "episodes": 8, "wall_seconds": {"total": 60.0},
        "eval": {name: found.summary() for name, found in moments.items()},
    }  # fmt: skip
    console = Console(file=StringIO(), width=width)
    console.print(final_table(summary, Path("runs/x"), width))
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_final_table_has_each_kind_with_its_interval_and_marks_those_that_fell() -> None:
    lines = shown(
        before=evaluation(0, 0.5, {}), best=evaluation(5, 0.6, {}), after=evaluation(9, 0.7, FELL)
    ).splitlines()
    [when] = [line for line in lines if "kind when" in line]
    assert when.count("0.500 [0.400, 0.600]") == 3
    assert when.count("fell 0.500") == 1 and when.index("fell") > when.index("0.600]", when.index("0.600]") + 1)
    [who] = [line for line in lines if "kind who" in line]
    assert "0.600 (no interval)" in who and "fell" not in who
    assert "fell: significantly below its score before training" in " ".join(" ".join(lines).split())
    assert "fell" not in shown(**{name: evaluation(0, 0.5, {}) for name in ("before", "best", "after")})


def test_the_final_table_breaks_no_cell_in_a_narrow_console() -> None:
    found = {name: evaluation(5, 0.6, FELL) for name in ("before", "best", "after")}
    lines = shown(80, **found).splitlines()
    assert max(map(len, lines)) <= 80
    cells = [cell.strip() for line in lines for cell in line.split("│")]
    assert "[0.400, 0.600]" in cells, cells
    assert not any(cell.count("[") != cell.count("]") for cell in cells), cells


def test_the_curve_knows_the_kinds_from_the_ends_of_the_interval() -> None:
    row = {"eval/qa": 1, "eval/qa_low": 1, "eval/qa_high": 1, "eval/qa_when": 1, "eval/qa_multi-hop": 1, "reward/qa": 1}
    assert kinds_of([{"step": 0}, row]) == ["multi-hop", "when"]
