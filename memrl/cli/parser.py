"""The parser of `memrl`: its help has the commands in groups, and its errors are one message as all others are."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn

from memrl.cli.console import complain

GROUPS: Mapping[str, Sequence[str]] = {
    "begin": ("start", "doctor", "config"),
    "data": ("data",),
    "train": ("train", "sft"),
    "look": ("report", "show", "view", "runs", "compare", "profile"),
    "measure": ("eval", "rescore", "judge"),
    "take it out": ("export", "serve", "demo", "agent"),
    "and besides": ("designs", "plugins", "tiny", "completion"),
}
"""The commands in the order in which a newcomer needs them; a group leaves out what this parser does not have."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are ours; `grouped` ones show their commands by `GROUPS`."""

    grouped = False

    def error(self, message: str) -> NoReturn:
        """Say what is wrong with the command line, and where its help is, and exit with 2."""
        complain(f"{self.prog}: {message}\n{self.prog} --help tells what there is.")
        sys.exit(2)

    def format_help(self) -> str:
        """Return the help; of a grouped parser with a heading for each group of commands."""
        if not self.grouped:
            return super().format_help()
        below = next(action for action in self._actions if isinstance(action, argparse._SubParsersAction))
        helps = {action.dest: action.help or "" for action in below._choices_actions}
        formatter = self._get_formatter()
        formatter.add_usage(self.usage, [action for action in self._actions if action is not below], [])
        formatter.add_text(self.description)
        formatter.start_section("options")
        formatter.add_arguments([action for action in self._actions if action is not below])
        formatter.end_section()
        for title, names in GROUPS.items():
            formatter.start_section(title)
            formatter.add_arguments(
                [argparse.Action([], name, metavar=name, help=helps[name]) for name in names if name in helps]
            )
            formatter.end_section()
        formatter.add_text(self.epilog)
        return formatter.format_help()
