"""The commands that look into runs: `report`, `view`, `show`, `runs` and `compare`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memrl.cli.console import add_json_option, next_commands, print_json, progress_console
from memrl.errors import ConfigError, MemrlError

if TYPE_CHECKING:
    from memrl.look.records import Part
    from memrl.look.runs import Run

PARTS = ("held-out", "training")


def add_look_commands(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `report`, `view`, `show`, `runs` and `compare` to the parser's commands."""
    report = commands.add_parser(
        "report",
        parents=[common],
        help="a run as a page: scores, episodes, and why answers are wrong",
        description=(
            "Write a report of runs: a folder with a page that opens from the disk. Of a run that goes on it is what "
            "there is so far; written again, it takes in what is new."
        ),
        epilog="example: memrl report runs/tiny; memrl report runs/a runs/b --out both",
        allow_abbrev=False,
    )
    report.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    report.add_argument("--out", type=Path, metavar="DIR", help="where to (default: report in the first run)")
    report.add_argument(
        "--episodes", type=int, metavar="N", help="of each run that can be looked into (default: 4000 at most)"
    )
    report.set_defaults(command=_report)

    view = commands.add_parser(
        "view",
        parents=[common],
        help="the same page over HTTP, following runs that go on",
        description=(
            "Serve the report of runs to browsers on this machine, and bring it up to date while they go on. Any other "
            "host needs a token, as memrl serve does; browsers open the address with ?token=TOKEN."
        ),
        epilog="example: memrl view runs/tiny; MEMRL_TOKEN=... memrl view runs/tiny --host 0.0.0.0",
        allow_abbrev=False,
    )
    view.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="run folders")
    view.add_argument("--out", type=Path, metavar="DIR", help="the report's folder (default: report in the first run)")
    view.add_argument("--host", default="127.0.0.1", help="default: 127.0.0.1; any other but loopback needs a token")
    view.add_argument("--port", type=int, default=8766, metavar="N", help="default: 8766; 0: a free one")
    view.add_argument("--token-env", metavar="NAME", help="the variable that holds the token (default: MEMRL_TOKEN)")
    view.set_defaults(command=_view)

    show = commands.add_parser(
        "show",
        parents=[common],
        help="a run, an episode, or the wrong answers, as text",
        description="Show a run at a glance; with --step the list of a step's episodes, with --episode one of them.",
        epilog="example: memrl show runs/tiny --step 40 --episode 3; memrl show runs/tiny --wrong --cause lost",
        allow_abbrev=False,
    )
    show.add_argument("run", type=Path, metavar="RUN", help="a run's folder")
    show.add_argument("--step", type=int, metavar="N", help="a trainer step; of --wrong the default is the last")
    show.add_argument("--episode", type=int, metavar="K", help="of that step, by its number in the list")
    show.add_argument("--wrong", action="store_true", help="the wrong answers, each with its cause")
    show.add_argument("--cause", metavar="NAME", help="with --wrong: those of one cause, e.g. never_stored")
    show.add_argument("--part", choices=PARTS, help="which episodes (default: held-out where the step has them)")
    add_json_option(show)
    show.set_defaults(command=_show)

    runs = commands.add_parser(
        "runs",
        parents=[common],
        help="the runs in a folder, with state, step and scores",
        description="List runs: running, ended, stopped or damaged, with their step, best and last score, and seeds.",
        epilog="example: memrl runs runs",
        allow_abbrev=False,
    )
    runs.add_argument("folder", nargs="?", type=Path, default=Path("runs"), metavar="DIR", help="default: runs")
    add_json_option(runs)
    runs.set_defaults(command=_runs)

    compare = commands.add_parser(
        "compare",
        parents=[common],
        help="two runs side by side",
        description="Set two runs side by side: curves, final scores with intervals, causes of wrong answers.",
        epilog="example: memrl compare runs/a runs/b",
        allow_abbrev=False,
    )
    compare.add_argument("runs", nargs=2, type=Path, metavar="RUN", help="two run folders")
    add_json_option(compare)
    compare.set_defaults(command=_compare)


def _report(arguments: argparse.Namespace) -> None:
    from memrl.look.report import write_report
    from memrl.look.texts import line
    from memrl.report.progress import RunProgress

    with RunProgress(progress_console()) as progress, progress.phase("report", None) as advance:
        page = write_report(arguments.runs, arguments.out, episodes=arguments.episodes, advance=advance)
    _print([f"open {line(str(page), 1_000)}"])
    first = arguments.runs[0]
    next_commands(
        ("what is wrong, as text", ["memrl", "show", first, "--wrong"]),
        ("take it out", ["memrl", "export", first, "--out", f"exported/{first.name}"]),
    )


