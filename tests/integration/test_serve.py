"""`memrl serve`: REST and MCP, by real clients, and what must not get through."""

from __future__ import annotations

import asyncio
import http.client
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from starlette.testclient import TestClient

import memrl.serve.run
from memrl import MemoryAgent
from memrl.agent.users import Users
from memrl.cli import main as cli
from memrl.envs.tools import ResultCode, ToolResult
from memrl.serve.app import create_app
from memrl.serve.connections import Server
from memrl.serve.limits import Busy, Limits, ModelCalls, Rate
from memrl.serve.mcp_server import _told
from tests.support import ROOT

TOKEN = "only-for-this-test"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
HERE = "http://127.0.0.1"
MANY = Limits(per_minute=10**9)
TOOLS = ["memory_insert", "memory_update", "memory_delete", "memory_search", "memory_list", "read", "ask"]
BERN = {"memory_type": "semantic", "content": "Nora lives in Bern."}


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), **more}


def command(exported: Path, store: Path, *words: str) -> list[str]:
    policy = [str(exported / "adapter"), "--store", str(store), "--device", "cpu"]
    return [sys.executable, "-m", "memrl.cli", "serve", *policy, *words]


@pytest.fixture(scope="module")
def agent(exported_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[MemoryAgent]:
    store = tmp_path_factory.mktemp("serve") / "memory.sqlite"
    with MemoryAgent.open(exported_policy / "adapter", store=store, device="cpu") as agent:
        yield agent


@pytest.fixture(scope="module")
def client(agent: MemoryAgent) -> Iterator[TestClient]:
    """Of an app without a token, on this machine."""
    with TestClient(create_app(agent, limits=MANY, mcp=True), base_url=HERE) as client:
        yield client


@pytest.fixture(scope="module")
def port(exported_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where the command serves REST and MCP (for the user ann), with a token. It runs in a thread: torch is loaded."""
    started: list[Server] = []

    class Noted(Server):
        async def startup(self, *arguments: Any, **options: Any) -> None:
            await super().startup(*arguments, **options)
            started.append(self)

    store = tmp_path_factory.mktemp("http") / "memory.sqlite"
    limits = ("--max-body", "100000", "--rate", "1000000")
    _, _, _, *words = command(exported_policy, store, "--mcp", "--http", "--user", "ann", "--port", "0", *limits)
    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(1) as thread:
        patch.setenv("MEMRL_TOKEN", TOKEN)
        patch.setattr(memrl.serve.run, "Server", Noted)
        ended = thread.submit(cli.main, words)
        while not started:
            assert not ended.done(), ended.result()
            time.sleep(0.05)
        yield started[0].servers[0].sockets[0].getsockname()[1]
        started[0].should_exit = True
        assert ended.result(timeout=30) == cli.OK


def operation(name: str, **arguments: str) -> dict[str, Any]:
    return {"operations": [{"name": name, "arguments": arguments}]}


# What it does ------------------------------------------------------------------------------------------------------


def test_rest_reads_asks_writes_searches_and_takes_back(client: TestClient) -> None:
    def post(path: str, **body: Any) -> Any:
        reply = client.post(f"/v1/users/eva/{path}", json=body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    held = post("memory/operations", **operation("memory_insert", **BERN), why="a test")["results"]
    assert [(one["code"], one["item_id"]) for one in held] == [("ok", "sem_0001")]
    assert [one["code"] for one in post("memory/operations", **operation("memory_insert", **BERN))["results"]] == [
        "duplicate"
    ]
    assert [one["content"] for one in post("memory/search", query="Where does Nora live?")["items"]] == [
        "Nora lives in Bern."
    ]
    answer = post("ask", question="Where does Nora live?")
    assert answer["retrieved"] == ["sem_0001"] and answer["prompt_tokens"] > 0
    assert isinstance(post("read", text="Karl has a dog. The bus was late.", time="May 2")["results"], list)
    (change,) = client.get("/v1/users/eva/history", params={"item": "sem_0001"}).json()["changes"]
    assert (change["by"], change["why"], change["before"]) == ("rest", "a test", None)
    while post("undo")["changes"]:
        pass
    assert client.get("/v1/users/eva/memory").json() == {"items": [], "next": None}


async def use(client: Client) -> None:
    """What any MCP client would do."""
    listed = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(listed) == TOOLS
    assert listed["memory_insert"].input_schema["properties"]["memory_type"]["enum"] == ["semantic", "episodic"]
    reading = [name for name, tool in listed.items() if tool.annotations and tool.annotations.read_only_hint]
    assert reading == ["memory_search", "memory_list", "ask"]

    async def call(name: str, **arguments: Any) -> tuple[bool | None, str, Any]:
        result = await client.call_tool(name, arguments)
        return result.is_error, result.content[0].text, result.structured_content  # type: ignore[union-attr]

    assert (await call("memory_list"))[:2] == (False, "(empty)")
    failed, text, data = await call("memory_insert", **BERN)
    name = data["results"][0]["item_id"]  # an id is never used again, not by the next client either
    line = f"{name}: Nora lives in Bern."
    assert (failed, text) == (False, f"memory_insert: {line}")
    assert (await call("memory_insert", **BERN))[:2] == (
        True,
        f"memory_insert: failed (duplicate): {name} says the same",
    )
    failed, text, _ = await call("memory_insert", content="x")
    assert failed and "'memory_type' is missing" in text
    assert (await call("memory_search", query="Nora"))[:2] == (False, line)
    failed, text, data = await call("ask", question="Where does Nora live?")
    assert not failed and text == data["text"] and data["retrieved"] == [name]
    _, _, data = await call("read", text="Karl has a dog. The bus was late.", time="May 2")
    assert isinstance(data["results"], list)
    failed, text, _ = await call("ask", query="Where?")
    assert failed and text.startswith("question: Field required")
    assert (await call("shout"))[0]
    (resource,) = (await client.list_resources()).resources
    (contents,) = (await client.read_resource(resource.uri)).contents
    assert line in contents.text  # type: ignore[union-attr]
    assert (await call("memory_delete", memory_id=name))[:2] == (False, f"memory_delete: {name} is gone")
    assert name not in (await call("memory_list"))[1]


def test_an_mcp_client_uses_the_command_over_standard_input_and_output(exported_policy: Path, tmp_path: Path) -> None:
    strays: list[Any] = []

    async def keep(message: Any) -> None:
        strays.append(message)

    async def run() -> None:
        python, *words = command(exported_policy, tmp_path / "m.sqlite", "--mcp", "--user", "ann")
        server = StdioServerParameters(command=python, args=words, env=environment())
        async with Client(server, message_handler=keep) as client:
            await use(client)

    asyncio.run(run())
    assert strays == []  # a line on standard output that is no message would be one
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", user="ann", device="cpu") as ann:
        assert {change.by for change in ann.history("sem_0001")} == {"mcp"}


def test_each_request_on_standard_input_is_answered(exported_policy: Path, tmp_path: Path) -> None:
    def asks(number: Any, method: Any, **params: Any) -> dict[str, Any]:
        return {"jsonrpc": "2.0", "id": number, "method": method, "params": params}

    def inserts(number: int, content: str) -> dict[str, Any]:
        return asks(number, "tools/call", name="memory_insert", arguments={**BERN, "content": content})

    called = {"name": "read", "arguments": {"text": "x" * 30_000_000}}
    client = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}
    sent = [
        asks(1, "initialize", **client),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        inserts(2, "cut \ud83d off"),  # half of a surrogate pair, as some programs cut a text
        inserts(3, "whole \U0001f600, and \\ud83d is text"),
        asks("four", 5),
        {"jsonrpc": "2.0", "method": 6},  # a notification: nobody waits
        {"jsonrpc": "2.0", "id": 7, "method": "tools/list", "params": [1]},
        asks(8, "tools/call", name="memory_list", arguments={}),
    ]
    lines = [*map(json.dumps, sent[:-1]), "", "{nonsense", "[]", json.dumps(sent[-1])]
    words = command(exported_policy, tmp_path / "m.sqlite", "--mcp")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment()}
    with subprocess.Popen(words, **pipes) as server:
        server.stdin.write("\n".join([*lines, ""]))
        server.stdin.flush()
        replies = []
        while len(replies) < 8:
            replies.append(json.loads(server.stdout.readline()))
        before = psutil.Process(server.pid).memory_info().rss
        for message in (
            asks(9, "tools/call", **called),
            {"method": "tools/call", "params": called, "jsonrpc": "2.0", "id": "ten"},
            {"method": "tools/call", "params": {**called, "id": 4}, "jsonrpc": "2.0"},  # no id of a request's own
        ):
            server.stdin.write(json.dumps(message) + "\n")
            server.stdin.flush()
            reply = json.loads(server.stdout.readline())
            assert reply["id"] == message.get("id")
            assert reply["error"]["message"] == "a line may have 1048576 bytes. Send less at once."
        assert psutil.Process(server.pid).memory_info().rss - before < 50_000_000
        long = "y" * (1 << 20)
        for line, number, error in (
            (f'{{"id": 007, "x": "{long}"}}', None, "a line may have"),  # no number of JSON
            (f'{{"id": 1.5, "x": "{long}"}}', None, "a line may have"),
            (f'{{"id": -12, "x": "{long}"}}', -12, "a line may have"),
            ("\0too long 5 [[", None, "not JSON"),
        ):
            server.stdin.write(line + "\n")
            server.stdin.flush()
            reply = json.loads(server.stdout.readline())
            assert reply.get("id") == number and error in reply["error"]["message"]
        server.stdin.write(json.dumps(asks(11, "ping")) + "\n")
        server.stdin.flush()
        assert json.loads(server.stdout.readline())["id"] == 11
        server.stdin.close()
    found: dict[Any, Any] = {reply["id"]: reply for reply in replies if reply["id"] is not None}
    assert set(found) == {1, 2, 3, "four", 7, 8}
    assert found[2]["result"]["structuredContent"]["results"][0]["content"] == "cut ? off"
    assert found[3]["result"]["structuredContent"]["results"][0]["content"] == "whole \U0001f600, and \\ud83d is text"
    assert {found[name]["error"]["code"] for name in ("four", 7)} == {-32600}
    assert sorted(reply["error"]["code"] for reply in replies if reply["id"] is None) == [-32700, -32600]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_an_mcp_client_uses_it_over_http_beside_rest(port: int, mode: str) -> None:
    url = f"{HERE}:{port}"
    users = f"{url}/v1/users"

    async def run() -> None:
        async with httpx2.AsyncClient(headers=BEARER, timeout=30) as http_client:
            secret = operation("memory_insert", memory_type="semantic", content="Bob's secret.")
            (await http_client.post(f"{users}/bob/memory/operations", json=secret)).raise_for_status()
            async with Client(streamable_http_client(f"{url}/mcp", http_client=http_client), mode=mode) as client:
                await use(client)
            while (await http_client.post(f"{users}/ann/undo")).json()["changes"]:
                pass
            told = (await http_client.get(f"{users}/ann/history")).text
            assert "Nora lives in Bern." in told and "secret" not in told

    asyncio.run(run())


def test_a_text_that_says_nothing_new_has_been_read(agent: MemoryAgent) -> None:
    known = ToolResult(name="memory_insert", code=ResultCode.DUPLICATE, message="sem_0001 says the same")
    wrong = ToolResult(name="memory_insert", code=ResultCode.BAD_ARGUMENTS, message="'content' is missing")
    assert not _told(agent, [known], known_is_failure=False).is_error
    assert not _told(agent, [known, wrong], known_is_failure=False).is_error
    assert _told(agent, [wrong], known_is_failure=False).is_error and _told(agent, [known]).is_error


# What it promises --------------------------------------------------------------------------------------------------


def test_rest_is_as_its_openapi_document_says(port: int, tmp_path: Path) -> None:
    """Schemathesis as its users run it: its pytest plugin does not know this pytest."""
    tried = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{HERE}:{port}/openapi.json",
            f"--header=Authorization: Bearer {TOKEN}",
            "--max-examples=5",
            "--generation-deterministic",
            "--no-color",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert tried.returncode == 0, tried.stdout
    assert "Tested: 20" in tried.stdout


MINE = (["acorn", "amber", "arrow"], ["basil", "birch", "bronze"])
BOTH = ("dog lives in Bern", "the dog", "works as a baker", "Bern")
NAMES = (("ann", "bob"), ("ann", "Ann"), ("ann", "ann."), ("ann", "ann@x"), ("ann", "anna"), ("a_b", "a-b"))
ACTIONS = ("insert", "insert", "update", "delete", "search", "read", "ask", "memory", "history", "undo")
ITEM_ACTIONS = ("add", "add", "revise", "find", "list", "get", "item history", "remove", "chat", "mem0")
NAMED = ("revise", "get", "remove")  # of an item that need not be there
counter = itertools.count()


def ask_for_items(client: TestClient, user: str, action: str, item: str, text: str, others: list[str], key: str) -> Any:
    """Do what the routes of single items, of conversations and of mem0 do."""
    url = f"/v1/users/{user}"
    mine = {"word": text.split()[0]}
    if action == "add":
        body = {"messages": text, "infer": False, "metadata": mine}
        return client.post(f"{url}/memories", json=body, headers={"Idempotency-Key": key})
    if action == "revise":
        return client.patch(f"{url}/memories/{item}", json={"metadata": mine})
    if action == "find":
        return client.post(f"{url}/search", json={"query": " ".join(others), "filters": {"word": others}})
    if action == "list":
        return client.get(f"{url}/memories")
    if action == "get":
        return client.get(f"{url}/memories/{item}")
    if action == "item history":
        return client.get(f"{url}/memories/{item}/history")
    if action == "remove":
        return client.delete(f"{url}/memories/{item}")
    if action == "chat":
        asked = {"messages": [{"role": "user", "content": f"{text}. Who {text}?"}], "user": user}
        return client.post("/v1/chat/completions", json=asked)
    return client.post("/v3/memories/search/", json={"query": "dog", "filters": {"user_id": user}})


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(NAMES),
    st.lists(
        st.tuples(
            st.integers(0, 1),
            st.sampled_from(ACTIONS + ITEM_ACTIONS),
            st.integers(0, 2),
            st.sampled_from(BOTH),
            st.sampled_from(["sem_0001", "sem_0002", "epi_0001", "core"]),
        ),
        min_size=4,
        max_size=14,
    ),
)
def test_nothing_of_one_user_is_ever_told_to_another(client: TestClient, names: Any, steps: Any) -> None:
    number = next(counter)
    kept: tuple[list[str], list[str]] = ([], [])
    last = (*ACTIONS[6:9], "list", "chat", "mem0")
    for who, action, word, shared, item in [*steps, *((w, a, 0, "dog", "core") for w in (0, 1) for a in last)]:
        url = f"/v1/users/{number}{names[who]}"
        text = f"{MINE[who][word]} {shared}"
        operations = {
            "insert": operation("memory_insert", memory_type="semantic", content=text),
            "update": operation("memory_update", memory_id=item, content=text),
            "delete": operation("memory_delete", memory_id=item),
        }
        if action in operations:
            reply = client.post(f"{url}/memory/operations", json=operations[action])
            kept[who].extend(result["content"] for result in reply.json()["results"] if result["content"])
        elif action == "search":
            reply = client.post(f"{url}/memory/search", json={"query": f"{shared} {' '.join(MINE[1 - who])}"})
        elif action == "read":
            reply = client.post(f"{url}/read", json={"text": f"{text}."})
        elif action == "ask":
            reply = client.post(f"{url}/ask", json={"question": f"Who {shared}?"})
            held = {one["id"] for one in client.get(f"{url}/memory").json()["items"]}
            assert set(reply.json()["retrieved"]) <= held
        elif action == "undo":
            reply = client.post(f"{url}/undo", json={})
        elif action in ITEM_ACTIONS:
            key = f"{word}-{shared.replace(' ', '-')}"  # both users have the same keys
            reply = ask_for_items(client, f"{number}{names[who]}", action, item, text, MINE[1 - who], key)
            if action == "add":
                kept[who].extend(result["content"] for result in reply.json()["results"] if result["content"])
        else:
            reply = client.get(f"{url}/{action}")
        assert reply.status_code == 200 or (action in NAMED and reply.status_code in (404, 409)), reply.text
        assert not any(private in reply.text for private in MINE[1 - who])
    for who, name in enumerate(names):
        told = client.get(f"/v1/users/{number}{name}/history").text
        assert all(content in told for content in kept[who])


# What it refuses ---------------------------------------------------------------------------------------------------


def ask(port: int, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, dict[str, Any]]:
    """A request exactly as written: no client tidies the path."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, {**BEARER, **headers})
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    "user", ["../../etc/passwd", "%2e%2e", "..%2f..%2fetc", "..", ".", "%00", "a%0a", "..%5c..", "a" * 65, "~root"]
)
def test_a_path_leads_to_no_file(port: int, user: str) -> None:
    status, body = ask(port, "GET", f"/v1/users/{user}/memory")
    assert status in (404, 422) and set(body) == {"error"}


def test_a_long_body_is_refused_with_and_without_its_length(port: int) -> None:
    body = json.dumps({"text": "Nora lives in Bern. " * 8000}).encode()
    pieces = (body[start : start + 10_000] for start in range(0, len(body), 10_000))
    for sent in (body, pieces):  # the second is sent in chunks, with no length told
        status, told = ask(port, "POST", "/v1/users/ann/read", sent, **{"Content-Type": "application/json"})
        assert (status, told) == (413, {"error": "a body may have 100000 bytes. Send less at once."})
    assert ask(port, "POST", "/mcp", body, Accept="application/json")[0] == 413
    assert ask(port, "GET", "/v1/users/ann/memory")[0] == 200


@pytest.mark.parametrize(
    "header", ["", "Bearer", "Bearer ", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", f"Basic {TOKEN}", TOKEN, "Bearer é"]
)
@pytest.mark.parametrize("path", ["/v1/users/ann/memory", "/mcp", "/openapi.json", "/health/../v1/users/ann/memory"])
def test_without_the_token_nothing_is_told(port: int, header: str, path: str) -> None:
    status, body = ask(port, "GET", path, Authorization=header)
    assert (status, body) == (401, {"error": "a token is needed: Authorization: Bearer TOKEN."})


def test_health_needs_no_token(port: int) -> None:
    assert ask(port, "GET", "/health", Authorization="")[1]["status"] == "ok"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "127.0.0.1.evil.example"}, 403),
        ({"Host": "localhost@evil.example"}, 403),
        ({"Host": "[::1"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Host": "evil.example@localhost"}, 403),
        ({"Host": "evil.example:8765"}, 403),
        ({"Host": ""}, 403),
        ({"Host": "localhost:8765", "Origin": "http://localhost:3000"}, 403),  # any local program's page
        ({"Host": "localhost:8765", "Origin": "http://127.0.0.1:8765"}, 403),
        ({"Host": "localhost:8765", "Origin": "https://localhost:8765"}, 403),
        ({"Host": "localhost:8765", "Sec-Fetch-Site": "same-site"}, 403),  # a page of localhost:3000
        ({"Host": "localhost:8765", "Sec-Fetch-Site": "cross-site"}, 403),
        ({"Host": "LOCALHOST:1", "Origin": "http://localhost:1", "Sec-Fetch-Site": "same-origin"}, 200),
        ({"Host": "[::1]:8765"}, 200),
    ],
)
@pytest.mark.parametrize("path", ["/v1/users/ann/undo", "/mcp"])
def test_without_a_token_no_web_page_gets_in(
    client: TestClient, path: str, headers: dict[str, str], status: int
) -> None:
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/list"}
    reply = client.post(path, json=body, headers={**headers, "Accept": "application/json, text/event-stream"})
    assert reply.status_code == status


