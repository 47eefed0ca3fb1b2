"""Building of sets from raw files: find what is there, build each in a process of its own, write it whole or not."""

from __future__ import annotations

import gzip
import hashlib
import multiprocessing
import os
import re
import resource
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import chain
from itertools import count as numbers
from pathlib import Path
from typing import Any

import memrl
from memrl.data.card import CARD_FILE, Card, Input, Output, read_card
from memrl.data.quality import Quality, measure
from memrl.envs.building.left_out import by_reason, counting
from memrl.envs.building.source import Source
from memrl.envs.errors import DataError, NoStream
from memrl.envs.sources import SOURCES, open_source, source_named
from memrl.envs.stream import Stream
from memrl.storage.files import new_folder, sha256_file, write_json_atomic
from memrl.storage.formats import FORMATS

ENDLESS_COUNT = 64
"""Streams of each split of a source that has no end, unless `count` says otherwise."""
FORMS = (".gz", ".tgz", ".tar", ".json", ".jsonl", ".csv", ".tsv", ".txt", ".parquet", ".zip", ".md", ".html", ".pdf")
"""Ends of a file's name that say nothing of what it holds."""
IGNORED = (".md", ".txt", ".sha256")
COUNTED = (
    "streams", "chunks", "questions", "tokens", "answers_found", "spans", "spans_found", "evidence", "evidence_lost"
)  # fmt: skip
WHOLE = "all"
"""The split of a source that knows none."""


@dataclass(frozen=True)
class Job:
    """One set to build."""

    source: str
    path: Path | None = None
    name: str = ""
    """Its folder's name."""
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def arguments(self) -> dict[str, Any]:
        return {**({} if self.path is None else {"path": str(self.path)}), **self.options}


def find_jobs(origin: Path, only: str | None = None, options: Mapping[str, Any] | None = None) -> list[Job]:
    """The sets that the raw files in and below a folder (or one file) are for.

    Args:
        only: this source alone. It then gets whatever `origin` is, if its files are not found there by name.

    Raises:
        DataError: there is no such folder, no file in it is known, or `only` is no source.
    """
    if not origin.exists():
        raise DataError(f"{origin} does not exist. Check the path after --from.")
    if only is not None:
        source_named(only)
    jobs: list[Job] = []
    for files in _folders(origin):
        for source in SOURCES.values():
            if source.locate is not None and only in (None, source.name):
                jobs += [Job(source.name, path, options=options or {}) for path in source.find(files)]
    if not jobs and only is not None:
        jobs = [Job(only, origin, options=options or {})]
    if not jobs:
        raise DataError(
            f"no source knows a file in {origin}. `memrl data list` says what each reads; for documents of your own, "
            "see docs/own-data.md."
        )
    return _named(jobs)


def unknown_files(origin: Path, jobs: Iterable[Job]) -> list[Path]:
    """The files in and below `origin` that no set is built from; text that only explains is left out."""
    claimed = {job.path for job in jobs}
    return [
        file
        for files in _folders(origin)
        for file in files
        if file.suffix not in IGNORED and not claimed.intersection((file, *file.parents))
    ]


def _folders(origin: Path) -> Iterator[list[Path]]:
    """The files of each folder at and below `origin`, which may be one file."""
    if origin.is_file():
        yield [origin]
        return
    for folder, below, names in os.walk(origin):
        below.sort()
        files = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        if files:
            yield files


def _named(jobs: list[Job]) -> list[Job]:
    """Each with a folder name of its own: the source's, and, where it has several inputs, the input's as well."""
    counts = Counter(job.source for job in jobs)
    stems = Counter((job.source, _stem(job.path)) for job in jobs)
    names: dict[str, Job] = {}
    for job in jobs:
        name = job.source
        if counts[job.source] > 1 and job.path is not None:
            folder = f"-{job.path.parent.name}" if stems[job.source, _stem(job.path)] > 1 else ""
            name = f"{job.source}{folder}-{_stem(job.path)}"
        free = (f"{name}-{number}" if number else name for number in chain((0,), numbers(2)))
        name = next(free_one for free_one in free if free_one not in names)
        names[name] = Job(job.source, job.path, name, job.options)
    return list(names.values())


def set_name(origin: str) -> str:
    """Return what the set of an export is called: as its file or folder, in letters that every disk takes."""
    stem = _stem(Path(origin.rstrip("/").removeprefix("hub:").partition(":")[0]))
    name = re.sub(r"[^\w.-]+", "-", stem.removesuffix(".zip")).strip("-.")
    return name or "logs"


def _stem(path: Path | None) -> str:
    """Return a file's name without what only says its form: "xquad.ar" of xquad.ar.json.gz."""
    name = "" if path is None else path.name
    while any(name.endswith(end) and name != end for end in FORMS):
        name = name.rpartition(".")[0]
    return name


