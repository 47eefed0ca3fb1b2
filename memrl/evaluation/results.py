"""What an evaluation found, as figures: results.json, a Markdown table, a plot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memrl.evaluation.compare import POLICY, Measured
from memrl.evaluation.statistics import bootstrap_interval, paired_difference
from memrl.report.rewards import mean

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"


def results(measured: Sequence[Measured], *, reader: str, judge: str | None) -> dict[str, Any]:
    """All figures.

    `score` is the mean over streams of each stream's mean question score, with a 95 % bootstrap interval over streams;
    `macro` the plain mean of a method's scores over suites; `policy_better_by` is paired by stream. A stream that
    failed is in no score, and counted in `failures`.
    """
    cells: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for one in measured:
        cells[one.suite, one.method].append(one)
    rows = [_row(suite, method, found, cells.get((suite, POLICY), [])) for (suite, method), found in cells.items()]
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["score"] is not None:
            scores[row["method"]].append(row["score"]["value"])
    suites = len({row["suite"] for row in rows})
    macro = {name: mean(found) for name, found in scores.items() if len(found) == suites}
    return {"reader": reader, "judge": judge, "results": rows, "macro": macro, "by_chunks": _by_chunks(measured)}


def _row(suite: str, method: str, found: Sequence[Measured], policy: Sequence[Measured]) -> dict[str, Any]:
    done = [one for one in found if not one.failure]
    kinds: dict[str, list[float]] = defaultdict(list)
    for one in done:
        for answer in one.answers:
            kinds[answer.kind].append(answer.score)
    theirs = {one.stream: _mean(one) for one in policy if not one.failure}
    pairs = [(theirs[one.stream], _mean(one)) for one in done if one.stream in theirs]
    paired = method != POLICY and pairs
    return {
        "suite": suite,
        "method": method,
        "streams": len(done),
        "failures": len(found) - len(done),
        "questions": sum(len(one.answers) for one in done),
        "score": _score(done) if done else None,
        "by_kind": {kind: mean(values) for kind, values in sorted(kinds.items())},
        "memory_tokens": _average([one.memory_tokens for one in done]),
        "chunk_tokens": _average([one.chunk_tokens for one in done]),
        "prompt_tokens": sum(one.prompt_tokens for one in done),
        "completion_tokens": sum(one.completion_tokens for one in done),
        "reader_calls": sum(len(one.answers) for one in done),
        "reader_tokens": sum(a.prompt_tokens + a.completion_tokens for one in done for a in one.answers),
        "seconds": round(sum(one.seconds for one in done), 3),
        "policy_better_by": asdict(paired_difference(*zip(*pairs, strict=True))) if paired else None,
    }


def _score(done: Sequence[Measured]) -> dict[str, float]:
    return asdict(bootstrap_interval([[answer.score for answer in one.answers] for one in done]))


def _mean(one: Measured) -> float:
    return mean([answer.score for answer in one.answers])


def _average(values: Sequence[int]) -> float | None:
    return round(mean(values), 1) if values else None


def _by_chunks(measured: Sequence[Measured]) -> list[dict[str, Any]]:
    """Scores by the length of streams, all suites together."""
    cells: dict[tuple[str, int], list[Measured]] = defaultdict(list)
    for one in measured:
        if not one.failure:
            cells[one.method, one.chunks].append(one)
    return [
        {
            "method": method,
            "chunks": chunks,
            "streams": len(found),
            "score": _score(found),
        }
        for (method, chunks), found in sorted(cells.items())
    ]


def markdown(found: dict[str, Any]) -> str:
    """A table for each suite, best score first."""
    judge = f"; judge: {found['judge']}" if found["judge"] else ""
    lines = [f"Reader: {found['reader']}{judge}. 95 % intervals over streams; differences paired by stream."]
    for suite in dict.fromkeys(row["suite"] for row in found["results"]):
        rows = [row for row in found["results"] if row["suite"] == suite]
        lines += ["", f"**{suite}**, {max(row['streams'] for row in rows)} streams", ""]
        lines += ["| method | score | memory tokens | policy better by | p | failed |", "|---|---|---|---|---|---|"]
        for row in sorted(rows, key=lambda row: -(row["score"] or {"value": -1.0})["value"]):
            gap = row["policy_better_by"]
            lines.append(
                f"| {row['method']} | {shown(row['score'])} | {row['memory_tokens'] or 0:,.0f} of "
                f"{row['chunk_tokens'] or 0:,.0f} | {shown(gap)} | {'' if gap is None else format(gap['p'], '.4f')} | "
                f"{row['failures']} |"
            )
    if len(found["macro"]) and len({row["suite"] for row in found["results"]}) > 1:
        best = sorted(found["macro"].items(), key=lambda item: -item[1])
        lines += ["", "Mean over suites: " + ", ".join(f"{name} {value:.3f}" for name, value in best)]
    return "\n".join(lines) + "\n"


def shown(interval: dict[str, float] | None, sign: str = "") -> str:
    """`0.889 [0.854, 0.920]`; nothing where there is none.

    Args:
        sign: `+` to show it always.
    """
    return "" if interval is None else "{value:{0}.3f} [{low:{0}.3f}, {high:{0}.3f}]".format(sign, **interval)


def draw(found: dict[str, Any], path: Path) -> None:
    """Scores by the length of streams, one line a method."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.6, 4.4), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    methods = list(dict.fromkeys(row["method"] for row in found["by_chunks"]))
    for place, method in enumerate(methods):
        rows = [row for row in found["by_chunks"] if row["method"] == method]
        x = [row["chunks"] for row in rows]
        y = [row["score"]["value"] for row in rows]
        bars = [[row["score"]["value"] - row["score"]["low"] for row in rows]]
        bars.append([row["score"]["high"] - row["score"]["value"] for row in rows])
        axes.errorbar(
            x,
            y,
            yerr=bars,
            capsize=3,
            label=method,
            linestyle="-" if method == POLICY else ":",
            color=COLOURS[place % len(COLOURS)],
            marker=MARKERS[place % len(MARKERS)],
        )
    lengths = sorted({row["chunks"] for row in found["by_chunks"]})
    axes.set_xscale("log", base=2)
    if len(lengths) <= 8:
        axes.set_xticks(lengths, [str(length) for length in lengths])
    axes.set_xlabel("chunks a stream")
    axes.set_ylabel("score")
    axes.set_ylim(0, 1.02)
    axes.grid(True, axis="y", color="0.9")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.savefig(path)
