"""The command `memrl config`: every setting with its type, default and meaning."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from memrl.cli.console import add_json_option, next_commands, print_json, wide_console
from memrl.config.describe import SettingInfo, find, json_schema, settings


def add_config_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `config` to the parser of `memrl`."""
    config = commands.add_parser(
        "config",
        parents=[common],
        help="what can be set: type, default and meaning",
        description="Show a setting, a section, or all settings, each with its type, default and meaning.",
        epilog="example: memrl config train.group_size",
        allow_abbrev=False,
    )
    config.add_argument("key", nargs="?", metavar="KEY", help="a setting, or a section (default: all)")
    form = config.add_mutually_exclusive_group()
    add_json_option(form)
    form.add_argument("--schema", action="store_true", help="print the JSON schema of config files, for editors")
    config.set_defaults(command=_config)


def _config(arguments: argparse.Namespace) -> None:
    if arguments.schema:
        sys.stdout.write(json.dumps(json_schema(), indent=2) + "\n")
        return
    found = settings() if arguments.key is None else find(arguments.key)
    if arguments.json:
        print_json([asdict(one) for one in found])
        return
    table = Table("setting", "type", "default", "meaning")
    for one in found:
        table.add_row(*(escape(text) for text in (one.key, one.type, shown(one.default), _meaning(one))))
    wide_console().print(table)
    next_commands(("set it", ["memrl", "train", "tiny", f"{found[-1].key}={shown(found[-1].default)}", "--dry-run"]))


def shown(value: Any) -> str:
    """Return a default as a config file writes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _meaning(one: SettingInfo) -> str:
    """The meaning, and the values that it does not name itself."""
    missing = [choice for choice in one.choices if choice not in one.meaning]
    values = f"one of {', '.join(one.choices)}{', or a plug-in' if one.open else ''}" if missing else ""
    return "; ".join(filter(None, (one.meaning, values)))
