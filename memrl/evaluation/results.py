"""The findings of an evaluation as figures: results.json, a Markdown table, a plot.

Questions that the text answers and those that it does not are never averaged: a method that keeps nothing is right
about every one of the latter.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from memrl.evaluation.budgets import share_in_words
from memrl.evaluation.measure import Measured
from memrl.evaluation.statistics import SCORES, interval_over, mean, paired_difference, stream_interval
from memrl.evaluation.suites import Suite, set_of
from memrl.policies.policy import POLICY
from memrl.records import AnswerRecord
from memrl.report.causes import IN_WORDS, RIGHT, Cause, counted, known
from memrl.report.tables import shown

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*X<>h"
"""As many more than colours as makes every method look its own."""
Which = Callable[[AnswerRecord], bool]


def answerable(answer: AnswerRecord) -> bool:
    """Return whether the text answers the question."""
    return answer.answerable


def unanswerable(answer: AnswerRecord) -> bool:
    """Return whether the right answer is that the text does not say."""
    return not answer.answerable


def headline(measured: Sequence[Measured]) -> Which:
    """Return which questions the score of a suite is over: the answerable ones; where it has none, the others."""
    some = any(map(answerable, (answer for one in measured for answer in one.answers)))
    return answerable if some else unanswerable


def results(measured: Sequence[Measured], suites: Sequence[Suite], *, reader: str, judge: str | None) -> dict[str, Any]:
    """All figures.

    `score` is the mean over streams of each stream's mean question score, with a 95 % t interval over streams (`over`
    says where it is over questions, of a suite with one stream). It is over the answerable questions; `answerable` and
    `unanswerable` are both, each where there are such questions. `asked` says how many questions were asked of how many
    there are, and which were left out, and why. `by_set` is the score of each published set of a suite that holds
    several, and `macro` of a row their plain mean; the `macro` of all is the plain mean of a method's scores over
    suites. `policy_better_by` is paired by stream, over the questions of the score, `policy_better_by_kind` over those
    of each kind. `causes` is how many wrong answers have each cause, `causes_by_kind` the same by kind of question. A
    stream that failed is in no score, and counted in `failures`. `budget` is the share of the text that the memory may
    hold, where shares were measured: then a method has a row for each, set beside the policy's of the same share, and
    no `macro`.
    """
    measured = without_memory(measured)
    by_suite: dict[str, list[Measured]] = defaultdict(list)
    cells: dict[tuple[str, str, float | None], list[Measured]] = defaultdict(list)
    for one in measured:
        by_suite[one.suite].append(one)
        cells[one.suite, one.method, one.budget].append(one)
    which = {name: headline(found) for name, found in by_suite.items()}
    named = {suite.name: suite for suite in suites}
    rows = [
        _row(named[suite], method, budget, found, cells.get((suite, POLICY, budget), []), which[suite])
        for (suite, method, budget), found in cells.items()
    ]
    scores: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        if row["score"] is not None and row["budget"] is None:
            scores[row["method"]].append(row["score"]["value"])
    count = len({row["suite"] for row in rows})
    macro = {name: mean(found) for name, found in scores.items() if len(found) == count}
    return {
        "reader": reader,
        "judge": judge,
        "results": rows,
        "macro": macro,
        "by_chunks": _by_chunks(measured, which),
    }


def _row(
    suite: Suite,
    method: str,
    budget: float | None,
    found: Sequence[Measured],
    policy: Sequence[Measured],
    which: Which,
) -> dict[str, Any]:
    done = [one for one in found if not one.failure]
    sets: dict[str, list[Measured]] = defaultdict(list)
    for one in found:
        sets[one.set_name].append(one)
    by_set = {name: score(mine, headline(mine)) for name, mine in sorted(sets.items())} if len(sets) > 1 else {}
    by_set = {name: mine for name, mine in by_set.items() if mine}
    return {
        "suite": suite.name,
        "split": suite.split,
        "releases": list(suite.releases),
        "method": method,
        "budget": budget,
        "streams": len(done),
        "failures": len(found) - len(done),
        "failure_rate": round(1 - len(done) / len(found), 4),
        "questions": sum(len(one.answers) for one in done),
        "asked": _asked(suite, found),
        "score": score(found, which),
        "answerable": score(found, answerable),
        "unanswerable": score(found, unanswerable),
        "by_set": by_set,
        "macro": mean([mine["value"] for mine in by_set.values() if mine]) if by_set else None,
        "by_kind": scores_by_kind(found),
        "causes": causes(done),
        "causes_by_kind": {kind: causes(done, kind) for kind in sorted({a.kind for one in done for a in one.answers})},
        "memory_tokens": average([one.memory_tokens for one in done]),
        "chunk_tokens": average([one.chunk_tokens for one in done]),
        "prompt_tokens": sum(one.prompt_tokens for one in done),
        "completion_tokens": sum(one.completion_tokens for one in done),
        "reader_calls": sum(answer.attempts for one in done for answer in one.answers),
        "reader_tokens": sum(a.prompt_tokens + a.completion_tokens for one in done for a in one.answers),
        "seconds": round(sum(one.seconds for one in done), 3),
        "policy_better_by": None if method == POLICY else better_by(policy, found, which),
        "policy_better_by_kind": {} if method == POLICY else better_by_kind(policy, found),
    }


def _asked(suite: Suite, found: Sequence[Measured]) -> dict[str, Any]:
    """`{questions, of, left_out}`: the questions that were asked, of how many there are, and what became of the
    rest."""
    failed = {one.stream for one in found if one.failure}
    lost: Counter[str] = Counter()
    for name, stream in suite.streams.items():
        if name in failed:
            lost[set_of(stream)] += len(stream.questions)
    left_out = [{"set": name, "questions": number, "why": "the stream failed"} for name, number in lost.items()]
    left_out += [{"set": one.set_name, "questions": one.questions, "why": one.why} for one in suite.left_out]
    return {
        "questions": suite.questions - lost.total(),
        "of": suite.questions + sum(one.questions or 0 for one in suite.left_out),
        "left_out": left_out,
    }


def without_memory(measured: Sequence[Measured]) -> list[Measured]:
    """Return what was measured, with the cause `disputable` for each wrong answer to a question that the same reader is
    right about without any memory: the baseline `nothing` says so, where it was measured."""
    right = {
        (one.suite, one.stream): known(one.answers) for one in measured if one.method == "nothing" and not one.failure
    }

    def disputed(one: Measured) -> Measured:
        doubted = right.get((one.suite, one.stream), frozenset()) & one.causes.keys()
        causes = one.causes | dict.fromkeys(doubted, Cause.DISPUTABLE.value)
        return one.model_copy(update={"causes": causes}) if doubted else one

    return [disputed(one) for one in measured]


def causes(done: Sequence[Measured], kind: str | None = None) -> dict[str, int] | None:
    """Return how many wrong answers have each cause (`memrl.report.causes`): together all that are wrong. None where
    some were measured by a version that did not tell.

    Args:
        kind: of question; None: all.
    """
    wrong = [
        one.causes.get(answer.question_id)
        for one in done
        for answer in one.answers
        if answer.score < RIGHT and kind in (None, answer.kind)
    ]
    told = [cause for cause in wrong if cause is not None]
    return counted(told) if len(told) == len(wrong) else None


def scores_by_kind(found: Sequence[Measured], planned: int | None = None) -> dict[str, dict[str, Any]]:
    """`{value, low, high, ...}` of each kind of question, as `score`."""
    kinds = sorted({answer.kind for one in found if not one.failure for answer in one.answers})
    scores = {kind: score(found, of_kind(kind), planned) for kind in kinds}
    return {kind: mine for kind, mine in scores.items() if mine is not None}


def of_kind(kind: str) -> Which:
    """Return whether a question is of a kind, as a function of its answer."""
    return lambda answer: answer.kind == kind


def score(found: Sequence[Measured], which: Which, planned: int | None = None) -> dict[str, Any] | None:
    """`{value, low, high, over, streams, questions}` over some questions: the mean over streams of each stream's mean.

    None where no such question was answered; `low` and `high` are None where one stream of several is left.

    Args:
        found: failed streams too, which are in no score, but were meant to be.
        planned: how many streams were meant to be measured; None: those that are in `found`.
    """
    planned = planned or len(found)
    values = [[answer.score for answer in one.answers if which(answer)] for one in found if not one.failure]
    if not any(values):
        return None
    return {
        **asdict(stream_interval(values, planned=planned, bounds=SCORES)),
        "over": interval_over(values, planned),
        "streams": sum(1 for mine in values if mine),
        "questions": sum(map(len, values)),
    }


def better_by(
    one: Sequence[Measured], other: Sequence[Measured], which: Which, planned: int | None = None
) -> dict[str, Any] | None:
    """Return by how much `one` is better than `other` over some questions, paired by stream and question; None where
    they have no such question in common. `planned` is that of `score`."""
    theirs = {found.stream: found for found in other if not found.failure}
    pairs = []
    for found in one:
        if found.failure or found.stream not in theirs:
            continue
        mine = {answer.question_id: answer.score for answer in found.answers if which(answer)}
        both = [answer for answer in theirs[found.stream].answers if answer.question_id in mine]
        if both:
            pairs.append(([mine[answer.question_id] for answer in both], [answer.score for answer in both]))
    if not pairs:
        return None
    planned = planned or len({found.stream for found in one} & {found.stream for found in other})
    return asdict(paired_difference(*zip(*pairs, strict=True), planned=planned))


def better_by_kind(one: Sequence[Measured], other: Sequence[Measured]) -> dict[str, dict[str, Any]]:
    """Return `better_by` over the questions of each kind that both have answered."""
    kinds = sorted({answer.kind for found in one if not found.failure for answer in found.answers})
    gaps = {kind: better_by(one, other, of_kind(kind)) for kind in kinds}
    return {kind: gap for kind, gap in gaps.items() if gap is not None}


def average(values: Sequence[int]) -> float | None:
    """Return the mean to one decimal; None of nothing."""
    return round(mean(values), 1) if values else None


def _by_chunks(measured: Sequence[Measured], which: dict[str, Which]) -> list[dict[str, Any]]:
    """Scores by the length of streams, all suites together; where budgets were measured, `frontier` has them."""
    cells: dict[tuple[str, int], list[Measured]] = defaultdict(list)
    for one in measured:
        if one.budget is not None:
            continue
        asked = [answer for answer in one.answers if which[one.suite](answer)]
        cells[one.method, one.chunks].append(one.model_copy(update={"answers": asked}))
    return [
        {"method": method, "chunks": chunks, "streams": found_score["streams"], "score": found_score}
        for (method, chunks), found in sorted(cells.items())
        if (found_score := score(found, lambda answer: True)) is not None
    ]


def markdown(found: dict[str, Any]) -> str:
    """Return for each suite a table of scores, best first, and one of what they cost."""
    judge = f"; judge: {found['judge']}" if found["judge"] else ""
    lines = [
        f"Reader: {found['reader']}{judge}. 95 % intervals (Student's t) over streams where nothing else is said; "
        "differences paired by stream."
    ]
    for suite in dict.fromkeys(row["suite"] for row in found["results"]):
        rows = [row for row in found["results"] if row["suite"] == suite]
        rows.sort(key=lambda row: -(row["score"] or {"value": -1.0})["value"])
        both = any(row["answerable"] for row in rows) and any(row["unanswerable"] for row in rows)
        lines += ["", f"**{suite}**: {asked_in_words(rows)}", ""]
        beside = " unanswerable |" if both else ""
        shares = any(row["budget"] is not None for row in rows)
        lines += [f"| method |{' budget |' * shares} score |{beside} streams | memory tokens | policy better by | p |"]
        lines += ["|---" * (6 + both + shares) + "|"]
        for row in rows:
            gap = row["policy_better_by"]
            beside = f" {shown(row['unanswerable'])} |" if both else ""
            share = f" {share_in_words(row['budget'])} |" if shares else ""
            lines.append(
                f"| {row['method']} |{share} {shown(row['score'])} |{beside} {streams_in_words(row)} | "
                f"{row['memory_tokens'] or 0:,.0f} of {row['chunk_tokens'] or 0:,.0f} | {shown(gap)} | "
                f"{'' if gap is None else format(gap['p'], '.4f')} |"
            )
        if any(row["causes"] for row in rows):
            lines += ["", f"| method |{' budget |' * shares} wrong | {' | '.join(IN_WORDS.values())} |"]
            lines += ["|---" * (2 + shares + len(IN_WORDS)) + "|"]
            for row in (row for row in rows if row["causes"]):
                share = f" {share_in_words(row['budget'])} |" if shares else ""
                cells = [str(row["causes"][cause.value]) for cause in IN_WORDS]
                lines.append(f"| {row['method']} |{share} {sum(row['causes'].values())} | {' | '.join(cells)} |")
        if rows[0]["by_set"]:
            names = sorted({name for row in rows for name in row["by_set"]})
            lines += ["", f"| method | mean over sets | {' | '.join(names)} |", "|---" * (len(names) + 2) + "|"]
            for row in rows:
                cells = [shown(row["by_set"].get(name)) for name in names]
                macro = "" if row["macro"] is None else f"{row['macro']:.3f}"
                lines.append(f"| {row['method']} | {macro} | {' | '.join(cells)} |")
        lines += [
            "",
            f"| method |{' budget |' * shares} prompt + completion tokens | reader calls | reader tokens "
            "| stream-seconds | failed |",
        ]
        lines += ["|---" * (6 + shares) + "|"]
        for row in rows:
            share = f" {share_in_words(row['budget'])} |" if shares else ""
            lines.append(
                f"| {row['method']} |{share} {row['prompt_tokens']:,} + {row['completion_tokens']:,} "
                f"| {row['reader_calls']:,} "
                f"| {row['reader_tokens']:,} | {row['seconds']:,.0f} | {row['failure_rate']:.1%} |"
            )
    if len(found["macro"]) and len({row["suite"] for row in found["results"]}) > 1:
        best = sorted(found["macro"].items(), key=lambda item: -item[1])
        lines += ["", "Mean over suites: " + ", ".join(f"{name} {value:.3f}" for name, value in best)]
    return "\n".join(lines) + "\n"


def streams_in_words(row: dict[str, Any]) -> str:
    """Return `20`, or `19 of 20` where some failed."""
    planned = row["streams"] + row["failures"]
    return f"{row['streams']} of {planned}" if row["failures"] else str(planned)


def asked_in_words(rows: Sequence[dict[str, Any]]) -> str:
    """Return what of a suite was measured: its side, streams and questions, what was left out and why, and what the
    scores and intervals are over. `rows` are those of the suite."""
    first, best = rows[0], max(rows, key=lambda row: row["asked"]["questions"])
    asked = best["asked"]
    parts = [f"the split {first['split']}"] if first["split"] else []
    parts.append(f"{best['streams'] + best['failures']} streams")
    parts.append(f"{asked['questions']:,} of {asked['of']:,} questions asked")
    words = ", ".join(parts)
    if first["releases"]:
        words += f"; published as {', '.join(first['releases'])}"
    reasons: dict[str, dict[str, int | None]] = defaultdict(dict)
    for row in asked["left_out"]:
        reasons[row["why"]][row["set"]] = row["questions"]
    for why, sets in reasons.items():
        numbers = [number for number in sets.values() if number is not None]
        count = f"{sum(numbers):,}" if len(numbers) == len(sets) else "an unknown number of"
        words += f"; left out: {count} of {', '.join(sets)} ({why})"
    if any(row["answerable"] for row in rows) and any(row["unanswerable"] for row in rows):
        words += "; scores are over the answerable questions"
    if any(row["score"] and row["score"]["over"] == "questions" for row in rows):
        words += "; intervals and tests are over the questions of its one stream, and say nothing of other streams"
    return f"{words}."


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
        ends = [(row["score"]["low"], row["score"]["high"]) for row in rows]
        bars = [[value - (value if low is None else low) for value, (low, _) in zip(y, ends, strict=True)]]
        bars.append([(value if high is None else high) - value for value, (_, high) in zip(y, ends, strict=True)])
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
