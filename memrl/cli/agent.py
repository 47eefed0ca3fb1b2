"""The commands `memrl agent ...`: the care of a memory file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any


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
