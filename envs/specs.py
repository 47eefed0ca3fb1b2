"""One entry of `data.train` or `data.eval`, taken apart: which source, how often, with which options."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memrl.envs.errors import DataError
from memrl.envs.sources import source_named


@dataclass(frozen=True)
class SourceSpec:
    """One entry of `data.train` or `data.eval`, taken apart."""

    name: str
    weight: float
    options: dict[str, Any]


def parse_spec(spec: Mapping[str, Any], data_path: str | None) -> SourceSpec:
    """Take `{source: name, weight: 1.0, <options>}` apart; `data_path` fills in the `path` of a source that names none.

    Raises:
        DataError: no source is named, its name is unknown, or the weight is no positive number.
    """
    if "source" not in spec:
        raise DataError(f"data source {dict(spec)!r} names no source. Write e.g. {{source: synthetic}}.")
    name = str(spec["source"])
    options = {key: value for key, value in spec.items() if key not in {"source", "weight"}}
    known = source_named(name).options()
    if "path" in known and options.get("path") is None:
        options.pop("path", None)
        if data_path is not None:
            options["path"] = data_path
        elif known["path"] is inspect.Parameter.empty:  # others have a name on the hub
            raise DataError(f"source {name!r} needs a file: set data.path or the source's own `path`.")
    if isinstance(options.get("path"), str):
        options["path"] = str(Path(options["path"]).expanduser())
    weight = spec.get("weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not 0 < weight < float("inf"):
        raise DataError(f"source {name!r}: weight must be a positive number, not {weight!r}.")
    return SourceSpec(name, float(weight), options)
