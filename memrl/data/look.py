"""A look at all data of a run before its first step (law 14): what cannot be read, scored or shown is named at once.

Of a source that ends, every record is looked at; of one without end, as many streams as the run can take, up to
`MOST_CHARACTERS` of text.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn

from memrl.config.schema import DataConfig, EvalConfig
from memrl.data.feed import first_passes, shares, up_to, whole_source
from memrl.envs.building.left_out import by_reason, counting, explain_left_out
from memrl.envs.errors import DataError, MemrlError
from memrl.envs.faults import MOST_FAULTS, gathering
from memrl.envs.sources import source_named
from memrl.envs.specs import SourceSpec
from memrl.envs.stream import Question, Stream
from memrl.envs.suggest import did_you_mean
from memrl.rewards.metrics import METRICS, score

log = logging.getLogger(__name__)

Check = Callable[[Stream], Iterable[str]]
"""Says what is wrong with a stream, each fault as a sentence that names its record, what is wrong, and the remedy."""


@dataclass(frozen=True)
class StageLook:
    """The training sources of one stage, and what must hold of their streams."""

    name: str
    """Empty where there is only one."""
    train: Sequence[Mapping[str, Any]]
    checks: Sequence[Check]


MOST_CHARACTERS = 25_000_000
"""Of generated text that is looked at: some 20,000 streams of `synthetic`, 2,000 of `dialogues`, 20 seconds."""
_WORD = re.compile(r"[^\W\d_]{4}")
_EXACT = frozenset({"boxed", "choice", "code_rules"})
"""Metrics for which a gold's having a word says nothing."""


def look(
    data: DataConfig,
    held_out: EvalConfig,
    seed: int,
    taken: int,
    checks: Sequence[Check] = (),
    console: Console | None = None,
    staged: Sequence[StageLook] | None = None,
) -> list[str]:
    """Return what is wrong with single records of the data of a run, each fault in words, up to `MOST_FAULTS`.

    Args:
        seed: the run's.
        taken: how many training streams the run can take.
        checks: what else must hold of every stream.
        console: where the progress is shown.
        staged: what training takes in each stage; None: `data.train`, with `checks`.
    """
    staged = [StageLook("", data.train, checks)] if staged is None else staged
    sides = [
        *(
            (name, streams, stage.checks)
            for stage in staged
            for name, streams in _training(stage, data.path, seed, taken)
        ),
        *((name, streams, checks) for name, streams in _evaluation(data, held_out)),
    ]
    faults: dict[str, None] = {}
    console = console or Console(quiet=True)
    columns = (TextColumn("{task.description}"), TextColumn("{task.completed} streams"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking at the data", total=None)
        for name, streams, held in sides:
            seen = 0
            asked = 0
            with gathering() as unread, counting() as left_out:
                try:
                    for stream in streams:
                        seen += 1
                        asked += len(stream.questions)
                        progress.advance(task)
                        for check in (scorable, *held):
                            faults |= {f"{name}, {fault}": None for fault in check(stream)}
                        if len(faults) >= MOST_FAULTS:
                            return list(faults)
                except DataError as error:  # of the whole source: nothing else of it can be read
                    if seen or not unread:
                        unread.append(str(error))
            if told := explain_left_out(by_reason(left_out), asked):
                log.info("%s: %s", name, told)
            faults |= {f"{name.split()[0]}: {fault}": None for fault in unread}  # they name their file themselves
    return list(faults)


def scorable(stream: Stream) -> Iterator[str]:
    """Yield what keeps a stream from being scored: a metric that does not exist, a gold that no answer can meet."""
    where = f"stream {stream.id!r} of {stream.source}"
    for question in stream.questions:
        if question.metric not in METRICS:
            yield (
                f"{where}, question {question.id!r} has the unknown metric {question.metric!r}"
                f"{did_you_mean(question.metric, METRICS)}"
            )
        elif complaint := _gold_complaint(question):
            yield f"{where}, question {question.id!r}: {complaint}"


def _gold_complaint(question: Question) -> str:
    metric, golds = question.metric, list(question.answers)
    if metric not in _EXACT and any(map(_WORD.search, golds)):
        return ""
    try:
        earned = score(metric, golds[0], golds)
    except (ValueError, MemrlError) as error:
        return " ".join(str(error).split())
    if metric == "code_rules" or earned > 0 or any(score(metric, gold, golds) > 0 for gold in golds[1:]):
        return ""
    remedy = "a letter, e.g. B" if metric == "choice" else "other golds, or another metric"
    return f"the gold {golds[0][:80]!r} itself earns nothing by the metric {metric!r}. Give it {remedy}."


def _training(stage: StageLook, path: str | None, seed: int, taken: int) -> Iterator[tuple[str, Iterator[Stream]]]:
    counts = shares(stage.train, path, seed, taken)
    for index, (spec, streams) in enumerate(first_passes(stage.train, path, seed)):
        name = f"data.train[{index}]{_file(spec)}" + (f" in {stage.name}" if stage.name else "")
        endless = source_named(spec.name).endless
        yield name, _bounded(whole_source(spec, seed, index), counts[index], spec.name) if endless else streams


def _evaluation(data: DataConfig, held_out: EvalConfig) -> Iterator[tuple[str, Iterator[Stream]]]:
    for index, (spec, streams) in enumerate(first_passes(data.eval, data.path, held_out.seed)):
        yield f"data.eval[{index}]{_file(spec)}", islice(streams, held_out.streams)


def _file(spec: SourceSpec) -> str:
    path: Any = spec.options.get("path")
    return "" if path is None else f" ({path})"


def _bounded(streams: Iterator[Stream], count: int, name: str) -> Iterator[Stream]:
    told = f"%d of the {count} streams of {name} that the run may take were looked at"
    return up_to(MOST_CHARACTERS, islice(streams, count), partial(log.info, told))
