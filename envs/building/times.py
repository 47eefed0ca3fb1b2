"""Moments as exports write them: ISO 8601, seconds or milliseconds since 1970, with or without a zone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

_MILLISECONDS = 1e11
"""Seconds since 1970 that lie beyond the year 5000: so large a number counts milliseconds."""


def moment(value: Any) -> datetime | None:
    """Return a moment, in UTC where the value says its zone or counts from 1970; None where it is none.

    Args:
        value: text or a number, as JSON and tables have it.
    """
    if isinstance(value, datetime):
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            return moment(datetime.fromisoformat(str(value).strip()))
        except ValueError:
            return None
    try:
        found = datetime.fromtimestamp(seconds / 1000 if seconds > _MILLISECONDS else seconds, UTC)
    except (OverflowError, OSError, ValueError):
        return None
    return found.replace(tzinfo=None)


def shown(time: datetime) -> str:
    """Return a moment as chunks bear it, to the minute; a day alone where no hour is known."""
    return time.strftime("%Y-%m-%d" if not (time.hour or time.minute or time.second) else "%Y-%m-%d %H:%M")
