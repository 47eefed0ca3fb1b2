"""The findings of an evaluation as figures: results.json, a Markdown table, a plot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memrl.evaluation.measure import Measured
from memrl.evaluation.statistics import bootstrap_interval, mean, paired_difference
from memrl.policies.policy import POLICY

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*"


def results(measured: Sequence[Measured], *, reader: str, judge: str | None) -> dict[str, Any]:
    """All figures.

    `score` is the mean over streams of each stream's mean question score, with a 95 % bootstrap interval over streams;
    `by_set` the same for each published set of a suite that holds several, and `macro` of a row their plain mean; the
    `macro` of all is the plain mean of a method's scores over suites. `policy_better_by` is paired by stream. A stream
    that failed is in no score, and counted in `failures`.
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
    sets: dict[str, list[Measured]] = defaultdict(list)
    for one in done:
        sets[one.set_name].append(one)
    by_set = {name: score(found) for name, found in sorted(sets.items())} if len(sets) > 1 else {}
    theirs = {one.stream: stream_mean(one) for one in policy if not one.failure}
    pairs = [(theirs[one.stream], stream_mean(one)) for one in done if one.stream in theirs]
    paired = method != POLICY and pairs
    return {
        "suite": suite,
        "method": method,
        "streams": len(done),
        "failures": len(found) - len(done),
        "failure_rate": round(1 - len(done) / len(found), 4),
        "questions": sum(len(one.answers) for one in done),
        "score": score(done) if done else None,
        "by_set": by_set,
        "macro": mean([score["value"] for score in by_set.values()]) if by_set else None,
        "by_kind": scores_by_kind(done),
        "memory_tokens": _average([one.memory_tokens for one in done]),
        "chunk_tokens": _average([one.chunk_tokens for one in done]),
        "prompt_tokens": sum(one.prompt_tokens for one in done),
        "completion_tokens": sum(one.completion_tokens for one in done),
        "reader_calls": sum(answer.attempts for one in done for answer in one.answers),
        "reader_tokens": sum(a.prompt_tokens + a.completion_tokens for one in done for a in one.answers),
        "seconds": round(sum(one.seconds for one in done), 3),
        "policy_better_by": asdict(paired_difference(*zip(*pairs, strict=True))) if paired else None,
    }


def scores_by_kind(done: Sequence[Measured]) -> dict[str, dict[str, float]]:
    """`{value, low, high}` of each kind of question."""
    kinds: dict[str, list[list[float]]] = defaultdict(list)
    for one in done:
        for kind in sorted({answer.kind for answer in one.answers}):
            kinds[kind].append([answer.score for answer in one.answers if answer.kind == kind])
    return {kind: asdict(bootstrap_interval(values)) for kind, values in sorted(kinds.items())}


def score(done: Sequence[Measured]) -> dict[str, float]:
    """`{value, low, high}`: the mean over streams of each stream's mean, and its interval."""
    return asdict(bootstrap_interval([[answer.score for answer in one.answers] for one in done]))


def stream_mean(one: Measured) -> float:
    """The mean score of a stream's questions."""
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
            "score": score(found),
        }
        for (method, chunks), found in sorted(cells.items())
    ]


def markdown(found: dict[str, Any]) -> str:
    """Return for each suite a table of scores, best first, and one of what they cost."""
    judge = f"; judge: {found['judge']}" if found["judge"] else ""
    lines = [f"Reader: {found['reader']}{judge}. 95 % intervals over streams; differences paired by stream."]
    for suite in dict.fromkeys(row["suite"] for row in found["results"]):
        rows = [row for row in found["results"] if row["suite"] == suite]
        rows.sort(key=lambda row: -(row["score"] or {"value": -1.0})["value"])
        lines += ["", f"**{suite}**, {max(row['streams'] for row in rows)} streams", ""]
        lines += ["| method | score | memory tokens | policy better by | p |", "|---|---|---|---|---|"]
        for row in rows:
            gap = row["policy_better_by"]
            lines.append(
                f"| {row['method']} | {shown(row['score'])} | {row['memory_tokens'] or 0:,.0f} of "
                f"{row['chunk_tokens'] or 0:,.0f} | {shown(gap)} | {'' if gap is None else format(gap['p'], '.4f')} |"
            )
        if rows[0]["by_set"]:
            names = sorted({name for row in rows for name in row["by_set"]})
            lines += ["", f"| method | mean over sets | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
            for row in rows:
                cells = [shown(row["by_set"].get(name)) for name in names]
                macro = "" if row["macro"] is None else f"{row['macro']:.3f}"
                lines.append(f"| {row['method']} | {macro} | {' | '.join(cells)} |")
        lines += [
            "",
            "| method | prompt + completion tokens | reader calls | reader tokens | stream-seconds | failed |",
        ]
        lines += ["|---|---|---|---|---|---|"]
        for row in rows:
            lines.append(
                f"| {row['method']} | {row['prompt_tokens']:,} + {row['completion_tokens']:,} "
                f"| {row['reader_calls']:,} "
                f"| {row['reader_tokens']:,} | {row['seconds']:,.0f} | {row['failure_rate']:.1%} |"
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
