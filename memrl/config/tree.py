"""The tree of settings: every dotted key of a config."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import Field, fields, is_dataclass
from typing import Any


def dotted(section: Any, prefix: str = "") -> Iterator[tuple[str, Field[Any], Any]]:
    """Yield every dotted key below `section`, sections before what lies in them, with its field and its value."""
    for field in fields(section):
        value = getattr(section, field.name)
        key = prefix + field.name
        yield key, field, value
        if is_dataclass(value):
            yield from dotted(value, f"{key}.")


def values(section: Any) -> Iterator[tuple[str, Any]]:
    """Yield every setting below `section` with its value: all dotted keys that are no sections."""
    return ((key, value) for key, _, value in dotted(section) if not is_dataclass(value))