def _view(arguments: argparse.Namespace) -> None:
    from memrl.serve.view import view

    with suppress(KeyboardInterrupt):  # the way to end it
        view(
            arguments.runs,
            arguments.out,
            host=arguments.host,
            port=arguments.port,
            token_env=arguments.token_env,
            ready=lambda address: _print([f"{address} (Ctrl-C ends it)"]),
        )


def _show(arguments: argparse.Namespace) -> None:
    from memrl.look.plain import episode_plain, episodes_plain, run_plain, wrong_plain
    from memrl.look.runs import open_run
    from memrl.look.words import episode_text, episodes_text, found_in, run_text, wrong_text
    from memrl.report.causes import Cause

    if arguments.episode is not None and (arguments.step is None or arguments.wrong):
        raise ConfigError("--episode goes with --step, and without --wrong")
    if arguments.cause is not None and not arguments.wrong:
        raise ConfigError("--cause goes with --wrong")
    if arguments.cause is not None and arguments.cause not in {cause.value for cause in Cause}:
        raise ConfigError(f"no cause {arguments.cause!r}; choose from {', '.join(Cause)}")
    run = open_run(arguments.run)
    if arguments.step is None and not arguments.wrong:
        if arguments.json:
            print_json(run_plain(run))
        else:
            _print(run_text(run))
        next_commands(("look", ["memrl", "report", run.folder]))
        return
    part, step = _place(run, arguments.part, arguments.step)
    groups = found_in(run, part, step)
    if run.damage and not groups:
        raise ConfigError(run.damage[-1])
    if arguments.wrong:
        cause = None if arguments.cause is None else Cause(arguments.cause)
        if arguments.json:
            print_json(wrong_plain(groups, cause))
        else:
            _print(wrong_text(run, part, step, cause))
    elif arguments.episode is None:
        if arguments.json:
            print_json(episodes_plain(groups))
        else:
            _print(episodes_text(run, part, step))
        next_commands(("look", ["memrl", "show", run.folder, "--step", str(step), "--part", part, "--episode", "0"]))
    else:
        count = sum(map(len, groups))
        if not 0 <= arguments.episode < count:
            raise ConfigError(f"step {step} has no {part} episode {arguments.episode}; it has 0 to {count - 1}")
        if arguments.json:
            print_json(episode_plain(run, part, step, arguments.episode, groups))
        else:
            _print(episode_text(run, part, step, arguments.episode, groups))


def _place(run: Run, part: Part | None, step: int | None) -> tuple[Part, int]:
    """The part and the step that are meant, of those whose episodes were kept."""
    kept: dict[Part, list[int]] = {name: run.episode_files(name).steps() for name in ("held-out", "training")}
    parts: list[Part] = [part] if part is not None else ["held-out", "training"]
    for name in parts:
        if kept[name] and step in (None, *kept[name]):
            return name, kept[name][-1] if step is None else step
    there = "; ".join(f"{name}: {', '.join(map(str, kept[name])) or 'none'}" for name in parts)
    what = "no episodes" if step is None else f"no episodes of step {step}"
    raise ConfigError(f"{run.folder} has {what} (run.save_episodes keeps them). Steps that it has: {there}")


def _runs(arguments: argparse.Namespace) -> None:
    from memrl.look.runs import find_runs, open_run
    from memrl.look.words import run_row, runs_text

    if not arguments.folder.is_dir():
        raise ConfigError(f"there is no folder {arguments.folder}; name one that holds runs: memrl runs DIR")
    rows: list[dict[str, Any]] = []
    left_out: list[str] = []
    for folder in find_runs(arguments.folder):
        try:
            rows.append(run_row(open_run(folder)))
        except MemrlError as error:
            left_out.append(str(error))
    if arguments.json:
        print_json({"runs": rows, "left_out": left_out})
        return
    if not rows and not left_out:
        raise ConfigError(f"{arguments.folder} holds no run; name a folder that does, or train one: memrl train tiny")
    from memrl.look.texts import line

    _print(runs_text(rows) if rows else [])
    _print(f"! {line(why, 400)}" for why in left_out)
    if rows:
        next_commands(("look", ["memrl", "report", rows[0]["folder"]]))


def _compare(arguments: argparse.Namespace) -> None:
    from memrl.look.compare import compare_runs, compare_text
    from memrl.look.runs import open_run

    one, other = map(open_run, arguments.runs)
    for run in (one, other):
        if not run.evaluations():
            raise ConfigError(f"{run.folder} has no evaluation yet: there is nothing to compare")
    found = compare_runs(one, other)
    if arguments.json:
        print_json(found)
    else:
        _print(compare_text(found))
    next_commands(("look at both", ["memrl", "report", *arguments.runs]))


def _print(lines: Iterable[str]) -> None:
    """Write lines as they are: rich would take brackets in them for markup, and wrap them. Whoever closes the pipe has
    read enough."""
    encoding = sys.stdout.encoding or "utf-8"
    try:
        for text in lines:
            sys.stdout.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
