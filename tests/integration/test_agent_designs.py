"""An agent whose memory is of another design than `stores`: exported, opened, served over REST, MCP and to mem0."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from mcp import Client
from starlette.testclient import TestClient

from memrl import MemoryAgent
from memrl.agent.memory_file import MemoryFile
from memrl.cli import main as cli
from memrl.envs.tools import ResultCode
from memrl.errors import DataError, NotOffered
from memrl.export import export
from memrl.serve.app import create_app
from memrl.serve.limits import Limits, ModelCalls
from memrl.serve.mcp_server import create_mcp
from tests.calls import insert
from tests.disks import found
from tests.running_text import PATH, rewrite
from tests.support import untrained_run

BERN, DOG, KIND = "Nora lives in Bern.", "Karl has a dog.", "Always be kind."


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("designs")
    settings = {"memory.design": PATH, "memory.retrieve_budget": 60, "rollout.max_prompt_tokens": 600}
    run = untrained_run(Path("tiny"), folder / "run", settings)
    export(run, folder / "exported", adapter="v00001")
    return folder / "exported"


@pytest.fixture(scope="module")
def agent(exported: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryAgent]:
    store = tmp_path_factory.mktemp("store") / "memory.sqlite"
    with MemoryAgent.open(exported, store=store, user="ann", device="cpu", budget=4000) as agent:
        yield agent


def test_an_export_names_the_design_and_its_tools(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    assert f"writes a memory of the design `{PATH}` by the tools text_rewrite (" in card
    told = json.loads((exported / "memory_agent.json").read_text())
    assert told["memory"]["design"] == PATH and list(told["tools"]) == ["text_rewrite"]


def test_an_agent_reads_keeps_finds_changes_and_takes_back_by_the_designs_own_tools(
    agent: MemoryAgent, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [tool.name for tool in agent.tools] == ["text_rewrite"] and agent.design == "running-text"
    assert isinstance(agent.read("Nora moved. It rained.", time="May 2"), list), "whatever the model makes of it"
    asked: list[tuple[int, Any]] = []

    async def calls(prompt: list[int], tools: list[str], play: Any) -> Any:
        asked.append((len(prompt), tools))
        return [rewrite(f"{BERN} {DOG}")], []

    with monkeypatch.context() as patch:
        patch.setattr(agent._policy, "calls", calls)
        assert [result.code for result in agent.read("x", metadata={"chat": 1})] == [ResultCode.OK]
    assert asked[0][1] == ["text_rewrite"]
    nora, karl = agent.get_all(filters={"chat": 1})
    assert (nora.content, karl.content) == (BERN, DOG)
    assert agent.search("Who has a dog?", limit=1).items[0].id == karl.id
    assert isinstance(agent.ask("Where does Nora live?").text, str)
    (kept,) = agent.add(KIND, infer=False, metadata={"chat": 2})
    assert kept.ok and agent.get(str(kept.item_id)).content == KIND  # type: ignore[union-attr]
    assert agent.update(nora.id, "Nora lives in Rome.", why="moved", key="k").ok
    assert [item.content for item in agent.memory if "Nora" in item.content] == ["Nora lives in Rome."]
    assert agent.delete(str(kept.item_id)).code is ResultCode.UNKNOWN_TOOL
    with pytest.raises(NotOffered):
        agent.erase(str(kept.item_id))
    assert agent.delete(karl.id).ok and agent.undo() and agent.get(karl.id)
    assert agent.erase(karl.id) and agent.get(karl.id) is None and agent.history(karl.id) == []
    with agent.for_user("bob") as bob:
        assert bob.memory == () and bob.add("Bob's secret.", infer=False)[0].ok
    assert "secret" not in str(agent.get_all()) + str(agent.history())


def test_another_designs_file_is_refused_in_one_line_and_left_alone(
    exported: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = MemoryFile(tmp_path / "stores.sqlite")
    file.execute([insert(BERN)])
    with pytest.raises(DataError, match="'stores', and this policy keeps one of 'running-text'"):
        MemoryAgent.open(exported, store=file.path, device="cpu")
    assert cli.main(["serve", str(exported), "--store", str(file.path), "--device", "cpu"]) == cli.USAGE
    assert "holds memories of the design 'stores'" in " ".join(capsys.readouterr().err.split())
    assert [item.content for item in file.items] == [BERN]
    told = json.loads((exported / "memory_agent.json").read_text())
    told["memory"]["design"] = "nowhere.at_all:Design"
    (tmp_path / "other").mkdir()
    for each in exported.iterdir():
        (tmp_path / "other" / each.name).symlink_to(each)
    (tmp_path / "other" / "memory_agent.json").unlink()
    (tmp_path / "other" / "memory_agent.json").write_text(json.dumps(told))
    assert cli.main(["serve", str(tmp_path / "other"), "--store", str(tmp_path / "m.sqlite")]) == cli.USAGE
    assert "nowhere.at_all:Design cannot be imported" in " ".join(capsys.readouterr().err.split())


def test_rest_writes_by_the_designs_own_tools(agent: MemoryAgent, tmp_path: Path) -> None:
    url = "/v1/users/eva"
    with TestClient(create_app(agent, limits=Limits(per_minute=10**9)), base_url="http://127.0.0.1") as client:
        for text in (BERN, DOG, KIND):
            reply = client.post(f"{url}/memories", json={"messages": text, "infer": False, "metadata": {"a": 1}})
            assert [one["code"] for one in reply.json()["results"]] == ["ok"]
        ids = {item["content"]: item["id"] for item in client.get(f"{url}/memories?filter=a:1").json()["items"]}
        assert set(ids) == {BERN, DOG, KIND}
        reply = client.patch(f"{url}/memories/{ids[BERN]}", json={"text": "Nora lives in Rome."})
        assert reply.status_code == 200 and reply.json()["name"] == "text_rewrite"
        pinned = client.delete(f"{url}/memories/{ids[KIND]}")
        assert (pinned.status_code, pinned.json()) == (
            409, {"error": f"unknown_tool: a memory of the design running-text has no tool that removes {ids[KIND]}"}
        )  # fmt: skip
        pinned = client.delete(f"{url}/memories/{ids[KIND]}?erase=true")
        assert pinned.status_code == 409 and "running-text cannot remove" in pinned.json()["error"]
        assert client.delete(f"{url}/memories/s9-9").status_code == 404
        assert client.delete(f"{url}/memories/{ids[DOG]}").json() == {"id": ids[DOG], "erased": 0}
        assert len(client.get(f"{url}/memories/{ids[DOG]}/history").json()["changes"]) == 2
        written = {"operations": [{"name": "text_rewrite", "arguments": {"text": f"{DOG} {KIND}"}}], "why": "tidy"}
        assert [one["code"] for one in client.post(f"{url}/memory/operations", json=written).json()["results"]] == [
            "ok"
        ]
        foreign = {"operations": [{"name": "memory_insert", "arguments": {}}]}
        reply = client.post(f"{url}/memory/operations", json=foreign)
        assert [one["code"] for one in reply.json()["results"]] == ["unknown_tool"]
        assert client.post(f"{url}/undo", json={}).json()["changes"]
        items = client.get(f"{url}/memory").json()["items"]
        assert sorted(item["content"] for item in items) == [KIND, "Nora lives in Rome."]
        assert (
            client.post(f"{url}/search", json={"query": "Rome"}).json()["items"][0]["content"] == "Nora lives in Rome."
        )
        assert client.delete(url).json()["erased"] > 0 and client.get(f"{url}/memory").json()["items"] == []
        assert found(agent._file.path.parent, "Nora lives in Rome.") == [] or agent.memory


def test_mem0s_calls_are_answered_from_a_memory_of_any_design(agent: MemoryAgent) -> None:
    with TestClient(create_app(agent, limits=Limits(per_minute=10**9)), base_url="http://127.0.0.1") as client:
        said = {"messages": [{"role": "user", "content": DOG}], "user_id": "mem", "infer": False}
        (added,) = client.post("/v3/memories/add/", json=said).json()["results"]
        assert added["event"] == "ADD" and added["memory"] == f"user: {DOG}"
        name = added["id"]
        assert client.get(f"/v1/memories/{name}/").json()["memory"] == f"user: {DOG}"
        changed = client.put(f"/v1/memories/{name}/", json={"text": "Karl has a cat."}).json()
        assert changed["memory"] == "Karl has a cat." and changed["id"] != name
        filters = {"filters": {"user_id": "mem"}}
        assert [one["memory"] for one in client.post("/v3/memories/", json=filters).json()["results"]] == [
            "Karl has a cat."
        ]
        assert client.delete("/v1/memories/?user_id=mem").status_code == 200
        assert client.post("/v3/memories/", json=filters).json()["count"] == 0


def test_an_mcp_client_has_the_tools_of_the_design(agent: MemoryAgent) -> None:
    async def run() -> None:
        with agent.for_user("mcp") as own:
            async with Client(create_mcp(own, ModelCalls(Limits()))) as client:
                tools = {tool.name: tool for tool in (await client.list_tools()).tools}
                assert list(tools) == ["text_rewrite", "memory_search", "memory_list", "read", "ask"]
                assert tools["text_rewrite"].annotations.destructive_hint  # type: ignore[union-attr]

                async def call(name: str, **arguments: Any) -> tuple[bool | None, str]:
                    result = await client.call_tool(name, arguments)
                    return result.is_error, result.content[0].text  # type: ignore[union-attr]

                failed, text = await call("text_rewrite", text=f"{BERN} {DOG}")
                assert not failed and text == f"text_rewrite: s1-1: {DOG}"
                assert f"s1-1: {DOG}" in (await call("memory_search", query="Who has a dog?"))[1].splitlines()
                failed, text = await call("text_rewrite")
                assert failed and "'text' is missing" in text
                failed, text = await call("text_rewrite", text="")
                assert not failed and text == "text_rewrite: done"
                assert (await call("memory_list"))[1] == "(empty)"

    asyncio.run(run())
