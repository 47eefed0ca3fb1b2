"""Faults of single records: each ends the reading, or, where they are gathered, is noted and its record passed over.

So a set is read to its end, and all that is wrong with it can be told at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from memrl.envs.errors import DataError

SHOWN = 10
"""Faults that a message has in full; the others are counted."""
MOST_FAULTS = 1000
"""After so many no more data is looked at: there is enough to mend."""
_GATHERED: ContextVar[list[str] | None] = ContextVar("gathered", default=None)


@contextmanager
def gathering() -> Iterator[list[str]]:
    """Gather the faults of records that are read within; yields the list that they come to."""
    faults: list[str] = []
    token = _GATHERED.set(faults)
    try:
        yield faults
    finally:
        _GATHERED.reset(token)


@contextmanager
def one_record() -> Iterator[None]:
    """Read one record within: its `DataError` is raised, or noted where faults are gathered."""
    try:
        yield
    except DataError as error:
        faults = _GATHERED.get()
        if faults is None:
            raise
        if str(error) not in faults:
            faults.append(str(error))


def count_faults() -> int:
    """Return how many faults were gathered so far."""
    return len(_GATHERED.get() or ())


def explain_faults(faults: Sequence[str]) -> str:
    """Return the first faults in words, and how many there are."""
    if len(faults) == 1:
        return faults[0]
    more = f"\n  ... and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    lines = "".join(f"\n  - {fault}" for fault in faults[:SHOWN])
    least = "at least " if len(faults) >= MOST_FAULTS else ""
    return f"{least}{len(faults)} records of the data cannot be used:{lines}{more}"
