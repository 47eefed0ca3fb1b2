"""Suites: what methods are compared on. A set of streams, and the settings that go with it.

run                          the run's own held-out streams (data.eval)
memalpha-val, memalpha-mab   the validation streams of Mem-α, and MemoryAgentBench as it was cut for Mem-α; from the
                             hub, or from a folder: memalpha-val:path=DIR
synthetic:chunks=24          a source with options; those of the run's data.eval hold where none are given
mypackage.module:SOURCE      a source of somebody else's by its import path; mypackage.module:SOURCE:count=9 with
options data/squad                   a set that `memrl data build` made: its held-out side, or all of it where it has no
sides synthetic:chunks=24,memory.budget=220      with a dot, a setting of the run's config for this suite alone

A suite knows what it does not hold: which questions of its set are left out, and why.
"""

from __future__ import annotations

import hashlib
import inspect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from memrl.config import DataConfig
from memrl.config.load import read_value
from memrl.data.card import CARD_FILE, HELD_OUT, held_out_file, read_card
from memrl.data.feed import StreamFeed
from memrl.envs.building.releases import LEFT_OUT, Release
from memrl.envs.building.source import Source
from memrl.envs.registry import is_import_path
from memrl.envs.sources import SOURCES
from memrl.envs.specs import parse_spec
from memrl.envs.stream import Stream
from memrl.envs.suggest import did_you_mean
from memrl.errors import ConfigError

NAMED: dict[str, dict[str, object]] = {
    "memalpha-val": {"source": "memalpha", "split": "test", "path": "YuWangX/Memalpha", "release": "memalpha"},
    "memalpha-mab": {
        "source": "memalpha",
        "split": "test",
        "path": "YuWangX/Memalpha-Memoryagentbench",
        "release": "memoryagentbench",
    },
}
FILES = {"locomo": "locomo10.json", "longmemeval": "longmemeval_s, longmemeval_m or longmemeval_oracle"}
"""What to download for a suite that is on no hub."""
Spec = dict[str, object]


@dataclass(frozen=True)
class LeftOut:
    """Questions of a suite's set that are not asked."""

    set_name: str
    questions: int | None
    """None: nobody says how many."""
    why: str


@dataclass(frozen=True)
class Suite:
    """A named set of streams, and `key=value` settings of the run's config that it changes."""

    name: str
    streams: dict[str, Stream]
    """By what the records call them: two streams of one content are the same, whichever seed or run gave them."""
    settings: tuple[str, ...] = ()
    split: str | None = None
    """The side of its set that the streams are of; None where a set has no sides."""
    releases: tuple[str, ...] = ()
    """The publications that its streams are from, where what these hold is known."""
    left_out: tuple[LeftOut, ...] = ()

    @property
    def questions(self) -> int:
        """Return how many questions its streams have."""
        return sum(len(stream.questions) for stream in self.streams.values())


def set_of(stream: Stream) -> str:
    """The published set that a stream belongs to, where its source holds several; else the source."""
    return str(stream.metadata.get("set") or stream.source)


def open_suite(words: str, data: DataConfig, most: int, seeds: Sequence[int]) -> Suite:
    """The suite that `words` name.

    Args:
        data: of the run.
        most: streams to take for each seed.
        seeds: of the sources. A stream that several of them give is there once.

    Raises:
        ConfigError: there is no such suite, or it has no streams.
        DataError: its options or files are wrong.
        PluginError: it is somebody else's source, and cannot be imported or is none.
    """
    name, pairs = _name_and_pairs(words)
    settings = settings_of(words)
    options = {key: read_value(value) for key, value in pairs if "." not in key}
    specs: Sequence[Spec]
    path = data.path
    if name == "run":
        specs = [{**spec, **options} for spec in data.eval]
    elif name in NAMED:
        specs = [{**NAMED[name], **options}]
    elif SOURCES.knows(name):
        base = next((spec for spec in data.eval if spec.get("source") == name), None)
        path = path if base else None  # the run's file is of the run's own sources
        specs = [_placed(name, {**(base or _held_out(name)), **options}, path)]
    elif Path(name).is_dir() or Path(name).is_file():
        specs = [{"source": "jsonl", "path": str(_file(Path(name))), **options}]
    else:
        known = ["run", *NAMED, *SOURCES]
        raise ConfigError(f"there is no suite {name!r}{did_you_mean(name, known)} A built set is named by its folder.")
    taken: dict[str, Stream] = {}
    beyond: dict[str, Stream] = {}
    for seed in seeds:
        feed = StreamFeed(specs, path, seed, cycle=False)
        taken |= {_named(stream): stream for stream in feed.take(most)}
        if not any(_endless(spec, path) for spec in specs):
            beyond |= {_named(stream): _without_text(stream) for stream in _rest(feed)}
    if not taken:
        raise ConfigError(f"suite {words!r} has no streams")
    beyond = {key: stream for key, stream in beyond.items() if key not in taken}
    releases = [release for spec in specs if (release := _release(spec, path))]
    return Suite(
        words,
        taken,
        settings,
        _one([_side(spec, path) for spec in specs]),
        tuple(f"{release.name} ({release.revision})" for release in releases),
        tuple(_left_out(list(taken.values()), list(beyond.values()), releases, most)),
    )


def settings_of(words: str) -> tuple[str, ...]:
    """Return the `key=value` settings of the run's config that a suite changes, without opening it.

    Raises:
        ConfigError: an option has no value.
    """
    _, pairs = _name_and_pairs(words)
    return tuple("=".join(pair) for pair in pairs if "." in pair[0])


