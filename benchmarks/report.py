"""How long a report of a large run takes, how much memory, and how large it is.

    python benchmarks/report.py [--steps 200] [--episodes 64] [--chunks 24] [--questions 100] [--shown 4000]

The run is made up: episodes of a real memory that real calls have written, the same in every step. The time is of
`memrl.look.report.write_report` alone, from nothing, and again with nothing new. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import tempfile
import time
from pathlib import Path

from memrl.envs.designs.stores import StoreMemory
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall
from memrl.look.report import write_report
from memrl.records import AnswerRecord, Completion, Episode, Step
from memrl.storage.rundir import EpisodeWriter

GROUP = 8
NAMES = "Ada Ben Cora Dirk Elsa Finn Gina Hugo Iris Jane Kurt Lena Max Nora Otto Pia".split()  # noqa: SIM905
PLACES = "Oslo Rome Paris Ghent Kyoto Delhi Lisbon Prague Tokyo Athens".split()  # noqa: SIM905


def made_up(stream: Stream, index: int, *, seed: int) -> Episode:
    """Return an episode whose policy keeps two sentences of three, and whose reader is right half of the time."""
    rng = random.Random(seed)
    dialect = HermesDialect()
    memory = StoreMemory(2048, 512)
    env = MemoryEnv(stream, memory, dialect)
    steps = []
    while not env.done:
        chunk = stream.chunks[env.position]
        kept = [said for said in chunk.text.split("\n") if rng.random() < 0.66]
        text = dialect.format(
            [ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": said}) for said in kept]
        )
        seen, number = env.observe().memory, env.position
        found = env.step(text)
        ids = [rng.randrange(50_000) for _ in range(len(text) // 4 + 1)]
        steps.append(
            Step(
                chunk=number, prompt_ids=[rng.randrange(50_000) for _ in range(600)], text=text, results=found.results,
                completion=Completion(ids=ids, logprobs=[-0.5] * len(ids), stop="stop", version=0), diff=found.diff,
                memory_tokens=found.memory_tokens, calls=[call.kept() for call in found.calls], seen=seen,
                advantage=rng.gauss(0.0, 1.0),
            )
        )  # fmt: skip
    answers = []
    for question in stream.questions:
        right = rng.random() < 0.5
        shown = memory.retrieve(question.text, 200).items
        answers.append(
            AnswerRecord(
                question_id=question.id, kind=question.kind, question=question.text, gold=list(question.answers),
                answer=question.answers[0] if right else rng.choice(PLACES), metric="exact_match", score=float(right),
                evidence=list(question.evidence or ()), retrieved=[item.id for item in shown],
            )
        )  # fmt: skip
    return Episode(
        stream_id=stream.id, source=stream.source, index=index, version=0, seed=seed, steps=steps, answers=answers,
        memory=memory.snapshot(), chunk_tokens=24 * 200, memory_tokens=memory.token_count(), parts={"qa": 0.5},
        total=0.5, chunks=list(stream.chunks),
    )  # fmt: skip


def made_up_stream(number: int, chunks: int, questions: int) -> Stream:
    """Return a stream of facts about people, four a chunk, a question each."""
    rng = random.Random(number)
    texts: list[list[str]] = [[] for _ in range(chunks)]
    asked = []
    for place in range(max(questions, chunks)):
        name, town, age = rng.choice(NAMES), rng.choice(PLACES), place + 10
        texts[place % chunks].append(f"{name} moved to {town} with {age} boxes of books that weighed a lot.")
        if place < questions:
            asked.append(
                Question(
                    id=f"q{place}", text=f"Where did {name} move to with {age} boxes?", answers=(town,),
                    kind=("fact", "latest", "when")[place % 3], evidence=(place % chunks,),
                )
            )  # fmt: skip
    return Stream(
        id=f"s{number}",
        source="made-up",
        chunks=tuple(Chunk(text="\n".join(text), time=f"May {place}") for place, text in enumerate(texts)),
        questions=tuple(asked),
    )


def make_run(folder: Path, *, steps: int, episodes: int, chunks: int, questions: int) -> None:
    """Write a run's folder; an evaluation every tenth step."""
    streams = [made_up_stream(number, chunks, questions) for number in range(episodes)]
    trained = [made_up(streams[number // GROUP], number % GROUP, seed=number) for number in range(episodes)]
    held_out = [made_up(stream, 0, seed=number) for number, stream in enumerate(streams)]
    training, evaluations = EpisodeWriter(folder / "episodes"), EpisodeWriter(folder / "eval" / "episodes")
    rows = []
    for step in range(steps + 1):
        row: dict[str, float] = {"step": step}
        if step % 10 == 0:
            evaluations.write(step, held_out) if not step else _copy(evaluations, 0, step)
            row |= {"eval/qa": 0.5, "eval/qa_low": 0.4, "eval/qa_high": 0.6, "eval/streams": episodes}
        if step:
            training.write(step, trained) if step == 1 else _copy(training, 1, step)
            row |= {"reward/total": 0.5, "reward/qa": 0.5, "time/step": 10.0, "tokens/completion": 1e5}
        rows.append(row)
    (folder / "config.yaml").write_text(f"seed: 0\ntrain: {{steps: {steps}}}\neval: {{streams: {episodes}}}\n")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def _copy(writer: EpisodeWriter, source: int, target: int) -> None:
    writer.path(target).write_bytes(writer.path(source).read_bytes())


def main() -> None:
    """Measure, and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    for name, default in (("steps", 200), ("episodes", 64), ("chunks", 24), ("questions", 100)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--shown", type=int, help="as memrl report --episodes")
    arguments = parser.parse_args()
    sizes = {name: getattr(arguments, name) for name in ("steps", "episodes", "chunks", "questions")}
    with tempfile.TemporaryDirectory() as temporary:
        run = Path(temporary) / "run"
        make_run(run, **sizes)
        saved = sum(path.stat().st_size for path in run.rglob("*") if path.is_file())
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began, busy = time.monotonic(), time.process_time()
        page = write_report([run], episodes=arguments.shown)
        first, busy = time.monotonic() - began, time.process_time() - busy
        began = time.monotonic()
        write_report([run], episodes=arguments.shown)
        again = time.monotonic() - began
        files = [path for path in page.parent.rglob("*") if path.is_file()]
        overview = page.parent / "data" / "run" / "overview.js"
        found = {
            **sizes,
            "shown": len([path for path in page.parent.rglob("*-*.js") if path.stem.count("-") == 1]),
            "seconds": round(first, 1),
            "cpu_seconds": round(busy, 1),
            "seconds_again": round(again, 2),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "peak_mib_before": before // 1024,
            "run_mib": round(saved / 2**20, 1),
            "report_mib": round(sum(path.stat().st_size for path in files) / 2**20, 1),
            "files": len(files),
            "largest_file_kib": max(path.stat().st_size for path in files) // 1024,
            "first_view_kib": (overview.stat().st_size + (page.parent / "data" / "index.js").stat().st_size) // 1024,
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
