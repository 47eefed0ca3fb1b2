"""The recipes of docs/recipes.md, each with the library that it is for: `make test-recipes`.

The memory is the embedded model's; the other model, whose business is the library's, is a stand-in.
"""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import pytest

from memrl import MemoryAgent
from tests.integration.test_serve_memories import running
from tests.openai_server import OpenAIServer
from tests.support import ROOT

if TYPE_CHECKING:
    from langgraph.store.base import BaseStore

MARA = "Mara lives in Oslo."
GRETA = "Greta works as a baker."
ANN = ("memories", "ann")


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryAgent]:
    store = tmp_path_factory.mktemp("recipes") / "memory.sqlite"
    with MemoryAgent.open("tiny", store=store, device="cpu", budget=4000) as agent:
        yield agent


@pytest.fixture
def agent(loaded: MemoryAgent, request: pytest.FixtureRequest) -> Iterator[MemoryAgent]:
    """The agent of a user that nobody else has."""
    with loaded.for_user(request.node.name[:64]) as found:
        yield found


@pytest.fixture(autouse=True)
def recipes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of the recipes, to import from."""
    monkeypatch.syspath_prepend(str(ROOT / "examples" / "recipes"))


def texts(agent: MemoryAgent) -> list[str]:
    return [item.content for item in agent.memory]


def test_a_chat_loop_shows_what_is_remembered_and_has_what_is_said_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import chat_loop

    server = OpenAIServer(chat=lambda messages: messages[0]["content"].splitlines()[-1])
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    store = str(tmp_path / "memory.sqlite")
    with MemoryAgent.open("tiny", store=store, user="me", device="cpu") as agent:
        agent.add(MARA, infer=False)
    monkeypatch.setattr(sys, "stdin", io.StringIO(f"Where does Mara live?\n\n{GRETA}\n"))
    chat_loop.main("tiny", store, server.url, server.model)
    server.stop()
    assert MARA in capsys.readouterr().out.splitlines()[0]
    assert [request["messages"][-1]["content"] for request in server.requests] == ["Where does Mara live?", GRETA]
    with MemoryAgent.open("tiny", store=store, user="me", device="cpu") as agent:
        assert {change.why for change in agent.history() if change.by == "agent"} <= {"Where does Mara live?", GRETA}


def test_a_langgraph_store_keeps_its_contract(agent: MemoryAgent) -> None:
    pytest.importorskip("langgraph.graph", reason="langgraph is not installed: make test-recipes")
    from langgraph_store import AgentStore

    store = AgentStore(agent)
    ann, ben = (agent.user, "ann"), (agent.user, "ben")
    assert store.get(ann, "home") is None and store.search(ann) == []
    store.put(ann, "home", {"text": MARA, "kind": "fact"})
    store.put(ann, "work", {"text": GRETA, "kind": "other"})
    store.put(ann, "count", {"days": 3})
    found = store.get(ann, "home")
    assert found is not None and (found.key, found.namespace) == ("home", ann)
    assert found.value == {"text": MARA, "kind": "fact"}
    assert found.created_at.year > 2020
    assert store.get(ann, "count").value == {"days": 3}
    assert [one.key for one in store.search(ann, query="Where does Mara live?", limit=1)] == ["home"]
    assert [one.key for one in store.search(ann, filter={"kind": "other"})] == ["work"]
    assert [one.key for one in store.search(ann, offset=1, limit=1)] == ["work"]
    store.put(ann, "home", {"text": "Mara lives in Rome."})
    assert store.get(ann, "home").value == {"text": "Mara lives in Rome."}
    assert len(store.search(ann)) == 3
    with pytest.raises(ValueError, match="duplicate"):
        store.put(ann, "again", {"text": GRETA})
    assert store.search(ben) == []
    store.put(ben, "work", {"text": GRETA})
    store.delete(ann, "work")
    assert store.get(ann, "work") is None and store.get(ben, "work") is not None
    with pytest.raises(NotImplementedError):
        store.list_namespaces()
    store.read(ben, f"{MARA} Felix owns a parrot. Vito talked about honey twice.")
    kept = [one for one in store.search(ben) if one.key != "work"]
    assert kept and all(store.get(ben, one.key).value == one.value for one in kept)
    agent.erase_user("/".join(ann))
    agent.erase_user("/".join(ben))


def test_a_graph_of_langgraph_remembers(agent: MemoryAgent) -> None:
    graphs = pytest.importorskip("langgraph.graph", reason="langgraph is not installed: make test-recipes")
    from langchain_core.language_models.fake_chat_models import ParrotFakeChatModel
    from langgraph_store import AgentStore

    class State(TypedDict):
        said: str
        reply: str

    namespace = (agent.user, "graph")
    model = ParrotFakeChatModel()

    async def answer(state: State, *, store: BaseStore) -> dict[str, str]:
        found = await store.asearch(namespace, query=state["said"], limit=1)
        reply = await model.ainvoke(" ".join(one.value["text"] for one in found) or "nothing")
        return {"reply": str(reply.content)}

    async def remember(state: State, *, store: BaseStore) -> None:
        await store.aput(namespace, state["said"], {"text": state["said"]})

    builder = graphs.StateGraph(State)
    builder.add_node("answer", answer)
    builder.add_node("remember", remember)
    builder.add_edge(graphs.START, "answer")
    builder.add_edge("answer", "remember")
    graph = builder.compile(store=AgentStore(agent))
    assert asyncio.run(graph.ainvoke({"said": MARA}))["reply"] == "nothing"
    assert asyncio.run(graph.ainvoke({"said": "Where does Mara live?"}))["reply"] == MARA
    agent.erase_user("/".join(namespace))


@pytest.mark.parametrize("infer", [False, True])
def test_a_llama_index_memory_has_a_block_that_outlives_the_chat(agent: MemoryAgent, infer: bool) -> None:
    pytest.importorskip("llama_index.core", reason="llama-index-core is not installed: make test-recipes")
    from llama_index.core.chat_engine import SimpleChatEngine
    from llama_index.core.llms import MockLLM
    from llama_index.core.memory import Memory
    from llama_index_block import AgentBlock

    memory = Memory.from_defaults(
        token_limit=60, chat_history_token_ratio=0.2, token_flush_size=5, tokenizer_fn=str.split,
        memory_blocks=[AgentBlock(name="long_term", agent=agent, infer=infer)],
    )  # fmt: skip
    engine = SimpleChatEngine.from_defaults(llm=MockLLM(max_tokens=4), memory=memory)

    async def talk() -> list[str]:
        for said in (MARA, GRETA, "Felix owns a parrot.", "Nora plays the violin."):
            await engine.achat(said)
        return [str(message.content) for message in await memory.aget(input="Where does Mara live?")]

    shown = asyncio.run(talk())
    if infer:
        assert {change.by for change in agent.history()} <= {"agent"}
    else:
        assert f"user: {MARA}" in texts(agent)
        assert "<long_term>" in shown[0] and MARA in shown[0]
        assert MARA not in " ".join(shown[1:])


@pytest.mark.parametrize("infer", [False, True])
def test_a_session_of_the_agents_sdk_shows_what_is_remembered(agent: MemoryAgent, infer: bool) -> None:
    pytest.importorskip("agents", reason="openai-agents is not installed: make test-recipes")
    from agents import Agent, RunConfig, Runner, set_tracing_disabled
    from agents.testing import ScriptedModel, assistant_message
    from openai_agents_session import MemorySession

    set_tracing_disabled(True)
    model = ScriptedModel([[assistant_message(f"reply {number}")] for number in range(3)])
    assistant = Agent(name="assistant", instructions="Be brief.", model=model)
    session = MemorySession("chat", agent, turns=2, infer=infer)
    how = RunConfig(call_model_input_filter=session.recall)

    async def talk() -> list[Any]:
        for said in (MARA, GRETA, "Where does Mara live?"):
            await Runner.run(assistant, said, session=session, run_config=how)
        return await session.get_items(limit=100)

    kept = asyncio.run(talk())
    assert [item["role"] for item in kept] == ["user", "assistant"] * 3
    last = model.calls[-1]
    assert [item["content"] for item in last.input if item["role"] == "user"] == [GRETA, "Where does Mara live?"]
    if infer:
        assert {change.by for change in agent.history()} <= {"agent"}
    else:
        assert f"user: {MARA}" in str(last.system_instructions)
    assert str(last.system_instructions).startswith("Be brief.")
    asyncio.run(session.clear_session())
    assert asyncio.run(session.get_items()) == []


def test_an_agent_of_the_agents_sdk_has_the_memory_as_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("agents", reason="openai-agents is not installed: make test-recipes")
    from agents import set_tracing_disabled
    from agents.testing import ScriptedModel, assistant_message, function_call
    from openai_agents_mcp import run

    command = tmp_path / "bin" / "memrl"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nPYTHONPATH={ROOT} exec {sys.executable} -m memrl.cli "$@"\n')
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    set_tracing_disabled(True)
    held = {"memory_type": "semantic", "content": MARA}
    model = ScriptedModel(
        [
            [function_call("memory_insert", held, call_id="one")],
            [function_call("ask", {"question": "Where does Mara live?"}, call_id="two")],
            [assistant_message("In Oslo.")],
        ]
    )
    assert asyncio.run(run("tiny", str(tmp_path / "memory.sqlite"), "Where does Mara live?", model)) == "In Oslo."
    assert {tool.name for tool in model.calls[0].tools} >= {"read", "ask", "memory_search", "memory_insert"}
    assert "Oslo" in str(model.calls[-1].input[-1])


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_lines_of_the_page_work_as_they_stand(loaded: MemoryAgent) -> None:
    page = (ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")
    (block,) = [found for found in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "curl" in found]
    with running(loaded) as url:
        script = block.replace("http://127.0.0.1:8765", url).replace("curl ", "curl -sS --fail-with-body ")
        done = subprocess.run(["sh", "-e", "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert '"choices"' in done.stdout and "sem_0001" in done.stdout
    loaded.erase_user("ann")
