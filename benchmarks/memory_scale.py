"""What a memory step costs as the memory grows, beside a reference that builds its index anew for each search.

    .venv/bin/python benchmarks/memory_scale.py --out benchmarks/results/memory_scale.json
    .venv/bin/python benchmarks/memory_scale.py --reference MEM_ALPHA/memory.py

Prints JSON: milliseconds of CPU and of wall time for each size of memory, medians over rounds, and the exponents of
their growth. Items are sentences of made dialogues, queries are questions about them. What is measured:

- `step`: one insert and one retrieval, of the design `stores`;
- `env_step`: `MemoryEnv.step` with a completion that makes one insert;
- `observe`: `MemoryEnv.observe`, whose query is a whole chunk;
- `reference`: one insert and one BM25 search of the first 20 items. With --reference, of the class `Memory` in that
  file (Mem-alpha's memory.py), without the request for an embedding that each of its inserts makes, and without the
  packages that only such requests need; otherwise of a plain list that rank_bm25's BM25Okapi is built of for each
  search. Without rank_bm25 the JSON says why there is none.

In each round all sizes are measured one after another, and each size beside the reference, so that other work on the
machine falls on all. Steps are undone after they were measured: the memory stays as large as it is said to be.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import platform
import random
import re
import statistics
import sys
import time
import types
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from rich.console import Console

from memrl.data.feed import StreamFeed
from memrl.envs.building.prose import sentences
from memrl.envs.designs import open_journal
from memrl.envs.designs.stores import INSERT, StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall
from memrl.report.progress import RunProgress
from memrl.storage.files import write_json_atomic

SIZES = (100, 1_000, 10_000, 100_000)
STEPS = 20
"""Steps of one size in one round."""
WARM = 5
"""Steps before them that are not measured: what was measured before has filled the processor's caches."""
TOP = 20
"""Items that the reference's search gives, as in its own prompts."""
EMBEDDING = 1536
"""Numbers of the reference's embeddings."""
ONLY_FOR_REQUESTS = {
    "openai": (),
    "dotenv": ("load_dotenv",),
    "sklearn": (),
    "sklearn.metrics": (),
    "sklearn.metrics.pairwise": ("cosine_similarity",),
    "memalpha": (),
    "memalpha.utils": ("count_tokens",),
}
"""Modules that the reference's file imports and that neither insert nor BM25 search calls, with the names it takes."""


class Reference(Protocol):
    """A memory that is compared with."""

    def insert(self, text: str) -> None: ...

    def search(self, query: str) -> Sequence[Any]: ...


class Rebuilt:
    """A list of texts, indexed anew for each search."""

    def __init__(self, texts: Sequence[str]) -> None:
        from rank_bm25 import BM25Okapi

        self._build = BM25Okapi
        self._texts = list(texts)

    def insert(self, text: str) -> None:
        if text not in self._texts:
            self._texts.append(text)

    def search(self, query: str) -> Sequence[str]:
        scores = self._build([_words(text) for text in self._texts]).get_scores(_words(query))
        return [self._texts[place] for place in sorted(range(len(scores)), key=lambda place: -scores[place])[:TOP]]


