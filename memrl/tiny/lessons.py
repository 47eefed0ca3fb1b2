"""Lessons of the embedded model: to keep what a teacher keeps, and to answer from a memory in which it must choose.

All that it reads stands in the prompts of training. Ids are drawn from all that are one token, so that it looks them up
instead of counting. Questions over one memory begin alike and are read once (`memrl.engines.trees`).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from memrl.config import Config
from memrl.engines.heads import Head
from memrl.engines.prompting import Prompter
from memrl.envs.designs import MemoryView
from memrl.envs.designs.stores import StoreMemory
from memrl.envs.sources.synthetic import synthetic
from memrl.envs.stream import Question, Stream
from memrl.envs.tools import ToolCall
from memrl.frozen.reader import UNKNOWN, reader_messages
from memrl.learner.batching import make_micro_batches
from memrl.learner.logprobs import completion_scores
from memrl.records import Sample
from memrl.sft.examples import Example, example
from memrl.tiny.tokenizer import IDS


@dataclass(frozen=True)
class World:
    """The streams of a lesson."""

    chunks: int = 6
    sentences: int = 3
    people: int = 16
    changes: float = 0.2
    corrections: float = 0.15
    retractions: float = 0.1
    events: float = 0.25
    chatter: float = 0.5

    def stream(self, seed: int, **other: Any) -> Stream:
        """Return the stream of a seed."""
        [stream] = synthetic(seed=seed, count=1, questions=1000, **{**vars(self), **other})
        return stream


def answering(stream: Stream, config: Config, prompter: Prompter, rng: random.Random, asked: int) -> Iterator[Example]:
    """One example a question over one memory: a few items, some of them replaced by newer ones, some beside them."""
    memory = new_lesson_memory(config, prompter, rng, room=10)
    held: dict[str, str] = {}
    most = rng.randint(1, 9)
    notes = [(note, chunk) for chunk, told in enumerate(stream.metadata["notes"]) for note in told]
    kept = sorted(_chosen(notes, most, rng))
    for place in kept:
        note, chunk = notes[place]
        time = stream.chunks[chunk].time
        old = held.pop(note["replaces"] or "", None)
        if old is not None and rng.random() < 0.5:
            call = ToolCall(name="memory_update", arguments={"memory_id": old, "content": note["text"]})
        else:
            call = ToolCall(name="memory_insert", arguments={"memory_type": note["store"], "content": note["text"]})
        result = memory.execute(call, time=time)
        if result.item_id:
            held[note["text"]] = result.item_id
    pool = []
    for question in stream.questions:
        view = memory.retrieve(question.text, config.memory.retrieve_budget)
        answer = said_of(stream, question, view)
        if answer is not None:
            pool.append((question, view, answer))
    rng.shuffle(pool)
    known = [row for row in pool if row[2] != UNKNOWN][:asked]
    unknown = [row for row in pool if row[2] == UNKNOWN][: max(1, len(known) // 3)]
    for question, view, answer in known + unknown:
        yield example(prompter, prompter.encode(reader_messages(question.text, view, config.reader)), answer)


def said_of(stream: Stream, question: Question, view: MemoryView) -> str | None:
    """Return what the items in sight answer; None where an older version is in sight and the last one is not, so that
    nothing tells that it is old."""
    support = stream.metadata["support"][question.id]
    shown = {item.content: item.time for item in view.items}
    needed = (support,) if isinstance(support, str) else support
    if all(sentence in shown for sentence in needed):
        if question.kind == "when" and shown[needed[0]] not in question.answers:
            return None
        return UNKNOWN if question.kind == "retraction" else question.answers[0]
    versions = stream.metadata.get("versions", {}).get(question.id, ())
    if any(sentence in shown for sentences, _ in versions for sentence in sentences):
        return None
    return UNKNOWN


def _chosen(notes: Sequence[tuple[dict[str, Any], int]], most: int, rng: random.Random) -> list[int]:
    """Return the places of at most so many notes: often some of one person or verb, and versions of one fact."""
    first = rng.choice(notes)[0]["text"].split() if notes else [""]
    by: dict[int, float] = {}
    for place, (note, _) in enumerate(notes):
        words = note["text"].split()
        alike = 2.0 * (words[0] == first[0]) + 1.0 * bool(set(words[1:]) & set(first[1:]))
        by[place] = 2.0 * rng.random() + alike + 1.5 * bool(note["replaces"])
    chosen = sorted(by, key=lambda place: -by[place])[:most]
    for place in list(chosen):  # the version before
        before = notes[place][0]["replaces"]
        if before and rng.random() < 0.7:
            chosen += [other for other, (note, _) in enumerate(notes) if note["text"] == before and other not in chosen]
    return chosen


def new_lesson_memory(config: Config, prompter: Prompter, rng: random.Random, room: int = 1) -> StoreMemory:
    """Return an empty memory whose ids begin anywhere; with `room` times the budget."""
    memory = StoreMemory(room * config.memory.budget, config.memory.core_budget, prompter.count_tokens)
    for store in memory.held.counters:
        memory.held.counters[store] = int(IDS * rng.random() ** 3 * 0.95)
    return memory


def learn(model: Any, head: Head | None, examples: Sequence[Example], max_tokens: int) -> float:
    """Add the gradient of a job's loss, the mean over its completion tokens, to the model's; return the loss.

    Args:
        head: the model's (`head_of`).
        max_tokens: positions of a micro-batch.
    """
    samples = [
        Sample(example.prompt_ids, example.completion_ids, [0.0] * len(example.completion_ids), 0.0, version=0)
        for example in examples
    ]
    tokens = sum(len(example.completion_ids) for example in examples)
    total = 0.0
    for batch in make_micro_batches(samples, max_tokens, shared=True):
        loss: Tensor = -completion_scores(model, batch, 1.0, head).logprobs_BC.sum() / tokens
        loss.backward()
        total += float(loss.detach())
    return total
