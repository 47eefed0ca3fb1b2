"""The frontier: what each method scores with how much memory, by kind of question and by length of text.

A policy is set beside each baseline at the same share of the text. Baselines that hold all of the text, or nothing,
stand at their one share, beside every budget of the policy.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memrl.envs.whole import whole_file
from memrl.evaluation.baselines import HELD
from memrl.evaluation.budgets import share_in_words
from memrl.evaluation.measure import Measured
from memrl.evaluation.results import (
    COLOURS,
    MARKERS,
    Which,
    average,
    better_by,
    better_by_kind,
    headline,
    score,
    scores_by_kind,
    unanswerable,
)
from memrl.policies.policy import POLICY
from memrl.report.tables import shown

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ALL = "all"
"""What tables and plots call the questions of every kind."""
MOST_KINDS = 6
"""Kinds that are drawn, those with most questions; tables have every kind."""
Row = dict[str, Any]


def frontier(measured: Sequence[Measured]) -> dict[str, list[Row]]:
    """Return `{results, differences}` of what was measured at budgets.

    A row of `results` is of a suite, a method, a budget (the share of the text that the memory may hold, or by nature
    does) and a length: `chunks` is None over all lengths of a suite that has several, which then have rows of their
    own. `score` is over the answerable questions, where there are any, as everywhere. A row of `differences` says by
    how much the policy at a `budget` is better than a method, over the questions of the score and by kind, paired by
    stream and question; the method's own share is `method_budget`.
    """
    suites: dict[str, list[Measured]] = defaultdict(list)
    for one in measured:
        suites[one.suite].append(one)
    results: list[Row] = []
    differences: list[Row] = []
    for suite, found in suites.items():
        which = headline(found)
        for chunks, part in _by_length(found):
            cells: dict[tuple[str, float], list[Measured]] = defaultdict(list)
            for one in part:
                cells[one.method, one.budget or 0.0].append(one)
            place = {"suite": suite, "chunks": chunks}
            results += [{**place, **_row(key, mine, which)} for key, mine in cells.items()]
            differences += [{**place, **row} for row in _differences(cells, which)]
    return {"results": results, "differences": differences}


def _by_length(found: Sequence[Measured]) -> Iterator[tuple[int | None, list[Measured]]]:
    """Yield all under their length, or under None where they have several, and then those of each length."""
    lengths = sorted({one.chunks for one in found})
    if len(lengths) > 1:
        yield None, list(found)
    for length in lengths:
        yield length, [one for one in found if one.chunks == length]


def _row(key: tuple[str, float], found: Sequence[Measured], which: Which) -> Row:
    done = [one for one in found if not one.failure]
    return {
        "method": key[0],
        "budget": key[1],
        "streams": len(done),
        "failures": len(found) - len(done),
        "score": score(found, which),
        "unanswerable": score(found, unanswerable),
        "by_kind": scores_by_kind(found),
        "memory_tokens": average([one.memory_tokens for one in done]),
        "chunk_tokens": average([one.chunk_tokens for one in done]),
    }


def _differences(cells: Mapping[tuple[str, float], list[Measured]], which: Which) -> Iterator[Row]:
    budgets = [budget for method, budget in cells if method == POLICY]
    for method, share in cells:
        if method == POLICY:
            continue
        for budget in budgets if method in HELD else [share]:
            policy, other = cells.get((POLICY, budget), []), cells[method, share]
            if (gap := better_by(policy, other, which)) is not None:
                yield {
                    "budget": budget,
                    "method": method,
                    "method_budget": share,
                    "policy_better_by": gap,
                    "by_kind": better_by_kind(policy, other),
                }


# Tables ---------------------------------------------------------------------------------------------------------------


def frontier_markdown(found: Mapping[str, Sequence[Row]], *, kinds: bool = True) -> str:
    """Return the tables of each suite: scores with the tokens held, and differences, for each budget.

    Args:
        kinds: by kind of question too; else over all of them alone.
    """
    lines: list[str] = []
    for (suite, chunks), rows in _places(found["results"]).items():
        budgets = _budgets(rows)
        names = [ALL, *(_kinds(rows) if kinds else [])]
        text = max((row["chunk_tokens"] or 0.0 for row in rows), default=0.0)
        streams = max(row["streams"] for row in rows)
        lines += [f"**{_title(suite, chunks)}**: {streams} streams, {text:,.0f} tokens of text each, on average.", ""]
        shares = [share_in_words(budget) for budget in budgets]
        lines += [f"| questions | method | {' | '.join(shares)} | whatever the budget |"]
        lines += ["|---" * (len(budgets) + 3) + "|"]
        methods = list(dict.fromkeys(row["method"] for row in rows))
        at = {(row["method"], row["budget"]): row for row in rows}
        for kind in names:
            for method in methods:
                held = HELD.get(method)
                cells = ["" if held is not None else _cell(at.get((method, budget)), kind) for budget in budgets]
                cells.append("" if held is None else _cell(at.get((method, float(held))), kind))
                lines.append(f"| {kind} | {method} | {' | '.join(cells)} |")
        gaps = [row for row in found["differences"] if (row["suite"], row["chunks"]) == (suite, chunks)]
        if gaps:
            lines += ["", f"| questions | policy better than | {' | '.join(shares)} |"]
            lines += ["|---" * (len(budgets) + 2) + "|"]
        by_cell = {(row["method"], row["budget"]): row for row in gaps}
        for kind in names if gaps else []:
            for method in dict.fromkeys(row["method"] for row in gaps):
                cells = [_gap(by_cell.get((method, budget)), kind) for budget in budgets]
                lines.append(f"| {kind} | {method} | {' | '.join(cells)} |")
        lines.append("")
    return "\n".join(lines).strip() + "\n"


def _places(rows: Sequence[Row]) -> dict[tuple[str, int | None], list[Row]]:
    places: dict[tuple[str, int | None], list[Row]] = defaultdict(list)
    for row in rows:
        places[row["suite"], row["chunks"]].append(row)
    return places


def _budgets(rows: Sequence[Row]) -> list[float]:
    return sorted({row["budget"] for row in rows if row["method"] not in HELD})


def _kinds(rows: Sequence[Row]) -> list[str]:
    """Return the kinds of questions, those with most questions first."""
    counts: dict[str, int] = defaultdict(int)
    for row in rows:
        for kind, mine in row["by_kind"].items():
            counts[kind] = max(counts[kind], mine["questions"])
    return sorted(counts, key=lambda kind: (-counts[kind], kind))


def _title(suite: str, chunks: int | None) -> str:
    return f"{suite}, all lengths" if chunks is None else f"{suite}, {chunks} chunks"


def _of(row: Row, kind: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = row["score"] if kind == ALL else row["by_kind"].get(kind)
    return found


def _cell(row: Row | None, kind: str) -> str:
    if row is None or _of(row, kind) is None:
        return ""
    tokens = f"; {row['memory_tokens']:,.0f} tokens" if kind == ALL else ""
    return f"{shown(_of(row, kind))}{tokens}"


def _gap(row: Row | None, kind: str) -> str:
    gap = None if row is None else row["policy_better_by"] if kind == ALL else row["by_kind"].get(kind)
    return "" if gap is None else f"{shown(gap, '+')}, p {gap['p']:.4f}"


# The plot -------------------------------------------------------------------------------------------------------------


def draw_frontier(found: Mapping[str, Sequence[Row]], path: Path) -> None:
    """Draw scores against tokens held as a PNG: a row of panels a suite and length, a column over all questions and one
    for each kind. What holds all of the text is one point, what holds nothing one level."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places = _places(found["results"])
    # A suite of many lengths is drawn over all of them: its single lengths may have a stream each.
    several = {suite for suite, chunks in places if chunks is None}
    places = {place: rows for place, rows in places.items() if place[1] is None or place[0] not in several}
    columns = [ALL, *_kinds([row for rows in places.values() for row in rows])[:MOST_KINDS]]
    methods = list(dict.fromkeys(row["method"] for row in found["results"]))
    size = (2.3 * len(columns) + 1.8, 2.1 * len(places) + 0.8)
    figure = Figure(figsize=size, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(len(places), len(columns), sharex="row", sharey=True, squeeze=False)
    for (place, rows), line in zip(places.items(), panels, strict=True):
        for kind, axes in zip(columns, line, strict=True):
            for number, method in enumerate(methods):
                mine = [row for row in rows if row["method"] == method and _of(row, kind) is not None]
                _draw_method(axes, number, method, mine, kind)
            axes.set_xscale("log", base=2)
            axes.set_ylim(-0.03, 1.03)
            axes.grid(True, color="0.92", linewidth=0.6)
            axes.spines[["top", "right"]].set_visible(False)
            axes.tick_params(labelsize=7)
        short = place[0].split(":")[0].rsplit("/", 1)[-1]
        line[0].set_ylabel(_title(short, place[1]).replace(", ", "\n"), fontsize=8)
    for kind, first, last in zip(columns, panels[0], panels[-1], strict=True):
        first.set_title(kind, fontsize=9)
        last.set_xlabel("memory tokens", fontsize=8)
    handles: dict[str, Any] = {}
    for axes in panels.flat:
        drawn, labels = axes.get_legend_handles_labels()
        handles |= dict(zip(labels, drawn, strict=True))
    figure.legend(handles.values(), handles.keys(), loc="outside right upper", frameon=False, fontsize=8)
    with whole_file(path) as partial:
        figure.savefig(partial, format="png")


def _draw_method(axes: Axes, number: int, method: str, rows: Sequence[Row], kind: str) -> None:
    """Draw one method's points, joined where it has several; nothing where it has none."""
    found = [(max(row["memory_tokens"], 1.0), _of(row, kind)) for row in sorted(rows, key=lambda row: row["budget"])]
    points = [(tokens, mine) for tokens, mine in found if mine is not None]
    if not points:
        return
    colour = COLOURS[number % len(COLOURS)]
    y = [mine["value"] for _, mine in points]
    if HELD.get(method) == 0:
        axes.axhline(y[0], label=method, color=colour, linewidth=0.8, linestyle="--")
        return
    low = [mine["value"] - (mine["value"] if mine["low"] is None else mine["low"]) for _, mine in points]
    high = [(mine["value"] if mine["high"] is None else mine["high"]) - mine["value"] for _, mine in points]
    axes.errorbar(
        [tokens for tokens, _ in points],
        y,
        yerr=[low, high],
        label=method,
        color=colour,
        marker=MARKERS[number % len(MARKERS)],
        # Hollow and of different sizes: what holds all of the text stands at one place, and often at one score.
        markersize=3 + 2 * list(HELD).index(method) if method in HELD else 4,
        markerfacecolor="none" if method in HELD else colour,
        linewidth=1.8 if method == POLICY else 1.0,
        linestyle="" if method in HELD else "-" if method == POLICY else ":",
        capsize=2,
    )
