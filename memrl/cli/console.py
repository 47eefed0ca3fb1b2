"""The consoles that commands write to, and the manners that all of them share.

Names of files, texts and models are other people's: what in them would steer a terminal, or turn round what stands
beside it, is shown as an escape (`\\x1b`) and never sent. Results go to standard output; progress, warnings and the
next commands go to standard error, and `--quiet` keeps the first and last of these back.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from memrl.look.texts import visible

if TYPE_CHECKING:
    from memrl.report.progress import Advance

FILE_WIDTH = 200
"""Columns of a table in a file or a pipe, which have no width: enough that nothing is cut."""
_manners = {"quiet": False, "hints": True}


class SafeConsole(Console):
    """A console that sends no control character but its own."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def set_manners(*, quiet: bool, hints: bool) -> None:
    """Say how the commands of this process behave.

    Args:
        quiet: no progress, and no next commands.
        hints: next commands.
    """
    _manners.update(quiet=quiet, hints=hints and not quiet)


def is_quiet() -> bool:
    """Return whether `--quiet` was given."""
    return _manners["quiet"]


def wide_console() -> Console:
    """A console for tables: where there are no columns, in a file or a pipe, it has `FILE_WIDTH`."""
    console = SafeConsole()
    return console if _has_columns(console) else SafeConsole(width=FILE_WIDTH)


def progress_console() -> Console:
    """A console for progress and for what is worth knowing on the way."""
    return SafeConsole(stderr=True, quiet=is_quiet())


@contextmanager
def waiting(what: str, total: int | None = None) -> Iterator[Advance]:
    """Show on a terminal that something is under way: the time it has taken, and with `total` the time that is left."""
    from memrl.report.progress import RunProgress

    with RunProgress(progress_console()) as progress, progress.phase(what, total) as advance:
        yield advance


def complain(message: str) -> None:
    """Write an error's message to standard error: broken between words where there are columns, else one line."""
    console = SafeConsole(stderr=True, highlight=False)
    if _has_columns(console):
        message = "\n".join(_filled(line, console.width) for line in message.split("\n"))
    console.print(message, style="red", markup=False, soft_wrap=True)


def next_commands(*commands: tuple[str, Sequence[str | Path]]) -> None:
    """Name the commands that come next, each by what it is for, and on a line of its own that can be copied."""
    if not _manners["hints"]:
        return
    console = SafeConsole(stderr=True, highlight=False)
    for purpose, words in commands:
        console.print(f"{purpose}: {shlex.join(map(str, words))}", style="dim", markup=False, soft_wrap=True)


def add_json_option(command: argparse.ArgumentParser | argparse._MutuallyExclusiveGroup) -> None:
    """Add `--json` to a command that prints tables."""
    command.add_argument("--json", action="store_true", help="print JSON instead of tables")


def print_json(value: Any) -> None:
    """Write the one JSON value that a command prints with `--json`."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def _filled(line: str, width: int) -> str:
    """Return a line broken between words; a path that is wider stays whole, so that it can be copied."""
    return fill(line, width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)


def _has_columns(console: Console) -> bool:
    return console.is_terminal or "COLUMNS" in os.environ
