"""The routes of single items, events, keys and conversations, by real clients: OpenAI's, mem0's where it is there."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from openai import BadRequestError, InternalServerError, OpenAI, UnprocessableEntityError
from starlette.testclient import TestClient

from memrl import MemoryAgent
from memrl.cli import main as cli
from memrl.serve.app import create_app
from memrl.serve.chat import Upstream
from memrl.serve.limits import Limits
from tests.disks import found
from tests.openai_server import OpenAIServer

HERE = "http://127.0.0.1"
MANY = Limits(per_minute=10**9)
TOKEN = "only-for-this-test"
TEXT = "\n".join(f"Nora lives in Oslo. Carl owns a dog. It rained {day} days." for day in range(12))


@pytest.fixture(scope="module")
def agent(exported_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryAgent]:
    store = tmp_path_factory.mktemp("memories") / "memory.sqlite"
    with MemoryAgent.open(exported_policy / "adapter", store=store, user="own", device="cpu", budget=4000) as agent:
        yield agent


@pytest.fixture(scope="module")
def client(agent: MemoryAgent) -> Iterator[TestClient]:
    with TestClient(create_app(agent, limits=MANY), base_url=HERE) as client:
        yield client


@contextmanager
def running(agent: MemoryAgent, **how: Any) -> Iterator[str]:
    """A server of an agent, on a port of its own."""
    server = uvicorn.Server(uvicorn.Config(create_app(agent, limits=MANY, **how), port=0, log_config=None))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        assert thread.is_alive()
    try:
        yield f"{HERE}:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


def keep(client: TestClient, user: str, *texts: str, **more: Any) -> list[str]:
    ids = []
    for text in texts:
        reply = client.post(f"/v1/users/{user}/memories", json={"messages": text, "infer": False, **more})
        assert reply.status_code == 200, reply.text
        ids.append(reply.json()["results"][0]["item_id"])
    return ids


def test_an_item_is_added_listed_found_changed_and_deleted(client: TestClient) -> None:
    url = "/v1/users/eva/memories"
    said = [{"role": "user", "content": "I live in Bern."}, {"role": "assistant", "content": "Nice.", "extra": 1}]
    reply = client.post(url, json={"messages": said, "infer": False, "metadata": {"chat": 1}}).json()
    assert [one["content"] for one in reply["results"]] == ["user: I live in Bern.", "assistant: Nice."]
    assert client.post(url, json={"messages": said, "metadata": {"chat": 1}}).status_code == 200
    keep(client, "eva", "Karl lives in Oslo.", metadata={"chat": 2, "sure": True})
    pages = client.get(url, params={"limit": 1, "filter": "chat:1"}).json()
    assert pages["items"][0]["metadata"] == {"chat": 1} and pages["next"] == pages["items"][0]["id"]
    (karl,) = client.get(url, params={"filter": ["chat:2", "sure:true"]}).json()["items"]
    assert client.get(url, params={"filter": "chat"}).status_code == 422
    best = client.post("/v1/users/eva/search", json={"query": "Who lives in Oslo?", "limit": 1}).json()["items"]
    assert best == [karl] and karl["added"] <= karl["changed"]
    asked = {"query": "lives", "filters": {"chat": [1, 3]}}
    assert {one["metadata"]["chat"] for one in client.post("/v1/users/eva/search", json=asked).json()["items"]} == {1}
    item = f"{url}/{karl['id']}"
    assert client.get(item).json() == karl
    assert (
        client.patch(item, json={"text": "Karl lives in Rome.", "why": "moved"}).json()["content"]
        == "Karl lives in Rome."
    )
    assert client.put(item, json={"metadata": {"chat": 3}}).status_code == 200
    assert (
        client.get(item).json()["metadata"] == {"chat": 3}
        and client.get(item).json()["content"] == "Karl lives in Rome."
    )
    changes = client.get(f"{item}/history").json()["changes"]
    assert [change["why"] for change in changes] == ["", "moved", ""] and {each["by"] for each in changes[1:]} == {
        "rest"
    }
    assert client.patch(item, json={"text": "user: I live in Bern."}).status_code == 409
    assert client.delete(item).json() == {"id": karl["id"], "erased": 0}
    for reply in (client.get(item), client.patch(item, json={"text": "x"}), client.delete(item)):
        assert reply.status_code == 404 and set(reply.json()) == {"error"}
    assert client.post("/v1/users/eva/undo", json={}).json()["changes"] and client.get(item).status_code == 200
    assert client.delete(item, params={"erase": True}).json()["erased"] > 1
    assert client.get("/v1/users/eva/memories/..%2f").status_code in (404, 405, 422)
    assert set(client.post(item, json={}).headers["Allow"].split(", ")) == {"DELETE", "GET", "PATCH", "PUT"}


def test_a_request_with_a_key_is_answered_as_the_first_time(client: TestClient) -> None:
    url = "/v1/users/kim"
    for method, path, body in (
        ("POST", "/memories", {"messages": "Nora lives in Bern.", "infer": False}),
        ("POST", "/memories", {"messages": "Nora works as a baker. It rained."}),
        ("POST", "/read", {"text": TEXT}),
        ("POST", "/memory/operations", {"operations": [{"name": "memory_insert", "arguments": {"content": "x"}}]}),
        ("PATCH", "/memories/sem_0001", {"text": "Nora lives in Rome."}),
        ("DELETE", "/memories/sem_0001", None),
        ("POST", "/undo", {}),
    ):
        headers = {"Idempotency-Key": f"{method}{path}{len(str(body))}"}
        first = client.request(method, url + path, json=body, headers=headers)
        history = client.get(f"{url}/history").json()
        again = client.request(method, url + path, json=body, headers=headers)
        assert first.status_code == again.status_code == 200, first.text
        assert again.json() == first.json() and client.get(f"{url}/history").json() == history, (method, path)
    reply = client.post(
        f"{url}/read", json={"text": "Else."}, headers={"Idempotency-Key": f"POST/read{len(str({'text': TEXT}))}"}
    )
    assert reply.status_code == 409 and "key" in reply.json()["error"]
    assert client.post(f"{url}/undo", json={}, headers={"Idempotency-Key": "k" * 300}).status_code == 422


def test_a_text_is_told_of_piece_by_piece(client: TestClient) -> None:
    with client.stream("POST", "/v1/users/pia/read/events", json={"text": TEXT, "time": "May 2"}) as reply:
        assert reply.status_code == 200 and reply.headers["content-type"].startswith("text/event-stream")
        events = [part.split("\ndata: ") for part in "".join(reply.iter_text()).strip().split("\n\n")]
    names = [name for name, _ in events]
    data = [json.loads(each) for _, each in events]
    assert names == ["event: piece"] * (len(names) - 1) + ["event: done"] and len(names) > 2
    assert [each["piece"] for each in data[:-1]] == list(range(1, data[0]["pieces"] + 1))
    assert data[-1]["results"] == [result for each in data[:-1] for result in each["results"]]
    reply = client.post("/v1/users/pia/read/events", json={"text": "Nora lives in Bern and " * 200})
    assert reply.text.startswith("event: error\n") and "Break it up" in reply.text
    assert client.post("/v1/users/pia/read/events", json={"text": ""}).status_code == 422


def test_the_document_is_served_as_a_page_without_scripts(client: TestClient) -> None:
    reply = client.get("/docs")
    assert (
        reply.status_code == 200
        and "<script" not in reply.text
        and "default-src 'none'" in reply.headers["Content-Security-Policy"]
    )
    assert all(path in reply.text for path in client.get("/openapi.json").json()["paths"])


# Conversations -----------------------------------------------------------------------------------------------------


def test_an_openai_client_talks_to_the_own_reader(agent: MemoryAgent, client: TestClient) -> None:
    with running(agent) as url, OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as openai:
        assert [model.id for model in openai.models.list()] == ["memrl"]
        (home,) = keep(client, "otto", "Otto lives in Bern.")
        asked: dict[str, Any] = {"model": "memrl", "user": "otto"}
        messages: list[Any] = [{"role": "user", "content": "Where does Otto live?"}]
        whole = openai.chat.completions.create(messages=messages, store=False, **asked)
        assert len(client.get("/v1/users/otto/history").json()["changes"]) == 1, "nothing is stored with store=False"
        assert whole.choices[0].finish_reason == "stop" and whole.usage and whole.usage.prompt_tokens > 0
        assert whole.model_extra and whole.model_extra["retrieved"] == [home]
        parts = list(openai.chat.completions.create(messages=messages, store=False, stream=True, **asked))
        assert "".join(part.choices[0].delta.content or "" for part in parts) == whole.choices[0].message.content
        assert len({part.id for part in parts}) == 1 and parts[-1].choices[0].finish_reason == "stop"
        options: Any = {"include_usage": True}
        parts = list(
            openai.chat.completions.create(messages=messages, store=False, stream=True, stream_options=options, **asked)
        )
        assert parts[-1].usage == whole.usage
        earlier: list[Any] = [{"role": "user", "content": "OLDWORDS."}, {"role": "assistant", "content": "ECHO."}]
        openai.chat.completions.create(messages=[*earlier, {"role": "user", "content": "Otto has a dog."}], **asked)
        openai.chat.completions.create(messages=[{"role": "user", "content": "Nora works as a baker."}], model="any")
        told = client.get("/v1/users/otto/history").text
        assert "OLDWORDS" not in told and "ECHO" not in told
        for change in client.get("/v1/users/own/history").json()["changes"]:
            assert change["why"] == "user: Nora works as a baker."
        with pytest.raises(UnprocessableEntityError) as error:
            openai.chat.completions.create(messages=messages, model="memrl", user="../etc")
        assert "body.user" in error.value.response.text


def test_a_model_behind_is_shown_the_memory_and_what_was_said_is_remembered(
    agent: MemoryAgent, client: TestClient
) -> None:
    shown: list[Any] = []

    def chat(messages: list[dict[str, str]]) -> str:
        shown.append(messages)
        return "Nora works as a baker."

    keep(client, "uta", "Uta lives in Bern.")
    asked: dict[str, Any] = {"model": "anything", "user": "uta"}
    question: Any = {"role": "user", "content": "Where does Uta live?"}
    server = OpenAIServer(chat=chat)
    try:
        upstream = Upstream(server.url, server.model)
        with running(agent, chat=upstream) as url, OpenAI(base_url=f"{url}/v1", api_key="x", max_retries=0) as openai:
            whole = openai.chat.completions.create(messages=[question], temperature=0.5, **asked)
            assert whole.choices[0].message.content == "Nora works as a baker." and whole.model == server.model
            (system, last) = shown[-1]
            assert system["role"] == "system" and "| sem_0001: Uta lives in Bern." in system["content"]
            assert last == question
            system_first: list[Any] = [{"role": "system", "content": "Be kind."}, question]
            openai.chat.completions.create(messages=system_first, **asked)
            assert len(shown[-1]) == 2 and shown[-1][0]["content"].startswith("Be kind.\n\n# Memory")
            whys = {change["why"] for change in client.get("/v1/users/uta/history").json()["changes"]} - {""}
            said = "user: Where does Uta live?\nassistant: Nora works as a baker."
            assert all(why in said for why in whys)
            history = client.get("/v1/users/uta/history").json()
            server.faults.extend(["400", "500", "500", "500"])
            with pytest.raises(BadRequestError) as refused:
                openai.chat.completions.create(messages=[question], **asked)
            assert "refuses the request" in refused.value.response.text
            with pytest.raises(InternalServerError) as failed:
                openai.chat.completions.create(messages=[question], **asked)
            assert "model failed" in failed.value.response.text and server.url not in failed.value.response.text
            assert client.get("/v1/users/uta/history").json() == history, "what was not answered is not remembered"
    finally:
        server.stop()


def test_the_stream_of_a_model_behind_is_handed_on(agent: MemoryAgent, client: TestClient) -> None:
    keep(client, "back", "Vito lives in Rome.")
    with (
        running(agent) as behind,  # a server that streams: this one
        running(agent, chat=Upstream(f"{behind}/v1", "memrl")) as url,
        OpenAI(base_url=f"{url}/v1", api_key="x") as openai,
    ):
        asked: Any = {"model": "m", "messages": [{"role": "user", "content": "Where?"}], "user": "vera", "store": False}
        whole = openai.chat.completions.create(**asked)
        parts = list(openai.chat.completions.create(stream=True, stream_options={"include_usage": True}, **asked))
    assert (
        "".join(part.choices[0].delta.content or "" for part in parts if part.choices)
        == whole.choices[0].message.content
    )
    assert [part.usage for part in parts if part.usage] == [whole.usage]
    assert client.get("/v1/users/vera/history").json()["changes"] == []


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--chat", "http://127.0.0.1:9/v1"], "--chat and --chat-model go together"),
        (["--chat-key-env", "X"], "--chat-key-env is the key of the server that --chat names"),
        (["--chat", "http://x/v1", "--chat-model", "m", "--mcp"], "--chat answers requests over HTTP"),
        (["--chat", "http://x/v1", "--chat-model", "m", "--chat-key-env", "MEMRL_NO_SUCH"], "MEMRL_NO_SUCH"),
    ],
)
def test_the_command_refuses_half_a_server(words: list[str], complaint: str, tmp_path: Path, capsys: Any) -> None:
    assert cli.main(["serve", str(tmp_path), "--store", str(tmp_path / "m"), "--port", "0", *words]) == cli.USAGE
    assert complaint in " ".join(capsys.readouterr().err.split())


# Users apart -------------------------------------------------------------------------------------------------------


def test_no_route_tells_one_user_of_another(agent: MemoryAgent, client: TestClient) -> None:
    keep(client, "ann1", "Ann's SECRETA.", metadata={"word": "SECRETM"})
    keep(client, "bob1", "Bob lives in Bern.", metadata={"word": "open"})
    key = {"Idempotency-Key": "same"}
    url = "/v1/users/bob1"
    client.post("/v1/users/ann1/memories", json={"messages": "Ann's SECRETK.", "infer": False}, headers=key)
    replies = [
        client.post(f"{url}/memories", json={"messages": "Bob sings.", "infer": False}, headers=key),
        client.get(f"{url}/memories"),
        client.get(f"{url}/memories", params={"filter": "word:SECRETM"}),
        client.get(f"{url}/memories/sem_0001"),
        client.get(f"{url}/memories/sem_0001/history"),
        client.post(f"{url}/search", json={"query": "Ann's secret SECRETA"}),
        client.patch(f"{url}/memories/sem_0001", json={"metadata": {"word": "x"}}),
        client.post(f"{url}/read/events", json={"text": "Ann has a secret."}),
        client.post(
            "/v1/chat/completions",
            json={"messages": [{"role": "user", "content": "What is Ann's secret?"}], "user": "bob1"},
        ),
        client.post("/v3/memories/", json={"filters": {"user_id": "bob1"}}),
        client.post("/v3/memories/search/", json={"query": "secret", "filters": {"user_id": "bob1"}}),
        client.get("/v1/memories/bob1:sem_0001/"),
        client.get("/v1/memories/bob1:sem_0001/history/"),
        client.delete(f"{url}/memories/sem_0002"),
    ]
    for reply in replies:
        assert reply.status_code == 200, reply.text
        assert "SECRET" not in reply.text
    assert [item["content"] for item in client.get("/v1/users/ann1/memories").json()["items"]] == [
        "Ann's SECRETA.", "Ann's SECRETK.",
    ]  # fmt: skip
    assert client.delete("/v1/users/ann1").json()["erased"] == 4
    assert found(agent._file.path.parent, "SECRET") == found(agent._file.path.parent, "ann1") == []


# mem0 --------------------------------------------------------------------------------------------------------------


def test_mem0s_own_client_talks_to_it(agent: MemoryAgent, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MEM0_TELEMETRY", "False")
    monkeypatch.setenv("MEM0_DIR", str(tmp_path))
    mem0 = pytest.importorskip("mem0", reason="mem0ai is not installed: make test-recipes")
    with running(agent, token=TOKEN) as url:
        use_mem0(mem0.MemoryClient(api_key=TOKEN, host=url))
        with pytest.raises(ValueError):
            mem0.MemoryClient(api_key="wrong", host=url)


def use_mem0(client: Any) -> None:
    """What any program that uses mem0 does."""
    said = [{"role": "user", "content": "I live in Bern."}, {"role": "assistant", "content": "Nice."}]
    added = client.add(said, user_id="mia", metadata={"chat": 1}, infer=False)["results"]
    assert [one["event"] for one in added] == ["ADD", "ADD"] and added[0]["memory"] == "user: I live in Bern."
    assert isinstance(client.add(said, user_id="mia", agent_id="a1")["results"], list)
    client.add("Mia has a dog.", user_id="mia", metadata={"chat": 2}, infer=False)
    name = added[0]["id"]
    got = client.get(name)
    assert got["memory"] == "user: I live in Bern." and got["metadata"] == {"chat": 1} and got["user_id"] == "mia"
    found = client.search("Who has a dog?", filters={"user_id": "mia"}, top_k=1)["results"]
    assert [one["memory"] for one in found] == ["user: Mia has a dog."]
    found = client.search("dog", filters={"AND": [{"user_id": "mia"}, {"metadata": {"chat": 1}}]})["results"]
    assert "user: Mia has a dog." not in [one["memory"] for one in found]
    listed = client.get_all(filters={"user_id": "mia"}, page=1, page_size=2)
    assert len(listed["results"]) == 2 and listed["count"] > 2 and listed["next"]
    client.update(name, text="Mia lives in Rome.", metadata={"chat": 3})
    assert client.get(name)["memory"] == "Mia lives in Rome." and client.get(name)["metadata"] == {"chat": 3}
    assert [change["event"] for change in client.history(name)] == ["ADD", "UPDATE"]
    client.delete(name)
    with pytest.raises(Exception, match="no item"):
        client.get(name)
    with pytest.raises(Exception, match="whose memory"):
        client.search("dog", filters={"run_id": "1"})
    client.delete_all(user_id="mia")
    assert client.get_all(filters={"user_id": "mia"})["results"] == []
    client.delete_users(user_id="mia")
