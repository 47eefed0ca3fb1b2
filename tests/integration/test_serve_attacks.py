"""`memrl serve` under attack: the real command, real sockets, real signals.

Each test is a row in docs/reliability.md. What takes long for the model is a text of a megabyte: hundreds of pieces.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
from anyio import to_thread
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient
from starlette.types import Message

from memrl import MemoryAgent
from memrl.agent.users import Users
from memrl.errors import Closed
from memrl.serve.app import create_app
from memrl.serve.limits import Guard, Limits
from tests.support import ROOT

HERE = "127.0.0.1"
PIECE = "Nora lives in Bern. The bus was late. Karl has a dog. It rained all day in Oslo. "
MEGABYTE = json.dumps({"text": PIECE * (1_000_000 // len(PIECE))}).encode()
FILES = 400
"""Descriptors that the server may open: fewer than half-sent requests that are thrown at it."""


class Served:
    """The running command."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: Path, store: Path) -> None:
        self.process, self.port, self.log, self.store = process, port, log, store
        self.url = f"http://{HERE}:{port}"

    def ask(self, method: str, path: str, *, patience: float = 30, **more: Any) -> httpx2.Response:
        return httpx2.request(method, f"{self.url}{path}", timeout=patience, **more)

    def connect(self) -> socket.socket:
        return socket.create_connection((HERE, self.port), timeout=30)

    def send_read(self, user: str) -> socket.socket:
        """Send a text of a megabyte to read, and return the connection."""
        connection = self.connect()
        head = f"POST /v1/users/{user}/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        connection.sendall(f"{head}Content-Length: {len(MEGABYTE)}\r\n\r\n".encode() + MEGABYTE)
        return connection

    def changes(self, user: str) -> int:
        """What the file has of a user's history, whatever the server says."""
        with closing(sqlite3.connect(self.store)) as database:
            return int(database.execute("SELECT count(*) FROM changes WHERE user = ?", (user,)).fetchone()[0])


@contextmanager
def serving(exported: Path, folder: Path, *words: str) -> Iterator[Served]:
    store, log = folder / "memory.sqlite", folder / "log.txt"
    policy = [str(exported / "adapter"), "--store", str(store), "--device", "cpu", "--port", "0"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    environment.pop("MEMRL_TOKEN", None)

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))

    with log.open("w") as written:
        process = subprocess.Popen(
            [sys.executable, "-m", "memrl.cli", "serve", *policy, *words],
            env=environment,
            stderr=written,
            stdout=written,
            text=True,
            preexec_fn=few_files,
        )
    try:
        yield Served(process, _port(process, log), log, store)
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        process.wait()


def _port(process: subprocess.Popen[str], log: Path) -> int:
    while True:
        found = re.search(r"http://127\.0\.0\.1:(\d+)", "".join(log.read_text().split()))
        if found:
            port = int(found[1])
            with suppress(OSError), socket.create_connection((HERE, port), timeout=1):
                return port
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)


