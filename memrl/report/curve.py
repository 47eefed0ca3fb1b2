"""The learning curve as a PNG: held-out QA with its interval, each kind of question as a thin line, training reward,
and below them the other parts."""

from __future__ import annotations

import math
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memrl.envs.whole import whole_file
from memrl.report.progress import part_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe-Ito: told apart with any kind of colour vision; the line styles and markers tell them apart without colour.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
OTHERS = ("#E69F00", "#56B4E9", "#000000", "#F0E442")
PART_STYLES: dict[str, dict[str, str]] = {
    "compression": {"color": GREEN, "linestyle": "-"},
    "tool_success": {"color": PURPLE, "linestyle": "--"},
}
"""Parts that ship keep their looks from run to run; others take the next of OTHERS."""


def _series(metrics: list[dict[str, Any]], *keys: str) -> list[list[float]]:
    """Steps and the keys' values, from the rows that have all of them as finite numbers."""
    rows = [
        [float(row[key]) for key in ("step", *keys)]
        for row in metrics
        if all(isinstance(row.get(key), int | float) and math.isfinite(row[key]) for key in ("step", *keys))
    ]
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(len(keys) + 1)]


KIND = "eval/qa_"
NAMED_KINDS = 8
"""Kinds that the legend names; more would not fit beside the axes."""


def kinds_of(metrics: list[dict[str, Any]]) -> list[str]:
    """Return the kinds of question that the rows have scores of, in order."""
    keys = {key for row in metrics for key in row if key.startswith(KIND)} - {"eval/qa_low", "eval/qa_high"}
    return sorted(key.removeprefix(KIND) for key in keys)


def _line(axes: Axes, metrics: list[dict[str, Any]], key: str, label: str, **style: Any) -> None:
    steps, values = _series(metrics, key)
    if steps:
        axes.plot(steps, values, label=label, **style)


def _dress(axes: Axes, label: str) -> None:
    axes.set_ylabel(label)
    axes.grid(True, axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if handles:  # drawn last lies on top, and is named first
        axes.legend(
            handles[::-1], labels[::-1], frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=9
        )


def draw_curve(metrics: list[dict[str, Any]], path: Path, title: str) -> None:
    """Draw a run's curve.

    Args:
        metrics: rows of `metrics.jsonl`: `step` and any of `eval/qa`, `eval/qa_low`, `eval/qa_high`, `eval/qa_` with a
            kind of question, `reward/qa`, and `reward/` with any other part. Rows without a key are passed over for
            that line.
        path: the PNG; written whole or not at all.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8.6, 5.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1.3])

    _line(upper, metrics, "reward/qa", "training QA (sampled)", color=ORANGE, linewidth=1.0, alpha=0.85)
    looks = cycle([(color, line) for line in (":", "--", "-.") for color in (GREEN, PURPLE, *OTHERS[:3])])
    for number, (kind, (color, line)) in enumerate(zip(kinds_of(metrics), looks, strict=False)):
        label = f"held out: {kind}" if number < NAMED_KINDS else "_"  # a label with a mark before it is not shown
        _line(upper, metrics, KIND + kind, label, color=color, linestyle=line, linewidth=0.8, alpha=0.9)
    steps, low, high = _series(metrics, "eval/qa_low", "eval/qa_high")
    if steps:
        upper.fill_between(steps, low, high, color=BLUE, alpha=0.18, linewidth=0, label="95 % interval")
    _line(upper, metrics, "eval/qa", "held-out QA", color=BLUE, linewidth=2.2, marker="o", markersize=4.5)
    steps, values = _series(metrics, "eval/qa")
    # The first and the last figure are the ones a reader looks for; the others would only crowd the line.
    for place in {0, len(steps) - 1} if steps else ():
        upper.annotate(
            f"{values[place]:.2f}",
            (steps[place], values[place]),
            xytext=(0, 9),
            textcoords="offset points",
            ha="center",
            color=BLUE,
            fontsize=9,
            fontweight="bold",
        )
    upper.set_ylim(-0.03, 1.08)
    upper.set_title(title, loc="left", fontsize=12)
    _dress(upper, "question score")

    parts = dict.fromkeys(key for row in metrics for key in row if key.startswith("reward/"))
    free = cycle(OTHERS)
    for key in (key for key in parts if key not in {"reward/total", "reward/qa"}):
        name = key.removeprefix("reward/")
        style = PART_STYLES.get(name) or {"color": next(free), "linestyle": "-."}
        _line(lower, metrics, key, part_label(name), linewidth=1.3, **style)
    low_end, high_end = lower.get_ylim()
    lower.set_ylim(min(-0.05, low_end), max(1.05, high_end))
    _dress(lower, "other parts")
    lower.set_xlabel("trainer step")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10]))
    figure.align_ylabels()

    with whole_file(path) as partial:
        figure.savefig(partial, format="png")