@pytest.mark.parametrize("kind", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data"])
def test_without_a_token_nothing_changes_that_a_browser_sends_unasked(client: TestClient, kind: str | None) -> None:
    """Browsers ask before they send JSON to another origin; a POST without a body would do for `undo`."""
    headers = {} if kind is None else {"Content-Type": kind}
    reply = client.post("/v1/users/ann/undo", headers=headers)
    assert reply.status_code == 415 and "application/json" in reply.json()["error"]


def test_a_stream_without_end_is_not_opened(client: TestClient) -> None:
    reply = client.get("/mcp", headers={"Accept": "text/event-stream"})
    assert (reply.status_code, reply.headers["Allow"]) == (405, "POST")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"text": ', 422),
        (b"\xff", 400),
        (b"[" * 100_000, 400),
        (b'{"text": "x", "file": "/etc/passwd"}', 422),
        (b'{"text": "x", "\\ud800": 1}', 422),
        (b'{"text": ""}', 422),
        (b'{"text": " \\u001c"}', 422),
        (b'{"text": 1}', 422),
        (b'{"text": "' + b"a" * 3000 + b'"}', 413),
        (b'{"text": "\\ud800 \\u0000", "time": "\\udfff"}', 200),
    ],
)
def test_bad_bodies_are_told_apart(client: TestClient, body: bytes, status: int) -> None:
    reply = client.post("/v1/users/ann/read", content=body, headers={"Content-Type": "application/json"})
    assert reply.status_code == status and set(reply.json()) == ({"results"} if status == 200 else {"error"})


