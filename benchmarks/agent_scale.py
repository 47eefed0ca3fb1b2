"""A memory agent at length: retrieval from many items, a write among many, and a long stream read in flat memory.

    .venv/bin/python benchmarks/agent_scale.py retrieval --items 100000
    .venv/bin/python benchmarks/agent_scale.py step --design ledger
    .venv/bin/python benchmarks/agent_scale.py stream exported/tiny --tokens 1000000

Prints one JSON line. `retrieval` fills a memory file with sentences of long dialogues and asks questions of these
dialogues: milliseconds from a question to what the reader is shown, out of all items. `step` writes one sentence to a
file of few items and of many: milliseconds of the processor, since other work on the machine lengthens the others.
`stream` has an exported policy
read that many of its own tokens, text by text, and reports the process's memory on the way.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from rich.console import Console

from memrl.agent.memory_file import MemoryFile
from memrl.data.feed import StreamFeed
from memrl.envs.building.prose import sentences
from memrl.envs.stream import Stream
from memrl.envs.tools import ToolCall
from memrl.report.progress import RunProgress

BATCH = 500
"""Operations in one transaction."""


def streams(source: str, **options: Any) -> Iterator[Stream]:
    """Streams of a source without end."""
    feed = StreamFeed([{"source": source, **options}], None, 0, cycle=False)
    while found := feed.take(1):
        yield from found


def retrieval(items: int, questions: int, budget: int, phase: Any) -> dict[str, Any]:
    """Milliseconds to what is shown for a question, of a memory of `items` items."""
    texts: dict[str, None] = {}
    asked: list[str] = []
    for stream in streams("dialogues", sessions=2000, questions=100):
        for chunk in stream.chunks:
            texts |= dict.fromkeys(text for line in chunk.text.splitlines() for text in sentences(line))
        asked += [question.text for question in stream.questions]
        if len(texts) >= items:
            break
    held = list(texts)[:items]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "memory.sqlite"
        file = MemoryFile(path)
        began = time.perf_counter()
        with phase("fill the memory", len(held)) as advance:
            for place in range(0, len(held), BATCH):
                calls = [
                    ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": text})
                    for text in held[place : place + BATCH]
                ]
                file.execute(calls)
                advance.to(place + len(calls), len(held))
        filled = time.perf_counter() - began
        file.close()
        began = time.perf_counter()
        file = MemoryFile(path)
        file.state()  # it is read when it is asked for
        opened = time.perf_counter() - began
        spent = []
        gc.collect()
        for question in asked[:questions]:
            began = time.perf_counter()
            view = file.state().retrieve(question, budget)
            spent.append(1000 * (time.perf_counter() - began))
            assert view.items
        write = ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": "One more."})
        began = time.perf_counter()
        file.execute([write])
        written = 1000 * (time.perf_counter() - began)
        held_items = len(file.items)
        file.close()
        size = path.stat().st_size
    return {
        "items": held_items,
        "questions": len(spent),
        "p50_ms": round(float(np.percentile(spent, 50)), 2),
        "p95_ms": round(float(np.percentile(spent, 95)), 2),
        "one_write_ms": round(written, 2),
        "fill_s": round(filled, 1),
        "open_s": round(opened, 1),
        "file_mb": round(size / 1e6, 1),
        "rss_mb": _rss(),
    }


def step(design: str, items: list[int], writes: int) -> dict[str, Any]:
    """Milliseconds of the processor that a write takes, by the number of items that are held."""
    took: dict[str, float] = {}
    with TemporaryDirectory() as folder:
        file = MemoryFile(Path(folder) / "memory.sqlite", design=design)
        for count in items:
            held = len(file.items)
            for place in range(held, count, BATCH):
                file.keep(
                    [f"Person {number} lives in town {number * 7919 % 1000}." for number in range(place, count)][:BATCH]
                )
            spent = []
            for number in range(writes):
                began = time.process_time()
                file.keep([f"Guest {count} {number} came from town {number}."])
                spent.append(1000 * (time.process_time() - began))
            took[str(count)] = round(float(np.median(spent)), 2)
        file.close()
    return {"design": design, "cpu_ms_by_items": took}


def stream(folder: Path, tokens: int, budget: int | None, piece_tokens: int | None, phase: Any) -> dict[str, Any]:
    """Resident memory while an exported policy reads `tokens` tokens."""
    from memrl import MemoryAgent

    at: list[int] = []
    read = texts = 0
    with TemporaryDirectory() as store:
        path = Path(store) / "memory.sqlite"
        with (
            MemoryAgent.open(folder, store=path, budget=budget, piece_tokens=piece_tokens) as agent,
            phase(f"read {tokens:,} tokens", tokens) as advance,
        ):
            count = agent.count_tokens
            began = time.perf_counter()
            for found in streams("synthetic", sentences=18, people=16, chunks=48, questions=1):
                for chunk in found.chunks:
                    agent.read(chunk.text, time=chunk.time)
                    size = count(chunk.text)
                    read, texts = read + size, texts + 1
                    advance.to(read, tokens)
                    if read * 10 >= tokens * (len(at) + 1):
                        at.append(_rss())
                if read >= tokens:
                    break
            seconds = time.perf_counter() - began
            held = len(agent.memory)
            changes = len(agent.history())
            asked = agent.ask("Where does Nora live?").text
        size = path.stat().st_size
    return {
        "tokens": read,
        "texts": texts,
        "seconds": round(seconds, 1),
        "rss_mb_at_each_tenth": at,
        "growth_mb_after_first_tenth": at[-1] - at[0],
        "items_held": held,
        "changes_in_history": changes,
        "file_mb": round(size / 1e6, 1),
        "an_answer": asked,
    }


def _rss() -> int:
    return round(psutil.Process().memory_info().rss / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = parser.add_subparsers(dest="part", required=True)
    one = parts.add_parser("retrieval")
    one.add_argument("--items", type=int, default=100_000)
    one.add_argument("--questions", type=int, default=500)
    one.add_argument("--budget", type=int, default=1024, help="tokens shown for a question (default: 1024)")
    many = parts.add_parser("step")
    many.add_argument("--design", default="stores", help="of the memory (default: stores)")
    many.add_argument("--items", type=int, nargs="+", default=[100, 10_000])
    many.add_argument("--writes", type=int, default=50)
    other = parts.add_parser("stream")
    other.add_argument("folder", type=Path, help="an exported policy")
    other.add_argument("--tokens", type=int, default=1_000_000)
    other.add_argument("--budget", type=int, help="tokens that the memory may hold (default: as in training)")
    other.add_argument("--piece-tokens", type=int, help="read at once (default: as the longest chunk in training)")
    asked = parser.parse_args()
    progress = RunProgress(Console(stderr=True))
    with progress:
        if asked.part == "retrieval":
            found = retrieval(asked.items, asked.questions, asked.budget, progress.phase)
        elif asked.part == "step":
            found = step(asked.design, asked.items, asked.writes)
        else:
            found = stream(asked.folder, asked.tokens, asked.budget, asked.piece_tokens, progress.phase)
    print(json.dumps({"part": asked.part, "machine": platform.processor() or platform.machine(), **found}))


if __name__ == "__main__":
    main()
