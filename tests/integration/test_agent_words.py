"""MemoryAgent in the words of other libraries of memories: add, search, get, update, delete, and their async twins."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from memrl import MemoryAgent
from memrl.agent.progress import Progress
from memrl.agent.stored import StoredItem
from memrl.envs.tools import ResultCode
from memrl.errors import Closed, DataError, EngineError, Erased, KeyReused

SAID = [
    {"role": "system", "content": "You are kind."},
    {"role": "user", "name": "Nora", "content": "I live in Bern."},
    {"role": "assistant", "content": [{"type": "text", "text": "Nice."}]},
]
LONG = "\n".join(f"Nora lives in Oslo. Carl owns a dog. It rained {day} days." for day in range(40))


@pytest.fixture
def agent(exported_policy: Path, tmp_path: Path) -> Iterator[MemoryAgent]:
    store = tmp_path / "m.sqlite"
    with MemoryAgent.open(exported_policy / "adapter", store=store, user="ann", device="cpu", budget=4000) as agent:
        yield agent


def test_what_is_said_is_read_as_lines_or_stored_word_for_word(agent: MemoryAgent) -> None:
    read = agent.add("Nora works as a baker.", metadata={"chat": 1})
    assert [item.metadata for item in agent.get_all()] == [{"chat": 1}] * sum(result.ok for result in read)
    agent.add(SAID, user="bob")
    assert {change.why for change in agent.history(user="bob")} <= {"Nora: I live in Bern.\nassistant: Nice."}
    kept = agent.add(SAID, infer=False, metadata={"chat": 2})
    assert [result.content for result in kept] == ["Nora: I live in Bern.", "assistant: Nice."]
    (dated,) = agent.add("It rained.", infer=False, time="May 2")
    assert dated.store == "episodic" and agent.get(str(dated.item_id)).time == "May 2"  # type: ignore[union-attr]
    assert agent.add(SAID[:1]) == agent.add([]) == agent.add([], infer=False) == []
    for infer in (True, False):
        with pytest.raises(DataError, match="no role"):
            agent.add([{"content": "x"}], infer=infer)
    with pytest.raises(DataError, match="empty"):
        agent.add(" ")


def test_items_are_searched_got_changed_and_deleted(agent: MemoryAgent) -> None:
    for number, text in enumerate(("Nora lives in Bern.", "Karl lives in Oslo.", "Mara has a dog.")):
        agent.add(text, infer=False, metadata={"number": number})
    assert [item.content for item in agent.search("Who lives in Oslo?", limit=2).items] == [
        "Karl lives in Oslo.", "Nora lives in Bern.",
    ]  # fmt: skip
    found = agent.search("Who lives in Oslo?", filters={"number": [0, 2]})
    assert found.best is found.items[0] and isinstance(found.best, StoredItem) and found.best.metadata == {"number": 0}
    assert not isinstance(agent.search("Who lives in Oslo?").items[0], StoredItem), "what the reader is shown, as ever"
    assert [item.id for item in agent.get_all(after="sem_0001", limit=1)] == ["sem_0002"]
    assert agent.get_page(limit=2)[1] == "sem_0002"
    assert agent.update("sem_0001", "Nora lives in Rome.", why="moved", key="k").ok
    assert agent.update("sem_0001", "Nora lives in Rome.", why="moved", key="k").ok
    assert [change.why for change in agent.history("sem_0001")] == ["", "moved"]
    assert agent.update("sem_0001", "Mara has a dog.").code is ResultCode.DUPLICATE
    assert agent.delete("sem_0002").ok and agent.delete("sem_0002").code is ResultCode.UNKNOWN_ID
    assert agent.get("sem_0002") is None and agent.undo() and agent.get("sem_0002")
    with pytest.raises(KeyReused):
        agent.update("sem_0002", "else", key="k")


def test_user_names_another_user_for_one_call(agent: MemoryAgent) -> None:
    agent.add("Bob's secret.", infer=False, user="bob")
    agent.add("Ann's secret.", infer=False)
    assert [item.content for item in agent.get_all(user="bob")] == ["Bob's secret."]
    assert agent.get("sem_0001", user="ann") == agent.get("sem_0001") != agent.get("sem_0001", user="bob")
    for told in (agent.search("secret", limit=9).items, agent.get_all(), agent.history()):
        assert "Bob" not in str(told)
    assert agent.update("sem_0001", "Bob sings.", user="bob").ok and agent.delete("sem_0001", user="bob").ok
    assert agent.get("sem_0001").content == "Ann's secret."  # type: ignore[union-attr]
    with agent.for_user("bob") as bob:
        assert bob.user == "bob" and bob.get("sem_0001", user="ann") == agent.get("sem_0001")
    agent.erase_user("bob")
    assert agent.get_all(user="bob") == [] and agent.history(user="bob") == []


def test_each_twin_does_what_its_method_does(agent: MemoryAgent) -> None:
    twins = [name for name in dir(MemoryAgent) if name.startswith("a") and hasattr(MemoryAgent, name[1:])]
    assert set(twins) >= {"aread", "aask", "aadd", "asearch", "aget", "aget_all", "aupdate", "adelete", "ahistory"}
    for name in twins:
        plain, twin = (list(inspect.signature(getattr(agent, each)).parameters) for each in (name[1:], name))
        assert plain == twin, name

    async def use() -> None:
        (result,) = await agent.aadd("Nora lives in Bern.", infer=False, metadata={"a": 1})
        name = str(result.item_id)
        assert await agent.aget(name) == agent.get(name) and await agent.aget_all() == agent.get_all()
        assert await agent.asearch("Bern", limit=1) == agent.search("Bern", limit=1)
        assert (await agent.aupdate(name, metadata={})).ok and (await agent.adelete(name)).ok
        assert await agent.ahistory() == agent.history() and len(await agent.aundo()) == 1
        assert (await agent.aget_page())[0] == agent.get_all()
        assert (await agent.aexecute([]), await agent.aerase(name) > 0) == ([], True)
        await agent.aadd("Bob's secret.", infer=False, user="bob")
        assert await agent.aerase_user("bob") == 2
        together = await asyncio.gather(*(agent.aadd(f"fact {n}", infer=False, user=f"u{n % 3}") for n in range(12)))
        assert all(results[0].ok for results in together) and len(agent.get_all(user="u1")) == 4

    asyncio.run(use())
    agent.close()
    for work in (agent.aget("x"), agent.aadd("x"), agent.aadd("x", user="bob")):
        with pytest.raises(Closed):
            asyncio.run(work)


def test_a_text_with_a_key_that_was_cut_short_is_read_on_from_there(
    agent: MemoryAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Progress] = []
    asked: list[int] = []
    calls = agent._policy.calls

    async def failing(prompt: list[int], tools: list[str], play: Any) -> object:
        asked.append(len(prompt))
        if len(asked) == 4:
            raise EngineError("it failed")
        return await calls(prompt, tools, play)

    monkeypatch.setattr(agent._policy, "calls", failing)
    with pytest.raises(EngineError):
        agent.read(LONG, metadata={"text": 1}, key="k", progress=seen.append)
    assert [each.piece for each in seen] == [1, 2, 3] and seen[0].pieces > 3
    held = len(agent.history())
    results = agent.read(LONG, metadata={"text": 1}, key="k")
    assert len(asked) == 1 + seen[0].pieces and len(agent.history()) >= held
    assert results[: len(seen[0].results)] == seen[0].results
    history = agent.history()
    assert agent.read(LONG, metadata={"text": 1}, key="k") == results and agent.history() == history
    assert len(asked) == 1 + seen[0].pieces, "no model was asked"
    with pytest.raises(KeyReused):
        agent.read("Another text.", key="k")
    item = agent.memory[0].id
    assert agent.erase(item)
    with pytest.raises(Erased):
        agent.read(LONG, metadata={"text": 1}, key="k")
