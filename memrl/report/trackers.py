"""Trackers: what else gets the figures of a run, such as a dashboard. `run.trackers` names them; none is the default.

Invariant: a tracker never stops a run and never slows it. Each is called in a thread of its own, which no exit waits
for; what it raises is logged, once, and it is not asked again; what it cannot take in time is dropped; and at the end
all of them together have END_SECONDS.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Protocol

from memrl.config.registries import TRACKERS

log = logging.getLogger(__name__)
WAITING_AT_MOST = 200
"""Calls that wait for a tracker; those beyond them are dropped."""
END_SECONDS = 30.0
"""How long an end of a run waits for its trackers, all together."""
STOP_SECONDS = 5.0
"""How long where the run was stopped: who sends SIGTERM kills soon."""
_Call = Callable[["Tracker"], None]


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


@dataclass(frozen=True)
class Score:
    """The held-out score of one kind of question, with its 95 % interval; None where there is none."""

    kind: str
    """`all`, or the kind."""
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class HeldOut:
    """An evaluation, beyond its figures."""

    step: int
    scores: tuple[Score, ...]
    """Over all questions first, then by kind."""
    curve: Path
    """The picture of the curve so far, a PNG. A later evaluation replaces it."""
    episodes: tuple[tuple[str, str], ...]
    """Some episodes: what each is called, and the whole of it as text, as `memrl show` has it."""


class Tracker(Protocol):
    """Gets a run's figures while it goes on. One that has a method `evaluation(held_out: HeldOut)` too is given each
    evaluation, after its row."""

    def row(self, row: Mapping[str, Any]) -> None:
        """Take in one row of `metrics.jsonl`, after it was written there; `step` is among its keys."""
        ...

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Take in `summary.json`, or None where the run was stopped before its end. It is the last call. One that has
        not returned in time is left to itself; a method `abandon()`, where there is one, is called then, from another
        thread."""
        ...


class Trackers:
    """The trackers of a run, by name. As a context it ends them.

    Args:
        openers: what opens each; called in its thread.
        run: what they are opened with.
    """

    def __init__(self, openers: Mapping[str, Callable[[RunInfo], Tracker]], run: RunInfo) -> None:
        self._followers = [_Follower(name, opener, run) for name, opener in openers.items()]

    def __bool__(self) -> bool:
        return bool(self._followers)

    def row(self, row: Mapping[str, Any]) -> None:
        """Give each a copy of a row."""
        for follower in self._followers:
            copy = dict(row)
            follower.put(lambda tracker, copy=copy: tracker.row(copy))  # type: ignore[misc]

    def evaluation(self, look: Callable[[], HeldOut]) -> None:
        """Give an evaluation to each that takes them.

        Args:
            look: makes it; what that raises is logged.
        """
        try:
            held_out = look()
        except Exception as error:  # a design of somebody else may leave episodes that cannot be shown
            log.warning("an evaluation was not given to trackers: %s: %s", type(error).__name__, error)
            return
        for follower in self._followers:
            follower.put(lambda tracker: _give(tracker, held_out))

    def end(self, summary: Mapping[str, Any] | None, seconds: float = END_SECONDS) -> None:
        """Tell each that the run has ended, once, and wait for them; later calls do nothing."""
        followers, self._followers = self._followers, []
        for follower in followers:
            follower.end(summary)
        until = time.monotonic() + seconds
        try:
            for follower in followers:
                follower.wait(max(until - time.monotonic(), 0.0))
        finally:
            for follower in followers:
                follower.abandon(seconds)

    def __enter__(self) -> Trackers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end(None, STOP_SECONDS)


def _give(tracker: Tracker, held_out: HeldOut) -> None:
    take = getattr(tracker, "evaluation", None)
    if take is not None:
        take(held_out)


class _Follower:
    """One tracker in its thread. The thread is a daemon: the end of the process does not wait for it."""

    def __init__(self, name: str, opener: Callable[[RunInfo], Tracker], run: RunInfo) -> None:
        self._name = name
        self._tracker: Tracker | None = None
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._lost = False
        self._dropped = False
        self._thread = threading.Thread(
            target=self._follow, args=(opener, run), name=f"memrl-tracker-{name}", daemon=True
        )
        self._thread.start()

    def put(self, call: _Call) -> None:
        """Have a call made, in its turn; it is dropped where too many wait."""
        if self._lost:
            return
        if self._calls.qsize() < WAITING_AT_MOST:
            self._calls.put(call)
        elif not self._dropped:
            self._dropped = True
            log.warning(
                "tracker %s is too slow: %d calls wait for it, and what comes now is dropped (metrics.jsonl has it)",
                self._name, WAITING_AT_MOST,
            )  # fmt: skip

    def end(self, summary: Mapping[str, Any] | None) -> None:
        """Have it ended after all that waits."""
        self._calls.put(lambda tracker: tracker.end(None if summary is None else dict(summary)))
        self._calls.put(None)

    def wait(self, seconds: float) -> None:
        """Wait until it has ended, so long at most."""
        self._thread.join(seconds)

    def abandon(self, seconds: float) -> None:
        """Leave it to itself where it has not ended."""
        if not self._thread.is_alive():
            return
        self._lost = True
        log.warning("tracker %s has not ended within %g s and is left to itself", self._name, seconds)
        abandon = getattr(self._tracker, "abandon", None)
        if abandon is not None:
            try:
                abandon()
            except Exception as error:
                log.warning("tracker %s: %s: %s", self._name, type(error).__name__, error)

    def _follow(self, opener: Callable[[RunInfo], Tracker], run: RunInfo) -> None:
        try:
            self._tracker = opener(run)
            while (call := self._calls.get()) is not None:
                call(self._tracker)
        except (Exception, SystemExit) as error:  # somebody else's code, which must not stop a run
            if not self._lost:
                self._lost = True
                log.warning("tracker %s failed and gets nothing more: %s: %s", self._name, type(error).__name__, error)


def open_trackers(names: Sequence[str], run: RunInfo) -> Trackers:
    """Open those that `run.trackers` names.

    Raises:
        PluginError: one is not there, or has the wrong shape.
    """
    return Trackers({name: TRACKERS.get(name) for name in names}, run)
