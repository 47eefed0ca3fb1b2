"""The streams of a run: several sources mixed by weight into one reproducible, seekable sequence.

Which source gives stream number k, and which stream that is, depends on (specs, seed, k) alone, so a resumed run that
seeks to its position reads on exactly where it stopped.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from memrl.config import DataConfig
from memrl.data.card import check_set
from memrl.envs.errors import DataError
from memrl.envs.faults import explain_faults, gathering
from memrl.envs.sources import open_source
from memrl.envs.specs import SourceSpec, parse_spec
from memrl.envs.stream import Stream
from memrl.envs.suggest import did_you_mean
from memrl.rewards.metrics import METRICS


class _Source:
    """One source, read pass after pass. Each pass has a seed of its own, unless the options fix one."""

    def __init__(self, spec: SourceSpec, seed: str, cycle: bool) -> None:
        self.spec = spec
        self.seed = seed
        self.cycle = cycle
        self.passes = 0
        self._streams = self._open()

    def _open(self) -> Iterator[Stream]:
        digest = hashlib.sha256(f"{self.seed}/{self.passes}".encode()).digest()
        pass_seed = int.from_bytes(digest[:4], "big") >> 1
        self.passes += 1
        return open_source(self.spec.name, {"seed": pass_seed, **self.spec.options})

    def next(self) -> Stream | None:
        """The next stream; None when the only pass of a source that does not cycle is over."""
        stream = next(self._streams, None)
        if stream is None and self.cycle:
            self._streams = self._open()
            stream = next(self._streams, None)
            if stream is None:
                raise DataError(f"source {self.spec.name!r} yields no stream. Check its options and its file.")
        return stream


class StreamFeed:
    """The sequence of streams of a run.

    Args:
        specs: `data.train` or `data.eval`: `{source: name, weight?: 1.0, <options>}` each.
        path: `data.path`.
        seed: same seed, same sequence.
        cycle: begin a finite source again (reshuffled) when it ends; else it drops out, and no stream comes twice.

    Raises:
        DataError: a spec is wrong, at once; bad data, when its stream is asked for.
    """

    def __init__(self, specs: Sequence[Mapping[str, Any]], path: str | None, seed: int, *, cycle: bool = True) -> None:
        if not specs:
            raise DataError("no data source is configured. Set data.train and data.eval.")
        self._specs = [parse_spec(spec, path) for spec in specs]
        self._seed = seed
        self._cycle = cycle
        self._rewind()

    @property
    def position(self) -> int:
        """Return how many streams were taken so far."""
        return self._position

    def _rewind(self) -> None:
        self._position = 0
        self._sources = [_Source(spec, f"{self._seed}/{index}", self._cycle) for index, spec in enumerate(self._specs)]
        self._open = list(range(len(self._sources)))

    def _next(self) -> Stream | None:
        while self._open:
            weights = [self._specs[index].weight for index in self._open]
            chosen = _draw(self._seed, self._position, self._open, weights)
            stream = self._sources[chosen].next()
            if stream is not None:
                self._position += 1
                return stream
            self._open.remove(chosen)
        if self._position == 0:
            names = ", ".join(repr(spec.name) for spec in self._specs)
            raise DataError(f"source {names} yields no stream. Check its options and its file.")
        return None

    def take(self, n: int) -> list[Stream]:
        """The next `n` streams; fewer only where `cycle` is off and every source has ended."""
        taken: list[Stream] = []
        while len(taken) < n and (stream := self._next()) is not None:
            taken.append(stream)
        return taken

    def seek(self, position: int) -> None:
        """Go to `position`, exactly as if so many streams had been taken. Skipped streams are generated and dropped."""
        if position < self._position:
            self._rewind()
        while self._position < position:
            if self._next() is None:
                raise DataError(f"the data ends after {self._position} streams; cannot go on at stream {position}.")


def first_passes(
    specs: Sequence[Mapping[str, Any]], path: str | None, seed: int
) -> list[tuple[SourceSpec, Iterator[Stream]]]:
    """Each source's streams as a feed of this seed first reads them, and no feed moves on for it.

    Of a source whose passes differ by their seed, the whole pass is given, whatever its `count`: later passes of a run
    get to what the first leaves out.

    Raises:
        DataError: a spec is wrong, at once; bad data, when its stream is asked for.
    """
    passes = []
    for index, spec in enumerate(parse_spec(spec, path) for spec in specs):
        whole = {key: value for key, value in spec.options.items() if key != "count" or "seed" in spec.options}
        source = _Source(SourceSpec(spec.name, spec.weight, whole), f"{seed}/{index}", cycle=False)
        passes.append((spec, iter(source.next, None)))
    return passes


def whole_source(spec: SourceSpec, seed: int, index: int) -> Iterator[Stream]:
    """The streams of a source as a feed of this seed reads them, pass after pass.

    Args:
        index: where the source stands among the feed's.
    """
    return iter(_Source(spec, f"{seed}/{index}", cycle=True).next, None)


def up_to(characters: int, streams: Iterable[Stream], tell: Callable[[int], None]) -> Iterator[Stream]:
    """Yield streams until they have so many characters of text; the one that passes the bound is the last.

    Args:
        tell: called with their number where the bound was reached.
    """
    for number, stream in enumerate(streams, start=1):
        yield stream
        characters -= sum(len(chunk.text) for chunk in stream.chunks)
        if characters <= 0:
            tell(number)
            return


def shares(specs: Sequence[Mapping[str, Any]], path: str | None, seed: int, count: int) -> list[int]:
    """Return how many of the first `count` streams of a feed that cycles come from each source."""
    weights = [parse_spec(spec, path).weight for spec in specs]
    if len(weights) == 1:
        return [count]
    drawn = Counter(_draw(seed, position, range(len(weights)), weights) for position in range(count))
    return [drawn[index] for index in range(len(weights))]


def _draw(seed: int, position: int, among: Sequence[int], weights: Sequence[float]) -> int:
    # A generator of its own for each place in the sequence: the choice needs no state to resume.
    return random.Random(f"feed/{seed}/{position}").choices(among, weights)[0]


def unknown_metrics(streams: Iterable[Stream]) -> list[str]:
    """A complaint for each metric that does not exist, with the nearest that does."""
    wanted = {question.metric: stream for stream in streams for question in stream.questions}
    return [
        f"stream {stream.id!r} has questions with the unknown metric {name!r}{did_you_mean(name, METRICS)}"
        for name, stream in wanted.items()
        if name not in METRICS
    ]


def check_data(data: DataConfig, seed: int, *, records: bool = True) -> None:
    """Ask every configured source for its first stream, so that bad data is found before anything slow.

    Args:
        records: also refuse single records that are bad. A run looks at all of them later, with their lengths.

    Raises:
        DataError: lists what is wrong with each source.
    """
    complaints: list[str] = []
    for part, specs in (("data.train", data.train), ("data.eval", data.eval)):
        for index, spec in enumerate(specs):
            try:
                file = parse_spec(spec, data.path).options.get("path")
                if isinstance(file, str):
                    check_set(Path(file).parent)
                with gathering() as unread:
                    first = list(islice(first_passes([spec], data.path, seed)[0][1], 1))
                if records or not first:
                    complaints += [f"{part}[{index}]: {explain_faults(unread)}"] if unread else []
                    complaints += [f"{part}[{index}]: {line}" for line in unknown_metrics(first)]
                if not first and not unread:
                    raise DataError(f"source {spec['source']!r} yields no stream. Check its options and its file.")
            except DataError as error:
                complaints.append(f"{part}[{index}]: {error}")
    if complaints:
        raise DataError("\n".join(complaints))
