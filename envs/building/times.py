"""Moments as exports write them: ISO 8601, or a count since 1970 (seconds to nanoseconds), with or without a zone."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from typing import Any

_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))
"""From what size on a count since 1970 is of nano-, micro-, milliseconds or seconds, and how many make a second: a
smaller number is none, as seconds below 1e8 (1973) are no talk's, and 2025 is a year and 20250305 a day."""
_COUNT = re.compile(r"[+-]?\d{1,20}(?:\.\d{1,20})?")
_ZONE = re.compile(r" ?(?:UTC|GMT|([+-]\d\d:?\d\d)(?: [A-Z]{3,4})?)$")
"""Zones as `date` and databases write them after a time, where ISO 8601 has no blank."""


def moment(value: Any) -> datetime | None:
    """Return a moment, in UTC where the value says its zone or counts from 1970; None where it is none.

    Args:
        value: text or a number, as JSON and tables have it.
    """
    try:
        if isinstance(value, datetime):
            return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
        if isinstance(value, bool) or not isinstance(value, (str, int, float)):
            return None
        if not isinstance(value, str):
            return _counted(value)
        text = value.strip()
        if _COUNT.fullmatch(text):
            return _counted(float(text))
        return moment(datetime.fromisoformat(_ZONE.sub(lambda zone: zone[1] or "+00:00", text)))
    except (ValueError, OverflowError, OSError):
        return None


def _counted(number: float) -> datetime | None:
    """The moment of a count since 1970, or of a day that is written as one number (20250305)."""
    if not math.isfinite(number):
        return None
    if 19_000_101 <= number <= 21_001_231 and number == int(number):
        return datetime.strptime(str(int(number)), "%Y%m%d")
    for least, second in _UNITS:
        if abs(number) >= least:
            return datetime.fromtimestamp(number / second, UTC).replace(tzinfo=None)
    return None


def shown(time: datetime) -> str:
    """Return a moment as chunks bear it, to the minute; a day alone where no hour is known."""
    return time.strftime("%Y-%m-%d" if not (time.hour or time.minute or time.second) else "%Y-%m-%d %H:%M")
