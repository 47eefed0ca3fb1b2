"""What the reader cost, counted from the answers' records alone: whatever is lost is lost with its cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from memrl.records import AnswerRecord

COUNTS = ("calls", "cached", "retries", "prompt_tokens", "completion_tokens")
PREFIXES = ("reader/", "eval/reader_")
"""Of the keys in metrics.jsonl: what training asked, and what the evaluations and their gates asked."""


def reader_costs(answers: Sequence[AnswerRecord], prefix: str = PREFIXES[0]) -> dict[str, int]:
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


def total_costs(rows: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """The sums over the rows of metrics.jsonl, which a resumed run has from its beginning."""
    kept = list(rows)
    return {name: sum(row.get(prefix + name, 0) for row in kept for prefix in PREFIXES) for name in COUNTS}
