"""Data sources by name. Each is a function of keyword options that yields the same streams for the same options.

Options come from a YAML file, so their names and types are checked here, against the function's own signature, before
the first stream is asked for. What can only be known from the data is checked as it is read.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError, validate_call

from envs.errors import DataError
from envs.sources import jsonl, squad, synthetic
from envs.stream import Stream, explain

SOURCES: dict[str, Callable[..., Iterable[Stream]]] = {
    "synthetic": synthetic.synthetic,
    "squad": squad.squad,
    "jsonl": jsonl.jsonl,
}


def _nearest(name: str, known: list[str]) -> str:
    near = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"Did you mean {near[0]!r}? " if near else ""


def _function(name: str) -> Callable[..., Iterable[Stream]]:
    if name not in SOURCES:
        raise DataError(f"unknown source {name!r}. {_nearest(name, list(SOURCES))}Known: {', '.join(SOURCES)}.")
    return SOURCES[name]


def option_names(name: str) -> list[str]:
    """The options of a source, in the order of its signature."""
    return list(inspect.signature(_function(name)).parameters)


def open_source(name: str, options: Mapping[str, Any]) -> Iterator[Stream]:
    """Streams of the source `name`.

    Raises:
        DataError: unknown source or option (the nearest right name is given), a required option is missing, or a value
            has the wrong type: at once. Bad data: when the stream in question is asked for.
    """
    function = _function(name)
    parameters = inspect.signature(function).parameters
    for option in options:
        if option not in parameters:
            hint = _nearest(str(option), list(parameters))
            raise DataError(f"source {name!r} has no option {option!r}. {hint}Its options: {', '.join(parameters)}.")
    for parameter in parameters.values():
        if parameter.default is parameter.empty and parameter.name not in options:
            raise DataError(
                f"source {name!r} needs the option {parameter.name!r}. Its options: {', '.join(parameters)}."
            )
    try:
        streams = validate_call(function)(**options)
    except ValidationError as error:
        raise DataError(f"source {name!r}, option {explain(error)}.") from error
    return iter(streams)
