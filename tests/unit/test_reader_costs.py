"""Costs are counted from records, and summed over rows of any age."""

from memrl.frozen.costs import reader_costs, total_costs
from memrl.records import AnswerRecord


def record(attempts: int, prompt_tokens: int = 10, completion_tokens: int = 2) -> AnswerRecord:
    return AnswerRecord(
        question_id="q1",
        kind="fact",
        question="Where?",
        gold=["Rome"],
        answer="Rome",
        metric="exact_match",
        score=1.0,
        evidence=None,
        retrieved=[],
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        attempts=attempts,
    )


def test_calls_cached_answers_and_repeated_requests_are_told_apart() -> None:
    costs = reader_costs([record(1), record(0), record(4), record(0)], "eval/reader_")
    assert costs == {
        "eval/reader_calls": 4,
        "eval/reader_cached": 2,
        "eval/reader_retries": 3,
        "eval/reader_prompt_tokens": 40,
        "eval/reader_completion_tokens": 8,
    }


def test_totals_take_training_and_evaluations_together_and_rows_without_counts() -> None:
    rows = [
        {"step": 0, **reader_costs([record(1)], "eval/reader_")},
        {"step": 1, "reader/calls": 7},  # of an older version
        {"step": 2, **reader_costs([record(3), record(0)]), **reader_costs([record(1)], "eval/reader_")},
    ]
    assert total_costs(rows) == {
        "calls": 11,
        "cached": 1,
        "retries": 2,
        "prompt_tokens": 40,
        "completion_tokens": 8,
    }
