"""The progress that a person sees while a run goes on: a bar with time left for each phase, a line a step, a table at
the end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from memrl.report.tables import shown

FELL = "fell"
"""The mark of a kind of question that lies significantly below its score before training."""


class Advance:
    """Moves one bar: call it once for each thing done, or `to(done, total)`."""

    def __init__(self, progress: Progress, task: Any) -> None:
        self._progress = progress
        self._task = task

    def __call__(self) -> None:
        self._progress.advance(self._task)

    def to(self, done: int, total: int) -> None:
        self._progress.update(self._task, completed=done, total=total)


class RunProgress:
    """Bars on a terminal; where the output is no terminal, only the lines."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._run: Any = None

    def __enter__(self) -> RunProgress:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    @contextmanager
    def phase(self, what: str, total: int | None) -> Iterator[Advance]:
        """Show a bar while the block runs."""
        task = self._bars.add_task(what, total=total)
        try:
            yield Advance(self._bars, task)
        finally:
            self._bars.remove_task(task)

    def line(self, row: dict[str, Any], steps: int) -> None:
        """One line about a finished step, and the bar of the whole run."""
        if self._run is None:
            self._run = self._bars.add_task("all steps", total=steps)
        self._bars.update(self._run, completed=row["step"])
        words = [f"step {row['step']:>4}/{steps}"]
        if "curriculum/stage" in row:
            words.append(f"stage {row['curriculum/stage']:.0f}")
        parts = [key for key in row if key.startswith("reward/") and key not in {"reward/total", "reward/qa"}]
        for key, label in (
            ("reward/qa", "train qa"),
            *((key, part_label(key.removeprefix("reward/"))) for key in parts),
            ("loss/grad_norm", "grad"),
            ("loss/entropy", "entropy"),
            ("eval/qa", "held-out qa"),
        ):
            if key in row:
                words.append(f"{label} {row[key]:.3f}")
        if row.get("alarm/kind_fell"):
            words.append("a kind of question fell")
        if row.get("fail/episodes"):
            words.append(f"failed {row['fail/episodes']:.0f}")
        words.append(f"{row['time/step']:.1f} s")
        self.console.print("  ".join(words), highlight=False, soft_wrap=True)


def part_label(name: str) -> str:
    """Return a reward part's name as a person reads it."""
    return name.replace("_", " ")


_NARROW = 100
"""Columns of a console, below which an interval does not stand beside its score."""


def final_table(summary: dict[str, Any], folder: Path, width: int) -> Table:
    """Held-out scores before, at best and after, each with its 95 % interval: all questions, every kind of them, and
    the other parts. A kind that lies significantly below its score before training is marked.

    Args:
        width: of the console, in columns. In a narrow one an interval stands below its score.
    """
    narrow = width < _NARROW
    evaluations = summary["eval"]
    seconds = summary["wall_seconds"]["total"]
    after = evaluations["after"]
    caption = f"{summary['episodes']} episodes, {seconds / 60:.1f} minutes; everything is in {folder}"
    if after["over"] != "streams":
        caption += f"; intervals are over the {after['over']} of one stream"
    if any(evaluations[moment].get("kinds_below") for moment in ("best", "after")):
        caption += f"; {FELL}: significantly below its score before training"
    failed = f", {after['failures']} more failed" if after["failures"] else ""
    table = Table(title=f"{summary['name']}: {after['streams']} held-out streams{failed}", caption=caption)
    table.add_column("")
    for moment in ("before", "best", "after"):
        heading = f"{moment} (step {evaluations[moment]['step']})"
        table.add_column(_below(heading, "(", narrow), justify="right", no_wrap=True)
    moments = [evaluations[moment] for moment in ("before", "best", "after")]
    apart = ("qa_by_kind", "kinds_below")  # tables of their own, in which a kind may be called anything
    parts = [key for key, cell in moments[-1].items() if isinstance(cell, dict) and key not in apart and "low" in cell]
    for key in parts:
        cells = [moment[key] for moment in moments if key in moment]
        if len(cells) < len(moments):
            continue  # a part that the first evaluations did not know: it was resumed with a newer version
        table.add_row(
            "QA accuracy" if key == "qa" else part_label(key),
            *(_below(shown(cell), "[", narrow) for cell in cells),
        )
        if key == "qa":
            for kind in sorted({kind for moment in moments for kind in moment["qa_by_kind"]}):
                table.add_row(
                    f"  kind {escape(kind)}", *(_below(_of_kind(moment, kind), "[", narrow) for moment in moments)
                )
    return table


def _below(text: str, mark: str, narrow: bool) -> str:
    """Return a cell whose part from `mark` on has a line of its own in a narrow table."""
    return text.replace(f" {mark}", f"\n{mark}") if narrow else text


def _of_kind(moment: Mapping[str, Any], kind: str) -> str:
    fell = kind in moment.get("kinds_below", {})
    return f"{FELL} {shown(moment['qa_by_kind'].get(kind))}" if fell else shown(moment["qa_by_kind"].get(kind))
