"""Data sources by name: each module here is one, its `SOURCE`, and bears its name; it is imported when somebody asks
for it. The same options always give the same streams.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from memrl.envs.errors import DataError
from memrl.envs.registry import Registry

if TYPE_CHECKING:
    from memrl.envs.building.source import Source
    from memrl.envs.stream import Stream


def _wrong(thing: Any) -> str:
    """Return what is wrong with what somebody else gives as a source."""
    from memrl.envs.building.source import Source

    if not isinstance(thing, Source):
        return f"is of the type {type(thing).__name__}; it must be a memrl.envs.building.source.Source"
    if "seed" not in thing.options():
        return "has no option `seed`, by which a run asks for other streams in each pass; give it one"
    return ""


SOURCES: Registry[Source] = Registry("source", "memrl.sources", _wrong, named=True)
for _module in pkgutil.iter_modules(__path__):
    SOURCES.add(_module.name, f"{__name__}.{_module.name}:SOURCE")


def source_named(name: str) -> Source:
    """Return the source `name`, which may also be an import path.

    Raises:
        DataError: there is none; the nearest right name is given.
        PluginError: it is somebody else's, and cannot be imported or is no source.
    """
    if not SOURCES.knows(name):
        raise DataError(SOURCES.unknown(name))
    return SOURCES.get(name)


def option_names(name: str) -> list[str]:
    """Return the options of a source."""
    return list(source_named(name).options())


def open_source(name: str, options: Mapping[str, Any]) -> Iterator[Stream]:
    """Return the streams of the source `name`.

    Raises:
        DataError: unknown source or option (the nearest right name is given), a required option is missing, or a value
            has the wrong type: at once. Bad data: when the stream in question is asked for.
        PluginError: the source is somebody else's, and cannot be imported or is no source.
    """
    return source_named(name).open(options)
