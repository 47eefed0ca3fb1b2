"""The commands `memrl agent ...`: the care of a memory file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from memrl.cli.console import add_json_option, print_json, wide_console


def add_agent_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `agent` to the parser of `memrl`."""
    agent = commands.add_parser(
        "agent", help="the care of a memory file", description="The care of a memory file, which needs no model."
    )
    agent_commands = agent.add_subparsers(title="commands", metavar="COMMAND", required=True)
    vacuum = agent_commands.add_parser(
        "vacuum",
        parents=[common],
        help="write a memory file anew, without what was deleted",
        description=(
            "Write a memory file anew: it takes no more room than what it holds, and has no byte of what was erased. "
            "Others may go on reading; the disk needs room for a second copy."
        ),
        epilog="example: memrl agent vacuum memory.sqlite",
        allow_abbrev=False,
    )
    vacuum.add_argument("store", type=Path, metavar="STORE", help="the memory file")
    vacuum.set_defaults(command=_vacuum)
    apart = agent_commands.add_parser(
        "apart",
        parents=[common],
        help="list the writes that a memory's guard keeps apart",
        description=(
            "List the writes that the wrapper guard keeps apart from the memories of a file, as they looked like "
            "orders: whose, what they would have written, and why. MemoryAgent.release lets one in, discard forgets it."
        ),
        epilog="example: memrl agent apart memory.sqlite --user ann",
        allow_abbrev=False,
    )
    apart.add_argument("store", type=Path, metavar="STORE", help="the memory file")
    apart.add_argument("--user", help="of this user alone")
    add_json_option(apart)
    apart.set_defaults(command=_apart)


def _vacuum(arguments: argparse.Namespace) -> None:
    from memrl.agent.database import Database

    store: Path = arguments.store
    database = Database(store, make=False)
    before = store.stat().st_size
    try:
        database.clean()
    finally:
        database.close()
    print(f"{store}: {store.stat().st_size:,} bytes, before {before:,}")


def _apart(arguments: argparse.Namespace) -> None:
    from memrl.agent.database import Database
    from memrl.agent.parts import kept_apart

    database = Database(arguments.store, make=False)
    try:
        with database.reading() as reader:
            found = kept_apart(reader, arguments.user)
    finally:
        database.close()
    if arguments.json:
        print_json(found)
        return
    table = Table("user", "id", "what", "why", title=f"kept apart in {escape(str(arguments.store))}")
    for one in found:
        table.add_row(*(escape(one[key]) for key in ("user", "id", "text", "why")))
    wide_console().print(table if found else f"{arguments.store}: nothing is kept apart")