def _name_and_pairs(words: str) -> tuple[str, list[list[str]]]:
    name, given = _name_and_options(words)
    pairs = [pair.split("=", 1) for pair in _split(given)]
    if any(len(pair) < 2 for pair in pairs):
        raise ConfigError(f"suite {words!r}: options are written NAME:key=value,key=value")
    return name, pairs


def _name_and_options(words: str) -> tuple[str, str]:
    name, _, given = words.partition(":")
    if name != "run" and name not in NAMED and name not in SOURCES:
        attribute, _, options = given.partition(":")
        if is_import_path(f"{name}:{attribute}"):
            return f"{name}:{attribute}", options
    return name, given


def _held_out(name: str) -> Spec:
    """The spec of a source that is named without a run's: of one that gives its training side unless it is asked for
    another, the other."""
    source = SOURCES.get(name)
    if source.options().get("split") == "train":
        return {"source": name, "split": next(split for split in source.splits if split != "train")}
    return {"source": name}


def _placed(name: str, spec: Spec, data_path: str | None) -> Spec:
    """The spec of a source, with the file that a folder has for it in place of the folder."""
    source, path = SOURCES.get(name), spec.get("path") or data_path
    if path is None and source.options().get("path") is inspect.Parameter.empty:
        wanted = f"download {FILES.get(name, 'it')} ({source.home})" if source.home else "write one"
        raise ConfigError(f"suite {name!r} needs a file: {wanted}, and name it: --suite {name}:path=FILE")
    folder = Path(str(path)).expanduser()
    if source.locate is None or not folder.is_dir():
        return spec
    found = source.find(sorted(file for file in folder.iterdir() if file.is_file()))
    if len(found) > 1:
        raise ConfigError(f"suite {name!r}: {folder} holds {', '.join(file.name for file in found)}; name one of them.")
    if not found and name in FILES:
        raise ConfigError(f"suite {name!r}: {folder} has no {FILES[name]}; it is published at {source.home}.")
    return {**spec, "path": str(found[0])} if found else spec


def _named(stream: Stream) -> str:
    """Return its id, which other options of a source give to other streams too, and a digest of all that it holds."""
    return f"{stream.id}@{hashlib.sha256(stream.model_dump_json().encode()).hexdigest()[:12]}"


def _split(options: str) -> list[str]:
    """Split at commas that are in no brackets."""
    parts, depth = [""], 0
    for letter in options:
        depth += (letter in "[{") - (letter in "]}")
        if letter == "," and not depth:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _file(path: Path) -> Path:
    """A file of streams, or that of the held-out streams of a built set."""
    return path if path.is_file() else path / held_out_file(read_card(path))


# What is asked, and what is not --------------------------------------------------------------------------------------


def _source(spec: Spec) -> Source:
    return SOURCES.get(str(spec["source"]))


def _options(spec: Spec, path: str | None) -> Mapping[str, Any]:
    return {**_source(spec).options(), **parse_spec(spec, path).options}


def _side(spec: Spec, path: str | None) -> str | None:
    """The side of its set that a spec's streams are of, as its option `split` says it, or the card of a built set."""
    options = _options(spec, path)
    if "split" in options:
        side = options["split"]
        if side is None and options.get("eval_share") == 1.0:
            return HELD_OUT[0]  # a benchmark: it has no other
        return str(side or "all")
    if not isinstance(options.get("path"), str | Path):
        return None
    file = Path(options["path"])
    if not (file.parent / CARD_FILE).is_file():
        return None
    splits = read_card(file.parent).splits
    return next((name for name, output in splits.items() if output.file == file.name), None)


def _one(sides: Sequence[str | None]) -> str | None:
    found = list(dict.fromkeys(side for side in sides if side is not None))
    return ", ".join(found) if found else None


def _endless(spec: Spec, path: str | None) -> bool:
    return _source(spec).endless and _options(spec, path).get("count") is None


def _release(spec: Spec, path: str | None) -> Release | None:
    release = _source(spec).release
    return None if release is None else release(_options(spec, path))


def _rest(feed: StreamFeed) -> Iterator[Stream]:
    while taken := feed.take(64):
        yield from taken


def _without_text(stream: Stream) -> Stream:
    """A stream that is only to be counted, without the text of its chunks."""
    return stream.model_copy(update={"chunks": ()})


def _left_out(
    taken: Sequence[Stream], beyond: Sequence[Stream], releases: Sequence[Release], most: int
) -> Iterator[LeftOut]:
    """Yield what of the suite's sets is not asked: past `most` streams, left out by the source, or not there at all."""
    seen: Counter[str] = Counter()
    late: Counter[str] = Counter()
    dropped: Counter[tuple[str, str]] = Counter()
    for streams, counts in ((taken, seen), (beyond, late)):
        for stream in streams:
            counts[set_of(stream)] += len(stream.questions)
            for why, number in stream.metadata.get(LEFT_OUT, {}).items():
                dropped[set_of(stream), why] += number
    for name, number in sorted(late.items()):
        yield LeftOut(name, number, f"past the first {most} streams (--streams)")
    for (name, why), number in sorted(dropped.items()):
        yield LeftOut(name, number, why)
    for release in releases:
        for one in release.sets:
            there = seen[one.name] + late[one.name] + sum(n for (name, _), n in dropped.items() if name == one.name)
            absent = "its files hold fewer than were published" if there else "not asked for, or not in its files"
            why = one.left_out or absent
            if one.questions is None and not there:
                yield LeftOut(one.name, None, why)
            elif one.questions is not None and one.questions > there:
                yield LeftOut(one.name, one.questions - there, why)
