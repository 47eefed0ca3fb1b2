"""The options that name a server which has an exported policy: of `memrl eval` and `memrl serve`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from memrl.errors import ConfigError

if TYPE_CHECKING:
    from memrl.engines.endpoint_engine import Served

OPTIONS = ("--served", "--served-as", "--base-served-as", "--api-key-env")


def add_served_options(command: argparse.ArgumentParser) -> None:
    """Add `OPTIONS` to a command."""
    command.add_argument("--served", metavar="URL", help="an OpenAI-compatible server that has the exported policy")
    command.add_argument("--served-as", metavar="NAME", help="what that server calls the policy")
    command.add_argument("--base-served-as", metavar="NAME", help="what it calls an adapter's base model")
    command.add_argument("--api-key-env", metavar="VARIABLE", help="environment variable with that server's key")


def named_server(arguments: argparse.Namespace) -> Served | None:
    """The server that the options name, if any.

    Raises:
        ConfigError: they name half of one.
    """
    if bool(arguments.served) != bool(arguments.served_as):
        raise ConfigError("--served and --served-as go together: where the server is, and what it calls the policy")
    if not arguments.served:
        return None
    from memrl.engines.endpoint_engine import Served

    return Served(arguments.served, arguments.served_as, arguments.base_served_as, arguments.api_key_env)
