"""What a policy does with each kind of sentence, over a run's held-out episodes: written over the old item, written
beside it, refused, left out.

    .venv/bin/python benchmarks/writes.py runs/tiny --steps 0 40

For sources that say which sentences are worth keeping and what each replaces (`synthetic`). Prints JSON: for each step
and kind of sentence how many there are, what was done with which share of them, and what share was written twice.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from memrl.config import load_config
from memrl.data.guard import held_out_streams
from memrl.envs.building.prose import sentences
from memrl.envs.stream import Stream
from memrl.records import Episode
from memrl.storage.rundir import EpisodeWriter

LEFT = "left out"


def kind_of(sentence: str, notes: dict[str, dict[str, Any]]) -> str:
    """Return the kind of a sentence of a chunk.

    Args:
        notes: those of the chunk, by their texts.
    """
    note = notes.get(sentence)
    if note is None:
        return "chatter"
    if note["replaces"]:
        return "end" if note.get("ends") else "correction" if ", not " in sentence else "change"
    return "event" if note["store"] == "episodic" else "fact"


def told(episodes: Iterable[Episode], streams: dict[str, Stream]) -> dict[str, dict[str, Any]]:
    """Return the shares of what was done, by kind of sentence."""
    done: dict[str, Counter[str]] = defaultdict(Counter)
    again: Counter[str] = Counter()
    for episode in episodes:
        stream = streams[episode.stream_id]
        for step in episode.steps:
            notes = {note["text"]: note for note in stream.metadata["notes"][step.chunk]}
            wrote: dict[str, list[str]] = defaultdict(list)
            for call, result in zip(step.calls, step.results, strict=False):
                text = " ".join(str(call.arguments.get("content")).split())
                wrote[text].append(f"{result.name} {result.code.value}")
            for sentence in sentences(stream.chunks[step.chunk].text):
                kind, results = kind_of(sentence, notes), wrote[sentence]
                done[kind][next((one for one in results if one.endswith(" ok")), (*results, LEFT)[0])] += 1
                again[kind] += len(results) > 1
    return {
        kind: {"sentences": counts.total(), "written again": round(again[kind] / counts.total(), 3)}
        | {what: round(n / counts.total(), 3) for what, n in counts.most_common()}
        for kind, counts in sorted(done.items())
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run on synthetic streams")
    parser.add_argument("--steps", type=int, nargs="+", help="evaluations (default: all that are kept)")
    asked = parser.parse_args()
    config = load_config(str(asked.run / "config.yaml"), check=False)
    streams = {stream.id: stream for stream in held_out_streams(config.data, config.eval)}
    kept = EpisodeWriter(asked.run / "eval" / "episodes")
    print(json.dumps({step: told(kept.read(step), streams) for step in asked.steps or kept.steps()}, indent=1))


if __name__ == "__main__":
    main()
