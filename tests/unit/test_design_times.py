"""What other designs than `stores` know of times, rows and tools is known to replay, causes, report and clients too."""

from __future__ import annotations

import asyncio

import pytest

from memrl.envs.designs import DESIGNS, count_words
from memrl.envs.designs.ledger import FactLedger
from memrl.envs.designs.rows import numbers
from memrl.envs.designs.sql import SqlMemory, statement
from memrl.envs.dialects.hermes import HermesDialect
from memrl.envs.memory_env import MemoryEnv
from memrl.envs.stream import Chunk, Question, Stream
from memrl.envs.tools import ToolCall
from memrl.look.episodes import _told
from memrl.records import Completion, Step
from memrl.report.causes import Reading
from memrl.rollout.counterfactual import StepWorth
from memrl.rollout.replay import Ledger
from tests.calls import answer, stream_of

HERMES = HermesDialect()


def call(tool: str, **arguments: str) -> ToolCall:
    return ToolCall(name=f"memory_{tool}", arguments=arguments)


def step(number: int, text: str, env: MemoryEnv) -> Step:
    done = env.step(text)
    return Step(
        chunk=number, prompt_ids=[1], completion=Completion(ids=[2], logprobs=[0.0], stop="stop", version=0), text=text,
        results=done.results, diff=done.diff, memory_tokens=done.memory_tokens,
    )  # fmt: skip


def ledger_played() -> tuple[FactLedger, Stream, list[Step]]:
    chunks = tuple(Chunk(text="text", time=f"2024-05-0{day}") for day in (1, 2, 3))
    stream = Stream(id="s", source="s", chunks=chunks, questions=(Question(id="q", text="?", answers=("x",)),))
    memory = FactLedger(200, 50, count_words)
    env = MemoryEnv(stream, memory, HERMES)
    made = [call("insert", content="Ann is a baker.")], [call("end", memory_id="fact_0001")]
    deleted = [call("delete", memory_id="fact_0001")]
    return memory, stream, [step(n, HERMES.format(calls), env) for n, calls in enumerate((*made, deleted))]


def test_a_closed_fact_is_told_by_its_times() -> None:
    _, _, steps = ledger_played()
    [change] = steps[1].diff
    assert change["before"] == change["after"] == "Ann is a baker."
    assert _told(change, 0) == "(2024-05-01) Ann is a baker."
    assert _told(change, 1) == "(2024-05-01 to 2024-05-02) Ann is a baker."
    [inserted] = steps[0].diff
    assert _told(inserted, 1) == "Ann is a baker." and "times" not in inserted


def test_the_time_of_a_fact_that_is_gone_is_known_to_the_causes() -> None:
    _, stream, steps = ledger_played()
    reading = Reading(stream.chunks, steps, {"items": []})
    [first, *_] = reading.written
    assert first.content == "Ann is a baker." and reading.stamp(first) == "2024-05-01"


def test_replay_knows_the_time_of_items_of_any_design() -> None:
    _, stream, steps = ledger_played()
    ledger = Ledger()
    for number, (one, chunk) in enumerate(zip(steps[:2], stream.chunks, strict=False)):
        calls = [[call("insert", content="Ann is a baker.")], [call("end", memory_id="fact_0001")]][number]
        ledger.follow(calls, one.results, chunk.time)
        entry = ledger.get("fact_0001")
        assert entry is not None
        assert entry.time == ("2024-05-01" if number == 0 else "2024-05-01 to 2024-05-02")


def test_the_numbers_of_rows_in_a_statement_are_found() -> None:
    told = "DELETE FROM t WHERE id = 12 OR id in (3, 4) AND note = 'id = 7' AND \"id = 8\" = 'x' AND paid = 9"
    assert [told[start:end] for start, end in numbers(told)] == ["12", "3", "4"]
    assert numbers("INSERT INTO t VALUES (NULL, 'it''s id = 7')") == []
    memory = SqlMemory(100, 50, count_words)
    made = statement("UPDATE t SET a = 'id = 1' WHERE id = 1 OR id=20")
    named = memory.named_items(made)
    assert list(named.values()) == ["row_0001", "row_0020"]
    there = dict(zip(named, ("row_0300", "row_0002"), strict=True))
    assert memory.renamed(made, there).arguments["statement"] == "UPDATE t SET a = 'id = 1' WHERE id = 300 OR id=2"


@pytest.mark.parametrize(
    "named", ["UPDATE facts SET sentence = 'Ada lives in Oslo.' WHERE id = 2", "DELETE FROM facts WHERE id IN (3)"]
)
def test_a_statement_means_the_rows_that_it_meant(named: str) -> None:
    """Without the first step the rows have other numbers; later statements change the same rows all the same."""
    changes = named.startswith("UPDATE")
    told = [
        [statement("CREATE TABLE facts (sentence)")],
        [statement("INSERT INTO facts VALUES (NULL, 'It rained all day long.')")],
        [statement(f"INSERT INTO facts VALUES (NULL, 'Ada lives in {'Rome' if changes else 'Oslo'}.')")],
        [statement("INSERT INTO facts VALUES (NULL, 'Ben works as a baker.')")],
        [statement(named)],
    ]
    memory = SqlMemory(1000, 1000, count_words)
    steps = []
    for number, calls in enumerate(told):
        results = [memory.execute(each) for each in calls]
        assert all(result.ok for result in results)
        steps.append(
            Step(
                chunk=number, prompt_ids=[1], text="", results=results, diff=[], memory_tokens=memory.token_count(),
                completion=Completion(ids=[2], logprobs=[0.0], stop="stop", version=0),
            )
        )  # fmt: skip
    stream = stream_of(len(told))
    answers = [asyncio.run(answer(question, memory)) for question in stream.questions]
    worth = StepWorth(lambda: SqlMemory(1000, 1000, count_words), 1000, answer)
    found = asyncio.run(worth(stream, steps, told, answers))
    if changes:
        assert found[1] == {} and found[2] == {"home": 1.0} and found[4] == {"home": 1.0}
    else:
        assert found[1] == {} and found[2] == {"home": 1.0} and found[4] == {"job": -1.0}


def test_tools_say_whether_they_only_add() -> None:
    effects = {
        name: {tool.name.removeprefix("memory_"): tool.effect for tool in DESIGNS.get(name)(9, 9, count_words).tools}
        for name in DESIGNS.shipped
    }
    assert effects["ledger"] == {"insert": "adds", "supersede": "changes", "end": "changes", "delete": "changes"}
    assert effects["sql"] == {"sql": "both"}
    assert effects["compact_verbatim"]["passage"] == "both"
    assert all(
        "adds" in found.values() for name, found in effects.items() if name not in ("sql", "text", "compact_verbatim")
    )
