"""Formats of exported chats and documents by name: each module here is one, its `FORMAT`, and bears its name.

A new format is one file: what it is called, how an entry of it is known, and how talks are read out of it.
"""

from __future__ import annotations

import pkgutil
from typing import TYPE_CHECKING, Any

from memrl.envs.registry import Registry

if TYPE_CHECKING:
    from memrl.envs.building.exports import LogFormat


def _wrong(thing: Any) -> str:
    """Return what is wrong with what somebody else gives as a format."""
    from memrl.envs.building.exports import LogFormat

    return "" if isinstance(thing, LogFormat) else "is no memrl.envs.building.exports.LogFormat"


LOG_FORMATS: Registry[LogFormat] = Registry("log format", "memrl.log_formats", _wrong, named=True)
for _module in pkgutil.iter_modules(__path__):
    LOG_FORMATS.add(_module.name, f"{__name__}.{_module.name}:FORMAT")
