"""What a step costs in each memory design as the memory grows.

    .venv/bin/python benchmarks/designs_scale.py --out benchmarks/results/designs_scale.json

Prints JSON: for each design milliseconds of CPU at 100 and at 10,000 items, medians over steps, and their ratio. A step
is what a run does with a chunk: the memory is rendered, a completion of calls that keep three sentences is carried out
by `MemoryEnv`, a question is retrieved; then it is undone, so that the memory stays as large. `text` is left out: each
of its steps writes all of the memory, whatever is held.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from memrl.envs.designs import DESIGNS, MemoryDesign, count_words, open_journal
from memrl.envs.designs.keeping import Keeping, calls_that_keep
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.storage.files import write_json_atomic

SIZES = (100, 10_000)
STEPS, WARM = 30, 5
_ENDS = ("al", "en", "ir", "om", "ut", "ash", "eck", "ill")
WORDS = [f"{first}{middle}{last}" for first in "bdfgklmnprst" for middle in _ENDS for last in _ENDS]
"""Made words; the first ones are the frequent ones, as in any text."""
HERMES = HermesDialect()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--designs", nargs="*", default=[name for name in DESIGNS.shipped if name != "text"])
    parser.add_argument("--out", type=Path, help="a file to write the JSON to")
    options = parser.parse_args(arguments)
    results = [measured(name) for name in options.designs]
    found = {"sizes": SIZES, "steps": STEPS, "results": results}
    if options.out:
        write_json_atomic(options.out, found)
    print(json.dumps(found, indent=2))


def measured(name: str) -> dict[str, Any]:
    """Return the cost of a step of one design at each size."""
    costs = {size: cost(name, size) for size in SIZES}
    return {"design": name, "ms": costs, "ratio": round(costs[SIZES[-1]] / costs[SIZES[0]], 2)}


def cost(name: str, size: int) -> float:
    """Return the milliseconds of CPU that a step takes, the median of some, with so many items held."""
    chance = random.Random(f"designs/{size}")
    memory = DESIGNS.get(name)(2**40, 1000, count_words)
    while len(memory.items) < size:
        for call in memory.keep(sentence(chance)):
            memory.execute(call, time="2024-03-05")
    took = []
    for step in range(WARM + STEPS):
        said = [sentence(chance) for _ in range(3)]
        question = f"What did {said[0].split()[0]} say?"
        completion = HERMES.format(calls_that_keep(memory, [Keeping(one) for one in said]))
        chunk = Chunk(text=" ".join(sentence(chance) for _ in range(10)), time="2024-03-06")
        stream = Stream(id="s", source="s", chunks=(chunk,), questions=(Question(id="q", text="?", answers=("x",)),))
        env = MemoryEnv(stream, memory, HERMES)
        warm_up(memory)
        with open_journal(memory) as journal:
            begun = time.process_time()
            env.observe()
            env.step(completion)
            memory.retrieve(question, 1024)
            if step >= WARM:
                took.append(1000 * (time.process_time() - begun))
            journal.undo()
    return round(statistics.median(took), 3)


def warm_up(memory: MemoryDesign) -> None:
    """Keep a sentence and drop it again, so that what an undoing has left to be mended is mended."""
    memory.render("", 100)
    for call in memory.keep("Nothing."):
        memory.execute(call)
    for call in memory.drop(memory.items[-1]):
        memory.execute(call)


def sentence(chance: random.Random) -> str:
    """Return a sentence that is hardly ever said twice."""
    name, *rest = (WORDS[int(len(WORDS) * chance.random() ** 3)] for _ in range(5))
    return f"{name.capitalize()} {' '.join(rest)} {chance.randrange(10**6)}."


if __name__ == "__main__":
    main()
