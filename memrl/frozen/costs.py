"""The costs of reader and judge, counted from episodes' records alone: whatever is lost is lost with its cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from memrl.records import AnswerRecord, Episode, Verdict

COUNTS = ("calls", "cached", "retries", "prompt_tokens", "completion_tokens")
PREFIXES = {"reader": ("reader/", "eval/reader_"), "judge": ("judge/", "eval/judge_")}
"""Of the keys in metrics.jsonl: what training asked, and what the evaluations and their gates asked."""


def reader_costs(answers: Sequence[AnswerRecord], prefix: str = PREFIXES["reader"][0]) -> dict[str, int]:
    """Metrics of some answers.

    `calls` counts the answers, those from the cache (`cached`) included, and so do the tokens: they do not depend on
    what was in the cache. `retries` counts the requests that had to be repeated.
    """
    counts = (
        len(answers),
        sum(answer.attempts == 0 for answer in answers),
        sum(max(answer.attempts - 1, 0) for answer in answers),
        sum(answer.prompt_tokens for answer in answers),
        sum(answer.completion_tokens for answer in answers),
    )
    return {prefix + name: count for name, count in zip(COUNTS, counts, strict=True)}


def verdicts(episodes: Iterable[Episode], answers: Iterable[AnswerRecord] = ()) -> list[Verdict]:
    """All that the judge said on some episodes, and on answers beside them."""
    played = list(episodes)
    asked = [answer for episode in played for answer in episode.answers] + list(answers)
    checks = [check for episode in played for step in episode.steps for check in step.checks]
    found = [answer.verdict for answer in asked] + [check.verdict for check in checks]
    return [verdict for verdict in found if verdict is not None]


def judge_costs(found: Sequence[Verdict], prefix: str = PREFIXES["judge"][0]) -> dict[str, int]:
    """Metrics of some verdicts; none where there are none. They count what `reader_costs` counts."""
    if not found:
        return {}
    return {prefix + name: sum(getattr(verdict, name) for verdict in found) for name in COUNTS}


def agreement(episodes: Iterable[Episode]) -> dict[str, float]:
    """Return how the judge's verdicts on answers go with what the metrics say of the same answers; none where it gave
    none.

    `judge/agreement` is the share of answers that both find right (a score of 0.5 or more) or both wrong. Where it
    falls while `judge/accepted` rises, the policy may have found out how to please the judge.
    """
    pairs = [
        (answer.verdict.accepted, (answer.metric_score or 0.0) >= 0.5)
        for episode in episodes
        for answer in episode.answers
        if answer.verdict is not None
    ]
    if not pairs:
        return {}
    return {
        "judge/agreement": sum(one == other for one, other in pairs) / len(pairs),
        "judge/accepted": sum(one for one, _ in pairs) / len(pairs),
    }


def total_costs(rows: Iterable[Mapping[str, Any]], role: str = "reader") -> dict[str, int]:
    """The sums over the rows of metrics.jsonl, which a resumed run has from its beginning."""
    kept = list(rows)
    return {name: sum(row.get(prefix + name, 0) for row in kept for prefix in PREFIXES[role]) for name in COUNTS}
