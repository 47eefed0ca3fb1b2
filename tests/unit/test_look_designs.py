"""The report of runs of any design: changes, items and the links between them, told from episodes of real calls."""

from __future__ import annotations

import json

import pytest

from memrl.envs.designs import DESIGNS, MemoryDesign
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall
from memrl.look.episodes import GroupPlace, Told, episode_record, group_record, group_row
from memrl.records import AnswerRecord, Completion, Episode, Step
from memrl.report.causes import Cause
from tests.running_text import PATH

HERMES = HermesDialect()
SAID = ("Ada lives in Oslo.", "Ben likes pears.", "Ada lives in Rome.")
STREAM = Stream(
    id="s",
    source="test",
    chunks=tuple(Chunk(text=f"{text} It rained.", time=f"2024-05-0{day}") for day, text in enumerate(SAID, 1)),
    questions=(
        Question(id="home", text="Where does Ada live?", answers=("Rome",)),
        Question(id="fruit", text="What does Ben like?", answers=("pears",)),
    ),
)


def item_of(memory: MemoryDesign, word: str) -> str:
    return next(item.id for item in memory.items if word in item.content)


def calls_of(memory: MemoryDesign, number: int) -> list[ToolCall]:
    """Keep what is said; at last put Rome in the place of Oslo, and let go of Ben (in a text: in Ben's place)."""
    if number < 2:
        return memory.keep(SAID[number])
    oslo, ben = (memory.get(item_of(memory, word)) for word in ("Oslo", "Ben"))
    assert oslo is not None and ben is not None
    replaced = memory.keep(SAID[2], instead_of=oslo)
    if len(memory.tools) == 1:  # a text that is written anew as a whole is written once a step
        return memory.keep(SAID[2], instead_of=ben)
    return [*replaced, *memory.drop(ben)]


def played(design: str) -> Episode:
    memory = DESIGNS.get(design)(200, 50, lambda text: len(text.split()))
    env = MemoryEnv(STREAM, memory, HERMES)
    steps = []
    for number in range(len(STREAM.chunks)):
        text = HERMES.format(calls_of(memory, number))
        found = env.step(text)
        assert all(result.ok for result in found.results), found.results
        completion = Completion(ids=[1], logprobs=[0.0], stop="stop", version=0)
        steps.append(
            Step(
                chunk=number, prompt_ids=[1], completion=completion, text=text, results=found.results, diff=found.diff,
                memory_tokens=found.memory_tokens, calls=[call.kept() for call in found.calls],
            )
        )  # fmt: skip
    shown = [item.id for item in memory.retrieve("Where does Ada live?", 100).items]
    answers = [
        AnswerRecord(
            question_id=question.id, kind="fact", question=question.text, gold=list(question.answers), answer="unknown",
            metric="exact_match", score=0.0, evidence=None, retrieved=shown,
        )
        for question in STREAM.questions
    ]  # fmt: skip
    return Episode(
        stream_id="s", source="test", index=0, version=0, seed=0, steps=steps, answers=answers,
        memory=json.loads(json.dumps(memory.snapshot())), chunk_tokens=30, memory_tokens=memory.token_count(),
        chunks=list(STREAM.chunks),
    )  # fmt: skip


@pytest.mark.parametrize("design", [*DESIGNS.shipped, PATH])
def test_a_run_of_any_design_is_told_with_its_changes_items_and_links(design: str) -> None:
    episode = played(design)
    place, told = GroupPlace("run", "training", 1, 0), Told(episode)
    record = episode_record(place, told, instruction="", reader="")
    json.dumps([record, group_record(place, [told]), group_row(place, [told])])
    held = {item["id"]: item for item in record["items"]}
    assert held and set(held) == {item["id"] for item in episode.memory["items"]}
    for item in held.values():
        if (design, item["id"]) == ("sql", "core"):  # the names of its tables and columns, which no sentence has told
            continue
        origin = item["origin"]
        assert origin is not None, "each item was written by a change that is shown"
        change = record["steps"][origin["step"]]["changes"][origin["change"]]
        told_anew = change["before"] is not None and change["before"].endswith(item["text"])  # a fact that was closed
        assert change["item"] == item["id"] and change["before"] != change["after"]
        assert change["after"].endswith(item["text"]) if told_anew else change["after"] == item["text"]
        assert change["sentence"] is not None and change["sentence"]["text"].split()[0] in item["text"]
    for answer in record["answers"]:
        assert answer["shown"] and all(shown["id"] in held for shown in answer["shown"])
    assert [call["code"] for step in record["steps"] for call in step["calls"]] == ["ok"] * sum(
        len(step.calls) for step in episode.steps
    )
    assert told.why["fruit"].cause in (Cause.LOST, Cause.MISREAD, Cause.STORED_FALSELY), told.why["fruit"]


def test_what_the_budget_refused_is_told_whatever_the_tool_calls_its_text() -> None:
    memory = DESIGNS.get(PATH)(4, 50, lambda text: len(text.split()))
    env = MemoryEnv(STREAM, memory, HERMES)
    found = env.step(HERMES.format(memory.keep("Ada lives in Oslo by the sea.")))
    completion = Completion(ids=[1], logprobs=[0.0], stop="stop", version=0)
    step = Step(
        chunk=0, prompt_ids=[1], completion=completion, text="", results=found.results, diff=found.diff,
        memory_tokens=0, calls=[call.kept() for call in found.calls],
    )  # fmt: skip
    answer = AnswerRecord(
        question_id="q", kind="fact", question="Where does Ada live?", gold=["Oslo"], answer="unknown",
        metric="exact_match", score=0.0, evidence=None, retrieved=[],
    )  # fmt: skip
    episode = Episode(
        stream_id="s", source="test", index=0, version=0, seed=0, steps=[step], answers=[answer],
        memory=memory.snapshot(), chunk_tokens=30, memory_tokens=0, chunks=list(STREAM.chunks[:1]),
    )  # fmt: skip
    why = Told(episode).why["q"]
    assert (why.cause, why.detail) == (Cause.LOST, "The budget refused it at chunk 0.")
