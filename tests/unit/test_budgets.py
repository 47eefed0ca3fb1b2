"""Budgets as shares of a text: how they are written, what they come to, and what is drawn and told of them."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import pytest

from memrl.config import MemoryConfig
from memrl.errors import ConfigError
from memrl.evaluation.budgets import at_share, check_free, read_budgets, share_in_words
from memrl.evaluation.frontier import draw_frontier, frontier, frontier_markdown
from memrl.evaluation.measure import Measured
from memrl.records import AnswerRecord


def test_budgets_are_fractions_or_decimals_least_first() -> None:
    assert read_budgets("1, 1/8,0.25") == (Fraction(1, 8), Fraction(1, 4), Fraction(1))
    assert [share_in_words(float(share)) for share in read_budgets("1,1/3,0.125")] == ["1/8", "1/3", "1"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("0", "0 is not above 0"),
        ("0/8", "0/8 is not above 0"),
        ("-1/4", "-1/4 is not above 0"),
        ("1/4,1.01", "1.01 is above 1"),
        ("1/0", "'1/0' is no number"),
        ("nan", "'nan' is no number"),
        ("1e-999999999", "is no number"),
        ("12 %", "is no number"),
        ("1/2,0.5,2/4", r"same budget 3 times \(1/2, 0.5, 2/4\)"),
        (" , ", "names no budget"),
    ],
)
def test_what_is_no_budget_is_named(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        read_budgets(words)


def test_a_budget_is_not_said_twice() -> None:
    check_free(["run", "synthetic:chunks=4,memory.retrieve_budget=20"], ["reader.type=lexical"])
    with pytest.raises(ConfigError, match=r"suite 'run:memory\.budget=9' sets memory\.budget, and"):
        check_free(["synthetic", "run:memory.budget=9"], [])
    with pytest.raises(ConfigError, match=r"a setting sets memory\.budget"):
        check_free(["run"], ["seed=1", "memory.budget=9"])


def test_a_share_is_rounded_down_to_one_token_at_least_and_the_core_stays_within() -> None:
    memory = MemoryConfig(budget=500, core_budget=20, retrieve_budget=12)
    assert [at_share(memory, Fraction(1, 8), tokens).budget for tokens in (103, 104, 3)] == [12, 13, 1]
    small, large = at_share(memory, Fraction(1, 8), 103), at_share(memory, Fraction(1), 103)
    assert (small.core_budget, large.core_budget, large.budget) == (12, 20, 103)
    assert small.retrieve_budget == large.retrieve_budget == 12


def measured(method: str, budget: float, stream: int, chunks: int, scores: dict[str, float]) -> Measured:
    answers = [
        AnswerRecord(
            question_id=kind, kind=kind, question="?", gold=["x"], answer="x", metric="substring", score=score,
            evidence=None, retrieved=[],
        )
        for kind, score in scores.items()
    ]  # fmt: skip
    return Measured(
        suite="s", method=method, stream=f"s{stream}", set_name="s", chunks=chunks, budget=budget, answers=answers,
        memory_tokens=int(100 * budget), chunk_tokens=100,
    )  # fmt: skip


FOUND = [
    one
    for stream, chunks in enumerate((2, 2, 9))
    for one in (
        measured("policy", 0.25, stream, chunks, {"fact": 1.0, "when": 0.0}),
        measured("policy", 1.0, stream, chunks, {"fact": 1.0, "when": 1.0}),
        measured("verbatim", 0.25, stream, chunks, {"fact": 0.0, "when": 0.0}),
        measured("verbatim", 1.0, stream, chunks, {"fact": 1.0, "when": 0.0}),
        measured("bm25", 1.0, stream, chunks, {"fact": 1.0, "when": 1.0}),
    )
]


def test_lengths_stand_by_themselves_and_together() -> None:
    found = frontier(FOUND)
    lengths = {row["chunks"]: row["streams"] for row in found["results"]}
    assert lengths == {None: 3, 2: 2, 9: 1}
    assert [row["chunks"] for row in frontier(FOUND[:10])["results"]] == [2] * 5, "one length has one row"
    whole = {(row["method"], row["budget"]): row for row in found["results"] if row["chunks"] is None}
    assert whole["policy", 0.25]["score"]["value"] == 0.5 and whole["policy", 0.25]["memory_tokens"] == 25
    assert whole["policy", 0.25]["by_kind"]["when"]["value"] == 0.0


def test_equal_budgets_are_paired_and_all_of_the_text_with_each() -> None:
    gaps = {
        (row["method"], row["budget"], row["method_budget"]): row
        for row in frontier(FOUND)["differences"]
        if row["chunks"] is None
    }
    assert set(gaps) == {("verbatim", 0.25, 0.25), ("verbatim", 1.0, 1.0), ("bm25", 0.25, 1.0), ("bm25", 1.0, 1.0)}
    values = {key: {kind: gap["value"] for kind, gap in row["by_kind"].items()} for key, row in gaps.items()}
    assert values["verbatim", 0.25, 0.25] == {"fact": 1.0, "when": 0.0}
    assert values["bm25", 0.25, 1.0] == {"fact": 0.0, "when": -1.0}
    assert gaps["bm25", 0.25, 1.0]["policy_better_by"]["value"] == -0.5


def test_tables_and_plot_show_every_budget(tmp_path: Path) -> None:
    table = frontier_markdown(frontier(FOUND))
    rows = [line for line in table.splitlines() if line.startswith("| all | policy |")]
    assert len(rows) == 3 and all("25 tokens" in row and "100 tokens" in row for row in rows)
    assert "| when | bm25 | -1.000 [-1.000, -1.000], p 0.2500 | +0.000 [+0.000, +0.000], p 1.0000 |" in table
    assert "| when |" not in frontier_markdown(frontier(FOUND), kinds=False)
    draw_frontier(frontier(FOUND), tmp_path / "frontier.png")
    assert (tmp_path / "frontier.png").read_bytes().startswith(b"\x89PNG")
