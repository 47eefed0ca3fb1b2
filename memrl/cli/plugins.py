"""The command `memrl plugins`: what other packages bring, and whether it can be used."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from memrl.cli.console import add_json_option, print_json, wide_console
from memrl.config.registries import BY_KEY, TRACKERS
from memrl.envs.logs import LOG_FORMATS
from memrl.envs.registry import Registry, stray_plugins
from memrl.envs.sources import SOURCES
from memrl.envs.suggest import did_you_mean
from memrl.envs.wrappers import WRAPPERS
from memrl.errors import PluginError
from memrl.rewards.parts import PARTS

DOORS: tuple[Registry[Any], ...] = (
    SOURCES,
    LOG_FORMATS,
    PARTS,
    *(registry for registry in BY_KEY.values() if registry.group is not None),
    TRACKERS,
    WRAPPERS,
)
"""Every registry that takes entry points."""


@dataclass(frozen=True)
class Found:
    """One entry point, and what is wrong with it."""

    kind: str
    name: str
    path: str
    distribution: str
    ok: bool
    wrong: str
    """Empty where it can be used."""


def add_plugins_command(commands: Any, common: argparse.ArgumentParser) -> None:
    """Add `plugins` to the parser of `memrl`."""
    plugins = commands.add_parser(
        "plugins",
        parents=[common],
        help="what installed packages bring: sources, reward parts, losses, ...",
        description=(
            "List what installed packages bring by entry points, import each, and check its shape. Exit code 1 where "
            "one cannot be used. docs/plugins.md says how to write one."
        ),
        epilog="example: pip install ./examples/plugin && memrl plugins",
        allow_abbrev=False,
    )
    add_json_option(plugins)
    plugins.set_defaults(command=_plugins)


def find_plugins() -> list[Found]:
    """Return every entry point of our groups, imported and looked at, and those of groups that we do not have."""
    return [*_known(), *_stray()]


def _known() -> Iterator[Found]:
    for registry in DOORS:
        for plugin in registry.plugins:
            wrong = ""
            try:
                registry.load(plugin)
            except PluginError as error:
                wrong = str(error)
            yield Found(plugin.kind, plugin.name, plugin.path, plugin.distribution, not wrong, wrong)


def _stray() -> Iterator[Found]:
    groups = [str(registry.group) for registry in DOORS]
    for plugin in stray_plugins(groups):
        wrong = f"there are no entry points of the group {plugin.kind!r}{did_you_mean(plugin.kind, groups)}"
        yield Found("?", plugin.name, plugin.path, plugin.distribution, False, wrong)


def _plugins(arguments: argparse.Namespace) -> None:
    found = find_plugins()
    broken = [plugin for plugin in found if not plugin.ok]
    if arguments.json:
        print_json([asdict(plugin) for plugin in found])
    elif found:
        table = Table("kind", "name", "path", "from", "", title="plug-ins")
        for plugin in found:
            table.add_row(
                plugin.kind, *(escape(text) for text in (plugin.name, plugin.path, plugin.distribution)),
                "ok" if plugin.ok else escape(plugin.wrong),
            )  # fmt: skip
        wide_console().print(table)
    else:
        wide_console().print(f"no plug-ins are installed (entry points of {', '.join(str(d.group) for d in DOORS)})")
    if broken:
        names = ", ".join(f"{plugin.name} of {plugin.distribution}" for plugin in broken)
        raise PluginError(f"{len(broken)} of {len(found)} plug-ins cannot be used: {names}.")
