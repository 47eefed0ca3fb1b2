"""Trackers: what else gets the figures of a run, such as a dashboard. None ships; `run.trackers` names some.

Invariant: a tracker never stops a run. What it raises is logged, once, and it is not asked again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from memrl.config.registries import TRACKERS

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RunInfo:
    """The run that a tracker follows."""

    name: str
    folder: Path
    settings: Mapping[str, Any]
    """The whole resolved config, as plain data."""
    step: int
    """The last step that is done: above 0 where the run goes on after one that was stopped. Rows of later steps that
    were sent before come again."""


class Tracker(Protocol):
    """Gets a run's figures while it goes on."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Take in one row of `metrics.jsonl`, after it was written there; `step` is among its keys."""
        ...

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Take in `summary.json`, or None where the run was stopped before its end. It is the last call."""
        ...


class Trackers:
    """The trackers of a run, by name; those that fail are left out from then on. As a context it ends them."""

    def __init__(self, openers: Mapping[str, Callable[[RunInfo], Tracker]], run: RunInfo) -> None:
        self._trackers: dict[str, Tracker] = {}
        for name, opener in openers.items():
            try:
                self._trackers[name] = opener(run)
            except Exception as error:  # somebody else's code, which must not stop a run
                _lost(name, error)

    def row(self, row: Mapping[str, Any]) -> None:
        """Give each a copy of a row."""
        self._tell(lambda tracker: tracker.row(dict(row)))

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Tell each that the run has ended, once; later calls do nothing."""
        self._tell(lambda tracker: tracker.end(summary))
        self._trackers = {}

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(None)

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        for name, tracker in list(self._trackers.items()):
            try:
                call(tracker)
            except Exception as error:
                del self._trackers[name]
                _lost(name, error)


def _lost(name: str, error: Exception) -> None:
    log.warning("tracker %s failed and gets nothing more: %s: %s", name, type(error).__name__, error)


def open_trackers(names: Sequence[str], run: RunInfo) -> Trackers:
    """Open those that `run.trackers` names.

    Raises:
        PluginError: one is not there, or has the wrong shape.
    """
    return Trackers({name: TRACKERS.get(name) for name in names}, run)
