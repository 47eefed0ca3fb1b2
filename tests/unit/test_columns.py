"""Tables for a terminal: within its columns, with nothing cut."""

from __future__ import annotations

import random

from memrl.look.columns import WIDTH, table
from memrl.look.compare import compare_text
from memrl.look.words import runs_text
from memrl.report.causes import IN_WORDS


def test_a_table_that_has_room_is_one_line_a_row() -> None:
    assert list(table([["step", "held-out"], ["0", "0.5"], ["10", "0.75"]])) == [
        "step  held-out",
        "0     0.5",
        "10    0.75",
    ]


def test_words_of_the_head_stand_below_each_other_where_room_is_short() -> None:
    head = ["step", *(f"{number} stored, and later lost" for number in range(4))]
    lines = list(table([head, ["0", "1", "2", "3", "4"]]))
    assert lines[:4] == [
        "step  0        1        2        3",
        "      stored,  stored,  stored,  stored,",
        "      and      and      and      and",
        "      later    later    later    later",
    ]
    assert lines[5] == "0     1        2        3        4"


def test_columns_without_room_follow_after_the_first_one_again() -> None:
    lines = list(table([["step", *"abcd"], ["7", *(name * 30 for name in "abcd")]]))
    assert lines == [
        f"step  {'a':30}  b",
        f"7     {'a' * 30}  {'b' * 30}",
        "",
        f"step  {'c':30}  d",
        f"7     {'c' * 30}  {'d' * 30}",
    ]


def test_a_long_text_is_broken_and_whole() -> None:
    rows = [["episode", "stream", "paid"], ["0", "/a/b " * 30, "0.5"], ["1", "s" * 300, ""]]
    lines = list(table(rows, long=1))
    assert all(len(line) <= WIDTH for line in lines)
    assert sum(line.count("/a/b") for line in lines) == 30 and sum(line.count("s") for line in lines[1:]) == 300 + 0
    assert lines[1].startswith("0") and lines[1].endswith("0.5")


def test_no_table_is_wider_than_a_terminal_and_no_cell_is_lost() -> None:
    rng = random.Random(0)
    for _ in range(300):
        count = rng.randrange(1, 15)
        rows = [
            ["".join(rng.choice("ab ") for _ in range(rng.randrange(38))).strip() for _ in range(count)]
            for _ in range(4)
        ]
        long = rng.choice([None, rng.randrange(count)])
        indent = rng.choice(["", "  "])
        lines = list(table(rows, indent, long=long))
        assert all(len(line) <= WIDTH for line in lines), rows
        words = sorted(word for row in rows for cell in row[1:] for word in cell.split())
        if long is None:
            told = sorted(word for row in rows for word in row[0].split())
            shown = [word for line in lines for word in line.split()]
            assert all(shown.count(word) >= words.count(word) for word in words) and set(told) <= set(shown)


def score(value: float) -> dict[str, float]:
    return {"value": value, "low": value - 0.1, "high": value + 0.1}


def test_runs_stand_in_one_line_each_or_below_their_folders() -> None:
    def rows(folder: str) -> list[dict[str, object]]:
        shared = {"name": "n" * 40, "best": score(0.5), "last": score(0.5), "damage": []}
        return [
            {"folder": f"{folder}{seed}", "seed": seed, "state": "damaged", "of": "10000/20000", **shared}
            for seed in (0, 12345)
        ]

    short = [{**row, "name": "tiny", "of": "4/6", "seed": 0} for row in rows("a")]
    assert list(runs_text(short))[1].split()[:3] == ["a0", "tiny", "0"]
    long = f"/{'folder/' * 20}"
    lines = list(runs_text(rows(long)))
    assert lines[2] == f"{long}0 ({'n' * 40})" and lines[4] == f"{long}12345 ({'n' * 40})"
    assert all(len(line) <= WIDTH for line in (*lines[:2], lines[3], lines[5]))
    assert lines[5].split()[:3] == ["12345", "damaged", "10000/20000"]


def test_a_comparison_of_many_kinds_fits() -> None:
    kinds = ["all", "k" * 40, "latest"]
    gap = {"value": -0.1, "low": -0.2, "high": 0.1, "p": 0.03}
    found = {
        "runs": ["runs/a", "runs/b"], "steps": [4, 12],
        "curve": [{"step": 10_000, "one": score(0.4), "other": None}],
        "final": {kind: [score(0.4), score(0.3)] for kind in kinds},
        "better_by": gap, "better_by_kind": dict.fromkeys(kinds[1:], gap),
        "causes": [{cause.value: 12_345 for cause in IN_WORDS}, None],
    }  # fmt: skip
    lines = list(compare_text(found))
    assert lines[:2] == ["one:   runs/a (step 4)", "other: runs/b (step 12)"]
    assert all(len(line) <= WIDTH for line in lines)
    assert sum("-0.100 [-0.200, +0.100]" in line and line.endswith("0.0300") for line in lines) == 3
