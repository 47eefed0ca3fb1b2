"""`memrl serve` over its memory file: pages, what is erased, and a file that another program holds."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from memrl import MemoryAgent
from memrl.agent import turns
from memrl.errors import Closed, DataError, EngineError, Erased, StoreBusy, StoreFailed, TooLong
from memrl.serve.app import create_app
from memrl.serve.limits import Limits
from memrl.serve.messages import told
from tests.disks import found, held_by_another

HERE = "http://127.0.0.1"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("serve") / "memory.sqlite"


@pytest.fixture(scope="module")
def client(exported_policy: Path, store: Path) -> Iterator[TestClient]:
    with (
        MemoryAgent.open(exported_policy / "adapter", store=store, device="cpu", budget=100_000) as agent,
        TestClient(create_app(agent, limits=Limits(per_minute=10**9)), base_url=HERE) as client,
    ):
        yield client


def write(client: TestClient, user: str, *contents: str, why: str = "") -> Any:
    inserts = [
        {"name": "memory_insert", "arguments": {"memory_type": "semantic", "content": content}} for content in contents
    ]
    return client.post(f"/v1/users/{user}/memory/operations", json={"operations": inserts, "why": why})


def pages(client: TestClient, path: str, what: str, limit: int) -> list[Any]:
    found: list[Any] = []
    following: dict[str, Any] = {}
    while True:
        reply = client.get(path, params={"limit": limit, **following})
        assert reply.status_code == 200 and 0 < len(reply.json()[what]) <= limit
        found += reply.json()[what]
        if reply.json()["next"] is None:
            return found
        following = {"after": reply.json()["next"]}


def test_memory_and_history_come_in_pages(client: TestClient) -> None:
    assert write(client, "eva", *(f"fact {number}" for number in range(25)), why="because").status_code == 200
    items = pages(client, "/v1/users/eva/memory", "items", 10)
    assert [item["content"] for item in items] == [f"fact {number}" for number in range(25)]
    changes = pages(client, "/v1/users/eva/history", "changes", 7)
    assert [change["item_id"] for change in changes] == [item["id"] for item in items]
    assert client.get("/v1/users/eva/memory").json() == {"items": items, "next": None}
    for path in ("memory?limit=0", "memory?limit=100000", "history?after=-1", "history?after=99999999999999999999"):
        assert client.get(f"/v1/users/eva/{path}").status_code == 422


def test_a_request_of_a_megabyte_is_not_told_back_at_once(client: TestClient, store: Path) -> None:
    for number in range(20):
        reply = write(client, "big", *(f"fact {number} {part}" for part in range(100)), why="why " * 16_000)
        assert reply.status_code == 200
    reply = client.get("/v1/users/big/history")
    assert len(reply.content) < 2_000_000 and reply.json()["next"] is not None
    assert store.stat().st_size < 20 * 64_000 + 2_000_000
    reply = write(client, "big", "x", why="x" * 100_000)
    assert reply.status_code == 413 and "why" in reply.json()["error"]


def test_a_time_that_is_too_long_is_the_callers_fault(client: TestClient) -> None:
    reply = client.post("/v1/users/ann/read", json={"text": "Nora lives in Bern.", "time": "May " * 225_000})
    assert reply.status_code == 413 and "the time has 900000 characters" in reply.json()["error"]


def test_a_user_is_erased_to_the_last_byte(client: TestClient, store: Path) -> None:
    assert write(client, "carl", "SECRETFACT", why="SECRETWHY").status_code == 200
    assert client.delete("/v1/users/carl").json() == {"erased": 2}
    assert client.get("/v1/users/carl/memory").json()["items"] == []
    assert client.get("/v1/users/carl/history").json()["changes"] == []
    assert found(store.parent, "SECRET") == found(store.parent, "carl") == []
    assert client.delete("/v1/users/carl").json() == {"erased": 0}
    assert client.delete("/v1/users/..%2f").status_code in (404, 422)


def test_an_erasing_whose_bytes_are_not_cleared_says_so_until_they_are(
    client: TestClient, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 0.3)
    assert write(client, "hal", "HIDDENFACT " * 1000, why="HIDDENWHY").status_code == 200
    with held_by_another(store, "BEGIN"):  # a reader, who sees the file as it was
        for _ in range(2):
            reply = client.delete("/v1/users/hal")
            assert reply.status_code == 503 and int(reply.headers["Retry-After"]) >= 1
            assert "is erased" in reply.json()["error"] and "bytes are not yet cleared" in reply.json()["error"]
            assert client.get("/v1/users/hal/memory").json()["items"] == []
    assert found(store.parent, "HIDDEN")
    assert client.delete("/v1/users/hal").json() == {"erased": 0}
    assert found(store.parent, "HIDDEN") == []


def test_each_error_of_the_store_has_its_words() -> None:
    path = "/home/ann/memory.sqlite"
    uncleared = StoreFailed(path)
    uncleared.erased = True
    for error, words in (
        (StoreBusy(path), "held by another program"),
        (StoreFailed(path), "file cannot be used now"),
        (DataError(path), "file cannot be used now"),
        (uncleared, "bytes are not yet cleared"),
        (TooLong("the time has 300 characters"), "the time has 300 characters"),
        (Erased("the user was erased"), "the user was erased"),
        (Closed(path), "the server is ending"),
        (EngineError(path), "the model failed"),
    ):
        assert words in told(error) and path not in told(error)


def test_a_user_who_is_erased_while_a_text_is_read_stays_so(client: TestClient) -> None:
    text = "\n".join(f"Nora lives in Oslo. It rained {number} days." for number in range(2000))
    replies: list[Any] = []
    reader = threading.Thread(
        target=lambda: replies.append(client.post("/v1/users/dora/read", json={"text": text, "time": "May 2"}))
    )
    assert write(client, "dora", "a fact").status_code == 200
    reader.start()
    deadline = time.monotonic() + 120
    while len(client.get("/v1/users/dora/history").json()["changes"]) < 2:
        assert time.monotonic() < deadline and reader.is_alive()
        time.sleep(0.02)
    assert client.delete("/v1/users/dora").status_code == 200
    reader.join()
    assert replies[0].status_code == 409 and "erased" in replies[0].json()["error"]
    assert client.get("/v1/users/dora/memory").json()["items"] == []


def test_a_held_file_keeps_nobody_from_reading_and_tells_who_writes_to_wait(
    client: TestClient, store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "BUSY_SECONDS", 1.0)
    assert write(client, "ann", "Nora lives in Bern.").status_code == 200
    refused: list[Any] = []
    with held_by_another(store):
        writers = [
            threading.Thread(target=lambda user=user: refused.append(write(client, user, "x")))
            for user in ("ann", "bob", *(f"user{number}" for number in range(38)))
        ]
        for writer in writers:
            writer.start()
        for user in ("ann", "bob", "new"):  # all of this ends while the file is held
            assert client.get(f"/v1/users/{user}/memory").status_code == 200
            assert client.get(f"/v1/users/{user}/history").status_code == 200
            assert client.post(f"/v1/users/{user}/ask", json={"question": "Where does Nora live?"}).status_code == 200
        for writer in writers:
            writer.join()
    assert {reply.status_code for reply in refused} == {503} and len(refused) == 40
    assert all(int(reply.headers["Retry-After"]) >= 1 and str(store) not in reply.text for reply in refused)
    assert write(client, "ann", "Nora has a dog.").status_code == 200
