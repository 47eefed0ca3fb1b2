"""Data sources by name: each module here is one, its `SOURCE`. The same options always give the same streams."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from memrl.envs.building.source import Source
from memrl.envs.errors import DataError
from memrl.envs.stream import Stream
from memrl.envs.suggest import did_you_mean

SOURCES: dict[str, Source] = {
    source.name: source
    for module in pkgutil.iter_modules(__path__, f"{__name__}.")
    for source in [import_module(module.name).SOURCE]
}


def source_named(name: str) -> Source:
    """The source `name`.

    Raises:
        DataError: there is none; the nearest right name is given.
    """
    if name not in SOURCES:
        raise DataError(f"unknown source {name!r}{did_you_mean(name, SOURCES)}")
    return SOURCES[name]


def option_names(name: str) -> list[str]:
    """The options of a source."""
    return list(source_named(name).options())


def open_source(name: str, options: Mapping[str, Any]) -> Iterator[Stream]:
    """Streams of the source `name`.

    Raises:
        DataError: unknown source or option (the nearest right name is given), a required option is missing, or a value
            has the wrong type: at once. Bad data: when the stream in question is asked for.
    """
    return source_named(name).open(options)