@pytest.fixture(scope="module")
def server(exported_policy: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Without a token, so that nothing but limits keeps anybody out."""
    with serving(
        exported_policy, tmp_path_factory.mktemp("attacked"), "--mcp", "--http", "--rate", "1000000"
    ) as served:
        served.ask("GET", "/v1/users/ann/memory").raise_for_status()
        yield served


def test_half_sent_requests_keep_nobody_out_and_fill_no_log(server: Served) -> None:
    """1,100 connections, more than it has descriptors for: heads and bodies without an end, and nothing at all."""
    parts = [
        b"",
        b"GET /health HTTP/1.1\r\nHost: local",
        b"POST /v1/users/ann/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 100000\r\n\r\n{",
    ]
    before = server.log.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
    held: list[socket.socket] = []
    try:
        for number in range(1100):
            connection = server.connect()
            with suppress(OSError):  # it may have been closed for a newer one
                connection.sendall(parts[number % 3])
            held.append(connection)
            if number % 100 == 99:
                assert server.ask("GET", "/v1/users/ann/memory").status_code == 200
        assert server.ask("GET", "/health").status_code == 200
        assert psutil.Process(server.process.pid).num_fds() < FILES
    finally:
        for connection in held:
            connection.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert server.log.stat().st_size - before < 2000


@pytest.mark.slow
def test_a_head_and_a_body_have_their_time(server: Served) -> None:
    limits = Limits()
    with server.connect() as head, server.connect() as dripping, server.connect() as body:
        head.sendall(b"GET /health HTTP/1.1\r\n")
        body.sendall(
            b"POST /v1/users/ann/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100000\r\n\r\n{"
        )
        began = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - began < 3 * limits.header_seconds:
                dripping.sendall(b"G")  # a byte a second ends no wait
                dripping.settimeout(1)
                with suppress(TimeoutError):
                    if dripping.recv(1) == b"":
                        break
        assert time.monotonic() - began < 2 * limits.header_seconds
        assert head.recv(100) == b""
        body.settimeout(2 * limits.body_seconds)
        assert body.recv(1000).startswith(b"HTTP/1.1 408")


def test_clients_that_have_gone_are_worked_for_no_longer_and_others_get_their_turn(server: Served) -> None:
    """Eight texts of a megabyte take minutes. One user may have eight under way; all turns are free again at once."""
    most = Limits().model_calls_of_one
    question = {"question": "Where does Nora live?"}
    gone = [server.send_read("gone") for _ in range(most)]
    assert server.ask("POST", "/v1/users/eva/ask", json=question).status_code == 200
    assert server.ask("GET", "/v1/users/ann/memory").status_code == 200
    deadline = time.monotonic() + 60
    while server.ask("POST", "/v1/users/gone/ask", json=question).status_code != 503:
        assert time.monotonic() < deadline, "the texts are under way"
    for connection in gone:
        connection.close()
    while True:
        held = [server.send_read("gone") for _ in range(most - 1)]
        status = server.ask("POST", "/v1/users/gone/ask", json=question).status_code
        for connection in held:
            connection.close()
        if status == 200:  # one turn was left beside these: no text of before has any
            break
        assert time.monotonic() < deadline
    last = -1
    while (now := server.changes("gone")) != last:  # what was under way may still be written
        assert time.monotonic() < deadline
        last = now
        time.sleep(1)
    assert server.ask("POST", "/v1/users/eva/ask", json=question).status_code == 200


def test_clients_that_have_gone_leave_no_more_threads_than_there_may_be() -> None:
    """A thread cannot be ended; one that works for nobody any more keeps its place until it ends."""
    lock = threading.Lock()
    running = most = 0

    def slow(request: Request) -> Response:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        time.sleep(0.5)
        with lock:
            running -= 1
        return Response("x")

    async def call(app: Guard) -> None:
        async def send(message: Message) -> None:
            """Nobody reads it."""

        messages: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive() -> Message:
            if messages:
                return messages.pop()
            await asyncio.sleep(0.05)
            return {"type": "http.disconnect"}

        scope = {"type": "http", "method": "GET", "scheme": "http", "path": "/slow", "query_string": b""}
        await app({**scope, "headers": [(b"host", b"localhost")], "client": (HERE, 1)}, receive, send)

    async def run() -> int:
        app = Guard(Starlette(routes=[Route("/slow", slow)]), token=None, limits=Limits())
        for _ in range(3):
            await asyncio.gather(*(call(app) for _ in range(80)))
        return int(to_thread.current_default_thread_limiter().total_tokens)

    allowed = asyncio.run(run())
    assert 0 < most <= allowed


def test_an_agent_that_was_opened_for_nobody_any_more_is_closed(
    exported_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[MemoryAgent] = []
    with MemoryAgent.open(exported_policy / "adapter", store=tmp_path / "m.sqlite", device="cpu") as agent:
        for_user = agent.for_user

        def slowly(user: str) -> MemoryAgent:
            time.sleep(0.2)
            opened.append(for_user(user))
            return opened[-1]

        monkeypatch.setattr(agent, "for_user", slowly)
        users = Users(agent, kept=0)

        async def use(user: str) -> None:
            async with users.awaited(user):
                await asyncio.sleep(60)

        async def run() -> None:
            for number in range(10):
                using = asyncio.create_task(use(f"user{number}"))
                await asyncio.sleep(0.05)
                using.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await using
            deadline = time.monotonic() + 30
            while len(opened) < 10:
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.2)

        asyncio.run(run())
        users.close()
        for each in opened:
            with pytest.raises(Closed):
                each.memory  # noqa: B018


def test_one_user_takes_only_a_part_of_the_turns(server: Served) -> None:
    limits = Limits()
    held = [server.send_read("greedy") for _ in range(limits.model_calls_of_one)]
    try:
        deadline = time.monotonic() + 120
        while True:
            reply = server.ask("POST", "/v1/users/greedy/ask", json={"question": "Where?"})
            if reply.status_code == 503:
                break
            assert time.monotonic() < deadline
            held.append(server.send_read("greedy"))  # this question may have had the turn of a text that came too late
        assert reply.headers["Retry-After"] == "1" and "of this user" in reply.json()["error"]
        assert server.ask("POST", "/v1/users/eva/ask", json={"question": "Where?"}).status_code == 200
    finally:
        for connection in held:
            connection.close()


def test_a_request_behind_another_on_one_connection_is_not_taken(server: Served) -> None:
    with server.send_read("pipe") as connection:
        connection.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 100)
        connection.settimeout(30)
        with suppress(ConnectionResetError):
            assert connection.recv(100) == b""


def test_errors_name_nothing_of_this_machine_and_health_looks_at_the_store(
    exported_policy: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = tmp_path / "memory.sqlite"
    called = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": "memory_list", "arguments": {}}}
    with (
        MemoryAgent.open(exported_policy / "adapter", store=store, device="cpu") as agent,
        TestClient(create_app(agent, mcp=True), base_url=f"http://{HERE}") as client,
    ):
        assert client.get("/v1/users/ann/memory").status_code == 200
        assert client.get("/health").status_code == 200
        store.write_bytes(b"no database " * 1000)
        for end in ("-wal", "-shm"):
            store.with_name(store.name + end).unlink(missing_ok=True)
        replies = [
            client.get("/health"),
            client.get("/v1/users/bob/memory"),
            client.post("/v1/users/bob/ask", json={"question": "Where?"}),
        ]
        assert replies[0].status_code == 503
        # who has read it may be answered from the log, which is open still
        assert all(reply.status_code in (200, 503) for reply in replies)
        replies.append(client.post("/mcp", json=called, headers={"Accept": "application/json"}))
        store.unlink()
        replies.append(client.get("/health"))
        assert replies[-1].status_code == 503
        for reply in replies:
            assert str(tmp_path) not in reply.text and store.name not in reply.text
    assert str(store) in caplog.text  # the server's own log says where


def end(server: Served, number: signal.Signals) -> int:
    """Send a signal while eight long texts are read; the exit code. All that was acknowledged is on the disk."""
    fact = {"name": "memory_insert", "arguments": {"memory_type": "semantic", "content": "Nora lives in Bern."}}
    server.ask("POST", "/v1/users/fay/memory/operations", json={"operations": [fact]}).raise_for_status()
    held = [server.send_read(f"user{who}") for who in range(8)]
    server.ask("POST", "/v1/users/fay/ask", json={"question": "Where?"}).raise_for_status()
    began = time.monotonic()
    server.process.send_signal(number)
    code = server.process.wait(30)
    assert time.monotonic() - began < 20  # 5 s of the server, and what a busy machine takes beside
    for connection in held:
        connection.close()
    assert server.changes("fay") == 1
    with closing(sqlite3.connect(server.store)) as database:
        assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    return code


@pytest.mark.slow
def test_ctrl_c_ends_it_within_five_seconds_with_everything_committed(exported_policy: Path, tmp_path: Path) -> None:
    with serving(exported_policy, tmp_path) as server:
        assert end(server, signal.SIGINT) in (0, 130)  # 130: something did not end in time, and was left


def test_sigterm_ends_it_within_five_seconds_with_everything_committed(server: Served) -> None:
    """The last test of the one server."""
    assert end(server, signal.SIGTERM) == 143
