"""`memrl completion`: the words of a command line, completed by the shell.

A shell asks by running `memrl` with `_ARGCOMPLETE` set; only then is argcomplete imported.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator
from typing import Any

from memrl.errors import ConfigError

SHELLS = ("bash", "zsh", "fish", "powershell")


def add_completion_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `completion` to the parser of `memrl`."""
    completion = commands.add_parser(
        "completion",
        parents=[common],
        help="what makes a shell complete memrl's words",
        description=(
            "Print what makes a shell complete commands, options, configs and settings. For this shell alone: "
            'eval "$(memrl completion bash)"; for all that come: put that line into ~/.bashrc or ~/.zshrc.'
        ),
        epilog="example: memrl completion fish > ~/.config/fish/completions/memrl.fish",
        allow_abbrev=False,
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    completion.set_defaults(command=_completion)


def complete(parser: argparse.ArgumentParser) -> None:
    """Answer the shell where it is the one that asks, and end; else do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        import argcomplete

        argcomplete.autocomplete(parser)


def config_words(prefix: str, **_: Any) -> Iterator[str]:
    """Yield the shipped configs, files, and settings that begin with `prefix`."""
    from argcomplete.completers import FilesCompleter

    from memrl.config.describe import settings
    from memrl.config.load import config_folders

    yield from FilesCompleter()(prefix)
    if "." in prefix:
        yield from (f"{one.key}=" for one in settings())
        return
    for folder in config_folders():
        yield from (path.stem for path in folder.glob("*.yaml"))
    yield from dict.fromkeys(f"{one.key.partition('.')[0]}." for one in settings() if "." in one.key)


def _completion(arguments: argparse.Namespace) -> None:
    try:
        import argcomplete
    except ModuleNotFoundError as error:
        raise ConfigError("argcomplete is not installed. Run: pip install argcomplete") from error
    sys.stdout.write(argcomplete.shellcode(["memrl"], shell=arguments.shell))
