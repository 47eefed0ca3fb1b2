"""What holding completions to the grammar of their calls is worth to a model that was not trained: SmolLM2 on SQuAD.

    .venv/bin/python benchmarks/guided.py --model SMOLLM2 --squad dev-v2.0.json.gz --streams 16

The held-out streams of `squad-smollm2-cpu`, played greedily with `rollout.guided` off and json. Prints JSON: the share
of right answers and their interval, what became of the calls, tool success, tokens of memory, and seconds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from collections import Counter
from typing import Any

from memrl.config import load_config
from memrl.data.guard import held_out_streams
from memrl.engines.engine import Place
from memrl.evaluation.statistics import stream_interval
from memrl.rollout.build import build_worker


def measure(guided: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one form."""
    words = [f"model.path={arguments.model}", f"data.path={arguments.squad}", f"rollout.guided={guided}"]
    config = load_config("squad-smollm2-cpu", [*words, f"eval.streams={arguments.streams}", *arguments.overrides])
    streams = held_out_streams(config.data, config.eval)
    worker = build_worker(config)
    began = time.perf_counter()

    async def play() -> list[Any]:
        plays = (
            worker.play(stream, seed=0, adapter=None, place=Place(0, number), temperature=0.0)
            for number, stream in enumerate(streams)
        )
        return await asyncio.gather(*plays)

    episodes = asyncio.run(play())
    seconds = time.perf_counter() - began
    qa = stream_interval([[answer.score for answer in episode.answers] for episode in episodes], bounds=(0.0, 1.0))
    codes = Counter(result.code.value for episode in episodes for step in episode.steps for result in step.results)
    success = [step.parts["tool_success"] for episode in episodes for step in episode.steps]
    return {
        "guided": guided,
        "streams": len(streams),
        "qa": {"value": qa.value, "low": qa.low, "high": qa.high},
        "tool_success": round(sum(success) / len(success), 3),
        "calls": dict(codes),
        "memory_tokens": sum(episode.memory_tokens for episode in episodes) / len(episodes),
        "completion_tokens": sum(len(step.completion.ids) for episode in episodes for step in episode.steps),
        "seconds": round(seconds, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of SmolLM2-135M-Instruct")
    parser.add_argument("--squad", required=True, help="a SQuAD file")
    parser.add_argument("--streams", type=int, default=16)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    arguments = parser.parse_args()
    rows = [measure(guided, arguments) for guided in ("off", "json")]
    machine = {"machine": f"{platform.machine()}, {os.cpu_count()} cores", "date": time.strftime("%Y-%m-%d")}
    print(json.dumps({**machine, "results": rows}, indent=1))


if __name__ == "__main__":
    main()