def test_json_that_does_not_call_itself_so_is_refused(client: TestClient) -> None:
    """A web page may send any other content type without asking first."""
    body = json.dumps({"text": "x"})
    assert client.post("/v1/users/ann/read", content=body, headers={"Content-Type": "text/plain"}).status_code == 415


def test_a_question_too_long_for_the_reader_is_the_callers_fault(client: TestClient) -> None:
    reply = client.post("/v1/users/ann/ask", json={"question": "a" * 3000})
    assert reply.status_code == 413 and "256 are allowed" in reply.json()["error"]


def test_who_asks_too_often_is_told_to_wait(agent: MemoryAgent) -> None:
    with TestClient(create_app(agent, limits=Limits(per_minute=3)), base_url=HERE) as client:
        replies = [client.get("/health") for _ in range(4)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429]
    assert 1 <= int(replies[-1].headers["Retry-After"]) <= 20


def test_a_rate_is_each_clients_own_and_comes_back_with_time() -> None:
    now = 0.0
    rate = Rate(2, clock=lambda: now)
    assert [rate.wait("a"), rate.wait("a"), rate.wait("a"), rate.wait("b")] == [0, 0, 30, 0]
    now = 30.0
    assert [rate.wait("a"), rate.wait("a")] == [0, 30]


def test_a_busy_model_turns_requests_away(agent: MemoryAgent) -> None:
    calls = ModelCalls(Limits(model_calls=3, model_calls_of_one=2))
    with calls.turn("a"), calls.turn("a"):
        with pytest.raises(Busy, match="of this user"), calls.turn("a"):
            pass
        with calls.turn("b"), pytest.raises(Busy, match="with other requests"), calls.turn("c"):
            pass
    with calls.turn("a"):
        pass
    with TestClient(create_app(agent, limits=Limits(model_calls=0)), base_url=HERE) as client:
        reply = client.post("/v1/users/ann/ask", json={"question": "Where?"})
        assert (reply.status_code, reply.headers["Retry-After"]) == (503, "1")
        assert client.get("/v1/users/ann/memory").status_code == 200