def build_sets(
    jobs: list[Job], out: Path, *, force: bool = False, done: Callable[[Job, Card | DataError], None]
) -> None:
    """Build sets side by side, each in a process of its own, so that its peak memory is its own too.

    Args:
        force: replace what lies in a set's folder.
        done: called after each set, with its card or what was wrong with its data.
    """
    workers = max(1, min(len(jobs), os.cpu_count() or 1))
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, max_tasks_per_child=1) as pool:
        running = {pool.submit(build_set, job, out, force=force): job for job in jobs}
        for future in as_completed(running):
            error = future.exception()
            if error is not None and not isinstance(error, DataError):
                raise error
            done(running[future], error if isinstance(error, DataError) else future.result())


def build_set(job: Job, out: Path, *, force: bool = False) -> Card:
    """Build one set into `out / job.name`: a .jsonl for each split that has streams, and `card.json`.

    What lies there already is kept where it is this very set, and replaced only by `force`.

    Raises:
        DataError: the data or options are bad, there is nothing to build, or another set lies there.
    """
    source = source_named(job.source)
    started = time.monotonic()
    target = out / job.name
    ignored = () if source.licence == "your own" else IGNORED
    inputs = list(_inputs(job.path, source.versions or {}, ignored)) if job.path is not None else []
    options = dict(job.options)
    if source.endless:
        options.setdefault("count", ENDLESS_COUNT)
    if target.exists() and not force:
        return _same(target, inputs, options)
    with new_folder(target) as folder, counting() as left_out:
        splits: dict[str, Output] = {}
        for split in _splits(source, options):
            path = folder / f"{split}.jsonl"
            chosen = {"split": split} if source.splits else {}
            try:
                streams = open_source(job.source, {**job.arguments, **options, **chosen})
                quality = measure(written(path, streams))
            except NoStream:
                path.unlink(missing_ok=True)
                continue
            size = path.stat().st_size
            splits[split] = Output(file=path.name, bytes=size, sha256=sha256_file(path), quality=quality)
        if not splits:
            raise DataError(f"{job.path or job.source}: no stream can be built with {options or 'the defaults'}.")
        versions = {known.version for known in inputs if known.version}
        total = totals([output.quality for output in splits.values()], source.extractive)
        card = Card(
            format_version=FORMATS["set"],
            name=job.name,
            source=source.name,
            about=source.about,
            kind=source.kind,
            tried=source.tried,
            home=source.home,
            licence=source.licence,
            version=", ".join(sorted(versions)) or None,
            builder=f"memrl {memrl.__version__}",
            options=options,
            inputs=inputs,
            extractive=source.extractive,
            splits=splits,
            left_out=by_reason(left_out),
            seconds=round(time.monotonic() - started, 2),
            peak_mib=round(peak_mib(), 1),
            date=datetime.now(UTC).date().isoformat(),
            **total,
        )
        write_json_atomic(folder / CARD_FILE, card.model_dump(mode="json"))
    return card


def peak_mib() -> float:
    """The most memory that this process has held."""
    try:
        status = Path("/proc/self/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]
    except (OSError, TypeError):
        # Elsewhere; and what a process inherits counts there, so that no child is below its parent.
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return used / (2**20 if sys.platform == "darwin" else 1024)


def _splits(source: Source, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The splits to build: the one that was asked for, else all that the source knows."""
    if source.splits and options.get("split") is not None:
        return (str(options["split"]),)
    return source.splits or (WHOLE,)


def _same(target: Path, inputs: list[Input], options: dict[str, Any]) -> Card:
    card = read_card(target)
    if (card.inputs, card.options, card.builder) == (inputs, options, f"memrl {memrl.__version__}"):
        return card
    raise DataError(
        f"{target} holds a set that was built from other files, options or by another version. Use --force to replace "
        "it, or another --out."
    )


def _inputs(path: Path, versions: Mapping[str, str], ignored: tuple[str, ...]) -> Iterator[Input]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    for file in files:
        if file == path or (file.suffix not in ignored and not file.name.startswith(".")):
            digest = sha256_file(file)
            version = versions.get(digest) or versions.get(_plain_sha256(file))
            yield Input(file=file.name, bytes=file.stat().st_size, sha256=digest, version=version)


def _plain_sha256(file: Path) -> str:
    """Return the SHA-256 of a .gz file's content; damage is not this function's to tell."""
    if file.suffix != ".gz":
        return ""
    try:
        with gzip.open(file, "rb") as plain:
            return hashlib.file_digest(plain, "sha256").hexdigest()
    except (OSError, EOFError):
        return ""


def written(path: Path, streams: Iterable[Stream]) -> Iterator[Stream]:
    """The streams, each written as a line of `path` on its way."""
    with path.open("w", encoding="utf-8") as file:
        for stream in streams:
            file.write(stream.model_dump_json() + "\n")
            yield stream


def totals(parts: list[Quality], extractive: bool) -> dict[str, Any]:
    sums = {name: sum(getattr(part, name) for part in parts) for name in COUNTED}
    found, of = ("spans_found", "spans") if extractive else ("answers_found", "questions")
    return {
        **{name: sums[name] for name in ("streams", "chunks", "questions", "tokens", "evidence_lost")},
        "answers_found": round(sums[found] / max(sums[of], 1), 4),
        "evidence": round(sums["evidence"] / sums["questions"], 4),
    }
