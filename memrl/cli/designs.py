"""The command `memrl designs`: how a memory may be laid out, written and searched."""

from __future__ import annotations

import argparse
from typing import Any

from rich.markup import escape
from rich.table import Table

from memrl.cli.console import add_json_option, print_json, wide_console


def add_designs_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `designs` to the parser of `memrl`."""
    designs = commands.add_parser(
        "designs",
        parents=[common],
        help="memory designs: how a memory is laid out, written and searched",
        description=(
            "List the memory designs that memory.design may name, those of installed packages too: what each is, its "
            "tools, and the paper that it is after; and the wrappers that memory.wrappers may lay over any of them. "
            "docs/designs.md has an example of each, and how to write one."
        ),
        epilog="example: memrl designs, then memrl train tiny memory.design=ledger memory.wrappers=[decay]",
        allow_abbrev=False,
    )
    add_json_option(designs)
    designs.set_defaults(command=_designs)


def _designs(arguments: argparse.Namespace) -> None:
    from memrl.envs.designs import DESIGNS
    from memrl.envs.designs.describe import describe, describe_wrapper
    from memrl.envs.wrappers import WRAPPERS

    found = [describe(name) for name, _ in DESIGNS.items()]
    wrappers = [describe_wrapper(name) for name, _ in WRAPPERS.items()]
    if arguments.json:
        print_json(
            [
                {
                    "name": one.name,
                    "line": one.line,
                    "tools": [tool.name for tool in one.tools],
                    "paper": one.paper,
                    "left_out": one.left_out,
                    "wrapper": False,
                }
                for one in found
            ]
            + [
                {
                    "name": one.name,
                    "line": one.line,
                    "settings": {name: each._asdict() for name, each in one.settings.items()},
                    "paper": one.paper,
                    "left_out": one.left_out,
                    "wrapper": True,
                }
                for one in wrappers
            ]
        )
        return
    table = Table("design", "what it is", "tools", "after", title="memory designs")
    for one in found:
        tools = "\n".join(tool.name for tool in one.tools)
        table.add_row(*map(escape, (one.name, one.line, tools, one.paper.removeprefix("After "))))
    over = Table("wrapper", "what it does", "settings", "after", title="wrappers over any of them (memory.wrappers)")
    for each in wrappers:
        settings = "\n".join(f"{name}: {setting.default:g}" for name, setting in each.settings.items())
        over.add_row(*map(escape, (each.name, each.line, settings, each.paper.removeprefix("After "))))
    console = wide_console()
    console.print(table)
    console.print(over)
