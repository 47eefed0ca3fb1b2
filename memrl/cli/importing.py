"""Exports of one's own in `memrl data build`: its options, and what it shows before it takes anything."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from memrl.cli.console import SafeConsole, print_json, wide_console
from memrl.envs.errors import DataError

if TYPE_CHECKING:
    from memrl.data.build import Job
    from memrl.envs.building.importing import Import

COLUMNS = {"text_column": "text", "label_column": "label"}
"""Options of the command, by what the source of labelled texts calls them."""


def add_import_options(build: argparse.ArgumentParser) -> None:
    """Add the options of exports to the parser of `memrl data build`."""
    exports = build.add_argument_group("exports of your own (docs/own-data.md)")
    exports.add_argument(
        "--look", action="store_true", help="show what is there and what would be dropped; build nothing"
    )
    exports.add_argument("--text-column", metavar="NAME", help="of a table: the column of the texts")
    exports.add_argument(
        "--label-column", metavar="NAME", help="of a table: the column of labels; makes labelled examples"
    )
    exports.add_argument("--speaker-column", metavar="NAME", help="of a table: the column that says who speaks")
    exports.add_argument("--time-column", metavar="NAME", help="of a table: the column that says when")
    exports.add_argument("--encoding", metavar="NAME", help="of texts that are not UTF-8 (default: it is detected)")


def import_jobs(arguments: argparse.Namespace, only: str | None, options: dict[str, Any]) -> list[Job] | None:
    """Return the one set that an export is for; None where the files are those of a published source.

    Raises:
        DataError: options belong to tables, and there is none; nothing there is known.
    """
    from memrl.data.build import Job, find_jobs, set_name
    from memrl.envs.building.importing import HUB, is_known, unknown_export

    origin = str(arguments.origin)
    named = {
        name: value
        for name in ("text_column", "speaker_column", "time_column", "encoding")
        if (value := getattr(arguments, name)) is not None
    }
    if arguments.label_column is not None:
        table = {source: value for name, source in COLUMNS.items() if (value := getattr(arguments, name)) is not None}
        if only not in (None, "labelled") or origin.startswith(HUB):
            raise DataError(
                "--label-column makes labelled examples of a table (.csv, .tsv, .parquet). Give it as --from."
            )
        return [Job("labelled", Path(origin), set_name(origin), {**options, **table})]
    if only not in (None, "logs"):
        if named or arguments.look:
            raise DataError(f"--look and the options of columns belong to exports, not to the source {only!r}.")
        return None
    if origin.startswith(HUB):
        return [Job("logs", None, set_name(origin), {**options, **named, "path": origin})]
    if only is None and not named and not arguments.look:
        try:
            find_jobs(Path(origin))
            return None
        except DataError as error:
            if not Path(origin).exists():
                raise
            if not is_known(Path(origin)):
                raise DataError(f"{error} {unknown_export(origin)}") from error
    return [Job("logs", Path(origin), set_name(origin), {**options, **named})]


def show_import(job: Job, *, plain: bool) -> None:
    """Print what an export holds, by which format, and what of it is dropped and why.

    Raises:
        DataError: it cannot be taken.
    """
    from memrl.data.show import import_table
    from memrl.envs.building.exports import Columns
    from memrl.envs.building.importing import take

    options = job.arguments
    columns = Columns(
        options.get("text_column"),
        options.get("speaker_column"),
        options.get("time_column"),
        options.get("encoding"),
        options.get("dates"),
    )
    found = take(str(options["path"]), columns, one_person=bool(options.get("one_person")))
    if plain:
        print_json(_plain(found))
        return
    console = wide_console()
    console.print(import_table(found))
    for taken in found.taken:
        for note in taken.noted.notes:
            console.print(f"- {taken.where}: {note}", markup=False)
        dropped = ", ".join(f"{count:,} {why}" for why, count in taken.noted.dropped.items())
        if dropped:
            console.print(f"- {taken.where}: dropped {dropped}", markup=False)
    errors = SafeConsole(stderr=True, soft_wrap=True)
    if found.unknown:
        errors.print(f"files that no format knows: {', '.join(found.unknown)}", markup=False)
    if found.media or found.beside:
        errors.print(
            f"left where they are: {found.media} pictures and sounds, {found.beside} other files of the exports"
        )


def _plain(found: Import) -> dict[str, Any]:
    return {
        "taken": [
            {
                "file": taken.where,
                "format": taken.format,
                "logs": len({talk.log for talk in taken.talks}),
                "messages": taken.messages,
                "texts": taken.texts,
                "who": taken.speakers,
                "from": min(taken.times, default=None),
                "to": max(taken.times, default=None),
                "dropped": dict(taken.noted.dropped),
                "notes": list(taken.noted.notes),
            }
            for taken in found.taken
        ],
        "unknown": found.unknown,
    }
