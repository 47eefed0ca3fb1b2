"""The curve is drawn from whatever rows a run has: a PNG of the stated resolution, whole, whatever is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from matplotlib.image import imread

from memrl.report.curve import draw_curve


def full_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for step in range(11):
        row = {"step": step, "reward/qa": step / 10, "reward/compression": 0.4, "reward/tool_success": 1.0}
        if step % 5 == 0:
            row |= {"eval/qa": step / 10, "eval/qa_low": step / 10 - 0.1, "eval/qa_high": step / 10 + 0.1}
        rows.append(row)
    return rows


@pytest.mark.long
@pytest.mark.parametrize(
    "rows",
    [
        full_rows(),
        full_rows()[:1],
        [{"step": 1, "reward/qa": 0.5}],
        [{"step": 0, "eval/qa": 0.5}],
        [{"step": 0, "eval/qa": None, "reward/qa": float("nan")}],
        [],
    ],
    ids=["full", "one-row", "no-eval", "no-interval", "nothing-finite", "empty"],
)
def test_a_whole_png_is_left(rows: list[dict[str, Any]], tmp_path: Path) -> None:
    path = tmp_path / "curve.png"
    draw_curve(rows, path, "tiny · seed 0")
    height, width = imread(path).shape[:2]
    assert (width, height) == (1118, 702)
    assert [file.name for file in tmp_path.iterdir()] == ["curve.png"]


@pytest.mark.long
def test_the_same_rows_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        draw_curve(full_rows(), tmp_path / name, "tiny")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
