"""An interval as a person reads it, in tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def shown(interval: Mapping[str, Any] | None, sign: str = "") -> str:
    """Return `0.889 [0.854, 0.920]`; the value alone where it has no interval; nothing where there is none.

    Args:
        sign: `+` to show it always.
    """
    if interval is None:
        return ""
    if interval["low"] is None:
        return "{value:{0}.3f} (no interval)".format(sign, **interval)
    return "{value:{0}.3f} [{low:{0}.3f}, {high:{0}.3f}]".format(sign, **interval)