class OfFile:
    """The class `Memory` of Mem-alpha's memory.py, with all items in its semantic memory."""

    def __init__(self, memory: Any, texts: Sequence[str]) -> None:
        self._memory = memory()
        self._memory._get_embedding = lambda text: np.zeros(EMBEDDING)  # no request, as without a network
        self._memory.semantic = [{f"{number:06x}": text} for number, text in enumerate(texts)]
        self._memory.semantic_embedding_matrix = np.zeros((len(texts), EMBEDDING))
        self._memory.semantic_embedding_ids = [f"{number:06x}" for number in range(len(texts))]

    def insert(self, text: str) -> None:
        self._memory.new_memory_insert("semantic", text)

    def search(self, query: str) -> Sequence[Any]:
        found: Sequence[Any] = self._memory.memory_search("semantic", query, top_k=TOP)
        return found


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def open_reference(file: Path | None) -> tuple[Callable[[Sequence[str]], Reference] | None, str]:
    """Return what makes the reference of texts, and its name; None and the reason where it is not to be had."""
    if importlib.util.find_spec("rank_bm25") is None:
        return None, "none: rank_bm25 is not installed (pip install rank_bm25)"
    if file is None:
        return Rebuilt, "rank_bm25.BM25Okapi, built anew for each search"
    for name, wanted in ONLY_FOR_REQUESTS.items():
        stand_in = types.ModuleType(name)
        for one in wanted:
            setattr(stand_in, one, None)
        sys.modules.setdefault(name, stand_in)
    spec = importlib.util.spec_from_file_location("reference_memory", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise SystemExit(f"{file} is no Python file; give the path of Mem-alpha's memory.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return lambda texts: OfFile(module.Memory, texts), f"{file.name}, class Memory"


@dataclass
class Corpus:
    """What is written, what is asked, and what is read."""

    texts: list[str]
    questions: list[str]
    chunks: list[str]


def corpus(items: int) -> Corpus:
    """So many different sentences of made dialogues, in an order of their own, and questions about them."""
    texts: dict[str, None] = {}
    found = Corpus([], [], [])
    feed = StreamFeed([{"source": "dialogues", "sessions": 2000, "questions": 100}], None, 0, cycle=False)
    while len(texts) < items:
        (stream,) = feed.take(1)
        found.chunks += [chunk.text for chunk in stream.chunks]
        found.questions += [question.text for question in stream.questions]
        for chunk in stream.chunks:
            texts |= dict.fromkeys(text for line in chunk.text.splitlines() for text in sentences(line))
    found.texts = list(texts)[:items]
    for part in (found.texts, found.questions, found.chunks):
        random.Random(0).shuffle(part)
    return found


@dataclass
class Spent:
    """Milliseconds of one kind of work at one size, a pair a round."""

    cpu: list[float] = field(default_factory=list)
    wall: list[float] = field(default_factory=list)

    def measure(self, work: Callable[[], object], times: int, warm: int = 0) -> None:
        """Do `work` so many times, after `warm` times unmeasured, and note what one took."""
        for _ in range(warm):
            work()
        cpu, wall = time.process_time(), time.perf_counter()
        for _ in range(times):
            work()
        self.cpu.append(1000 * (time.process_time() - cpu) / times)
        self.wall.append(1000 * (time.perf_counter() - wall) / times)

    def row(self) -> dict[str, float]:
        """The medians, and the least CPU time of all rounds."""
        return {
            "cpu_ms": round(statistics.median(self.cpu), 4),
            "cpu_ms_least": round(min(self.cpu), 4),
            "wall_ms": round(statistics.median(self.wall), 4),
        }


def insert(text: str) -> ToolCall:
    """A call that stores a fact."""
    return ToolCall(name=INSERT.name, arguments={"memory_type": "semantic", "content": text})


class Size:
    """One memory of so many items, and its reference.

    Args:
        spare: texts that are not in it.
    """

    def __init__(self, size: int, found: Corpus, spare: Sequence[str], budget: int) -> None:
        self.size = size
        self.spent = {name: Spent() for name in ("step", "env_step", "observe", "reference")}
        self.reference: Reference | None = None
        self._found = found
        self._spare = spare
        self._budget = budget
        self._next = count()
        self._memory = StoreMemory(2**62, 512)
        for text in found.texts[:size]:
            self._memory.execute(insert(text))
        assert len(self._memory.items) == size, "two of the sentences say the same"

    def round(self) -> None:
        """Measure everything once."""
        memory, dialect = self._memory, HermesDialect()
        with open_journal(memory) as journal:
            self.spent["step"].measure(self._step, STEPS, WARM)
            journal.undo()
        chunks = tuple(Chunk(text=self._of(self._found.chunks)) for _ in range(STEPS + WARM))
        env = self._env(chunks)
        written = [dialect.format([insert(self._of(self._spare))]) for _ in range(STEPS + WARM)]
        with open_journal(memory) as journal:
            self.spent["env_step"].measure(lambda: env.step(written.pop()), STEPS, WARM)
            journal.undo()
        for chunk in chunks[:3]:
            self.spent["observe"].measure(self._env((chunk,)).observe, 1)
        assert len(memory.items) == self.size
        if self.reference is not None:
            self.spent["reference"].measure(self._reference_step, 1)

    def row(self) -> dict[str, Any]:
        """The figures of this size."""
        row: dict[str, Any] = {"items": self.size}
        row |= {name: spent.row() for name, spent in self.spent.items() if spent.cpu}
        if self.reference is not None:
            row["reference_cpu_of_step"] = round(row["reference"]["cpu_ms"] / row["step"]["cpu_ms"], 1)
        return row

    def _env(self, chunks: tuple[Chunk, ...]) -> MemoryEnv:
        questions = (Question(id="q", text="Who?", answers=("Ada",)),)
        stream = Stream(id="s", source="benchmark", chunks=chunks, questions=questions)
        return MemoryEnv(stream, self._memory, HermesDialect(), render_budget=self._budget)

    def _step(self) -> None:
        assert self._memory.execute(insert(self._of(self._spare))).ok
        assert self._memory.retrieve(self._of(self._found.questions), self._budget).items

    def _reference_step(self) -> None:
        assert self.reference is not None
        self.reference.insert(f"{self._of(self._spare)} ({next(self._next)})")  # it keeps them; none twice
        assert self.reference.search(self._of(self._found.questions))

    def _of(self, texts: Sequence[str]) -> str:
        return texts[next(self._next) % len(texts)]


def growth(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """By kind of work: the exponent e of a CPU time that grows as items ** e, by least squares in logarithms; and how
    many times as much the greatest memory takes as one of 1,000 items."""
    found: dict[str, dict[str, float]] = {}
    for name in ("step", "env_step", "observe", "reference"):
        known = {row["items"]: row[name]["cpu_ms"] for row in rows if name in row}
        if len(known) < 2:
            continue
        (exponent, _) = np.polyfit(np.log(list(known)), np.log(list(known.values())), 1)
        found[name] = {"exponent": round(float(exponent), 3)}
        if 1_000 in known:
            found[name][f"{max(known)}_to_1000"] = round(known[max(known)] / known[1_000], 2)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="items of the memories")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--budget", type=int, default=1024, help="tokens shown (default: 1024, as in training)")
    parser.add_argument("--reference", type=Path, help="Mem-alpha's memory.py")
    parser.add_argument("--reference-most", type=int, default=10_000, help="items of its greatest memory")
    parser.add_argument("--out", type=Path, help="a file for the JSON too")
    asked = parser.parse_args()
    build, name = open_reference(asked.reference)
    rounds = asked.rounds
    spare = 2 * (STEPS + WARM) + 1
    progress = RunProgress(Console(stderr=True))
    with progress:
        with progress.phase("write dialogues", 1):
            found = corpus(max(asked.sizes) + spare)
        sizes = []
        with progress.phase("fill memories", len(asked.sizes)) as advance:
            for number, size in enumerate(asked.sizes, start=1):
                sizes.append(Size(size, found, found.texts[-spare:], asked.budget))
                if build is not None and size <= asked.reference_most:
                    sizes[-1].reference = build(found.texts[:size])
                advance.to(number, len(asked.sizes))
        with progress.phase("measure", rounds) as advance:
            for number in range(1, rounds + 1):
                for one in sizes:
                    one.round()
                advance.to(number, rounds)
    rows = [size.row() for size in sizes]
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d")}
    result = {**machine, "rounds": rounds, "budget": asked.budget, "reference": name, "rows": rows}
    result["growth"] = growth(rows)
    if asked.out is not None:
        write_json_atomic(asked.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
