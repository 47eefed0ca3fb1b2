"""Things that the writers of all libraries need: their protocol, and figures laid out for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from memrl.report.trackers import HeldOut

COLUMNS = ("kind", "score", "low", "high")
"""Of the held-out table."""
PROJECT = "memrl"
"""Where runs are put if the library's own variable does not say."""


class Writer(Protocol):
    """Writes a run's figures by a library."""

    note: str
    """What the user should know, in a sentence; empty: nothing."""

    def row(self, step: int, values: Mapping[str, float]) -> None:
        """Write the figures of a step."""
        ...

    def evaluation(self, held_out: HeldOut) -> None:
        """Write a held-out table, the curve, and some episodes."""
        ...

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Write the summary, if the run has one, and all that is still held."""
        ...


def flat(tree: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Yield nested plain data by dotted key."""
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from flat(value, f"{before}{key}.")
        else:
            yield f"{before}{key}", value


def numbers(tree: Mapping[str, Any]) -> dict[str, float]:
    """Return the numbers of nested plain data by dotted key."""
    return {key: value for key, value in flat(tree) if isinstance(value, int | float) and not isinstance(value, bool)}


def table(held_out: HeldOut) -> list[list[Any]]:
    """Return the rows of the held-out table."""
    return [[score.kind, score.value, score.low, score.high] for score in held_out.scores]


def markdown(held_out: HeldOut) -> str:
    """Return the held-out table as Markdown."""
    rows = [["-" if cell is None else cell if isinstance(cell, str) else f"{cell:.4f}" for cell in row]
            for row in table(held_out)]  # fmt: skip
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def verbatim(text: str) -> str:
    """Return text as a block of code in Markdown, whose signs mean nothing."""
    return "\n".join(f"    {line}" for line in text.splitlines())
