"""Suites: what methods are compared on. A set of streams, and the settings that go with it.

run                          the run's own held-out streams (data.eval)
memalpha-val, memalpha-mab   the validation streams of Mem-α, and MemoryAgentBench as it was cut for Mem-α; from the
                             hub, or from a folder: memalpha-val:path=DIR
synthetic:chunks=24          a source with options; those of the run's data.eval hold where none are given
data/squad                   a set that `memrl data build` made: its held-out file
synthetic:chunks=24,memory.budget=220      with a dot, a setting of the run's config for this suite alone
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from memrl.config import DataConfig
from memrl.config.load import read_value
from memrl.data.card import held_out_file, read_card
from memrl.data.feed import StreamFeed
from memrl.envs.sources import SOURCES
from memrl.envs.stream import Stream
from memrl.envs.suggest import did_you_mean
from memrl.errors import ConfigError

NAMED: dict[str, dict[str, object]] = {
    "memalpha-val": {"source": "memalpha", "split": "test", "path": "YuWangX/Memalpha"},
    "memalpha-mab": {"source": "memalpha", "split": "test", "path": "YuWangX/Memalpha-Memoryagentbench"},
}
FILES = {"locomo": "locomo10.json", "longmemeval": "longmemeval_s, longmemeval_m or longmemeval_oracle"}
"""What to download for a suite that is on no hub."""


@dataclass(frozen=True)
class Suite:
    """A named set of streams, and `key=value` settings of the run's config that it changes."""

    name: str
    streams: dict[str, Stream]
    """By what the records call them: two streams of one content are the same, whichever seed or run gave them."""
    settings: tuple[str, ...] = ()


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
    """
    name, _, given = words.partition(":")
    pairs = [pair.split("=", 1) for pair in _split(given)]
    if any(len(pair) < 2 for pair in pairs):
        raise ConfigError(f"suite {words!r}: options are written NAME:key=value,key=value")
    settings = tuple("=".join(pair) for pair in pairs if "." in pair[0])
    options = {key: read_value(value) for key, value in pairs if "." not in key}
    specs: Sequence[dict[str, object]]
    path = data.path
    if name == "run":
        specs = [{**spec, **options} for spec in data.eval]
    elif name in NAMED:
        specs = [{**NAMED[name], **options}]
    elif name in SOURCES:
        base = next((spec for spec in data.eval if spec.get("source") == name), None)
        path = path if base else None  # the run's file is of the run's own sources
        specs = [_placed(name, {**(base or {"source": name}), **options}, path)]
    elif Path(name).is_dir() or Path(name).is_file():
        specs = [{"source": "jsonl", "path": str(_file(Path(name))), **options}]
    else:
        known = ["run", *NAMED, *SOURCES]
        raise ConfigError(f"there is no suite {name!r}{did_you_mean(name, known)} A built set is named by its folder.")
    streams: dict[str, Stream] = {}
    for seed in seeds:
        taken = StreamFeed(specs, path, seed, cycle=False).take(most)
        streams |= {_named(stream): stream for stream in taken}
    if not streams:
        raise ConfigError(f"suite {words!r} has no streams")
    return Suite(words, streams, settings)


def _placed(name: str, spec: dict[str, object], data_path: str | None) -> dict[str, object]:
    """The spec of a source, with the file that a folder has for it in place of the folder."""
    source, path = SOURCES[name], spec.get("path") or data_path
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