def test_agents_in_use_stay_open_and_idle_ones_are_few(agent: MemoryAgent) -> None:
    users = Users(agent, kept=1)
    with users.of("u1") as first:
        for name in ("u2", "u3", "u1"):
            with users.of(name) as other:
                assert other.memory == ()
        assert first is other and first.memory == ()
    assert list(users._opened) == ["u1"]
    users.close()
    assert not users._opened


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--host", "0.0.0.0"], "can be reached from other machines, and there is no token"),
        (["--host", "example.org"], "can be reached from other machines, and there is no token"),
        (["--token-env", "MEMRL_NO_SUCH"], "MEMRL_NO_SUCH is not set"),
        (["--port", "99999"], "cannot listen at 127.0.0.1 port 99999"),
        (["--rate", "0"], "--rate is 0; it must be at least 1"),
        (["--http"], "--http goes with --mcp"),
        (["--mcp", "--rate", "5"], "--rate is for requests over HTTP"),
        (["--served", "http://127.0.0.1:9/v1"], "--served and --served-as go together"),
        ([], "no exported policy"),
    ],
)
def test_the_command_refuses_before_anything_slow(
    words: list[str], complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: Any
) -> None:
    monkeypatch.delenv("MEMRL_TOKEN", raising=False)
    store = tmp_path / "m.sqlite"
    assert cli.main(["serve", str(tmp_path), "--store", str(store), "--port", "0", *words]) == cli.USAGE
    assert complaint in " ".join(capsys.readouterr().err.split())
    assert not store.exists()


def test_packages_that_are_missing_are_named() -> None:
    code = """
import sys
sys.modules["mcp"] = None
from memrl.cli import main as cli
from memrl.envs.tools import ResultCode, ToolResult
code = cli.main(["serve", "x", "--store", "y"])
print(code, "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], env=environment(), capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "False"] and "pip install 'memrl[serve]'" in done.stderr
