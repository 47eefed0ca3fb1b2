"""A real HTTP server that speaks the chat-completions protocol, answers from the prompt, and fails on request."""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Answerer = Callable[[str, str], str]
"""From memory and question to the answer."""
Chat = Callable[[list[dict[str, str]]], str]
BODIES: dict[str, bytes] = {
    "garbage": b"<html>the proxy is tired</html>",
    "deep": b"[" * 100_000,
    "no choices": b'{"id": "x", "choices": []}',
    "error in a good reply": b'{"error": {"message": "upstream is gone"}}',
    "no content": b'{"choices": [{"message": {"content": null}, "finish_reason": "stop"}]}',
    "filtered": b'{"choices": [{"message": {"content": "I must not"}, "finish_reason": "content_filter"}]}',
}
"""Replies with status 200 that hold no answer."""


def by_memory(memory: str, question: str) -> str:
    """The line of the memory that shares most words with the question."""
    asked = set(question.lower().split())
    lines = memory.splitlines() or ["nothing"]
    return max(lines, key=lambda line: len(asked & set(line.lower().split())))


class OpenAIServer:
    """Listens while it is started; the port stays its own.

    Args:
        answer: computes each answer.
        key: the key that requests must carry; error replies repeat what they carried, as careless servers do.
        delay: seconds that each answer takes.
        chat: computes each reply from all messages, in place of `answer`.
    """

    model = "small-reader"

    def __init__(
        self, answer: Answerer = by_memory, *, key: str | None = None, delay: float = 0.0, chat: Chat | None = None
    ) -> None:
        self.answer = answer
        self.chat = chat
        self.key = key
        self.delay = delay
        self.faults: deque[str] = deque()
        """What happens to the next requests: a status, a name in BODIES, truncated, reset, stall, length, drip, drip
        head, endless, packed, or an address to which it is sent on."""
        self.refuses: dict[str, str] = {}
        """Settings that the model takes not, and what it says to them."""
        self.always: str | None = None
        self.requests: list[dict[str, Any]] = []
        self.poured = 0
        """Bytes of endless replies."""
        self.most = 0
        """The largest number of requests that were in work together."""
        self._now = 0
        self._lock = threading.Lock()
        self._server: _Listener | None = None
        self._port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def start(self) -> None:
        """Listen (again)."""
        self._server = _Listener(("127.0.0.1", self._port), _Handler)
        self._server.owner = self
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        """Close the port and every connection: whoever asks now is refused."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server.drop_connections()
            self._server = None

    def take(self, headers: Any, request: dict[str, Any]) -> tuple[str | None, bytes]:
        """What is to happen to a request, and the body of its reply."""
        with self._lock:
            self.requests.append(request)
            fault = self.faults.popleft() if self.faults else self.always
        sent = headers.get("Authorization")
        if fault is None and self.key is not None and sent != f"Bearer {self.key}":
            fault = "401"
        if fault is None and request["model"] != self.model:
            fault = "404"
        refused = next((name for name in self.refuses if name in request), None)
        if fault is None and refused is not None:
            told = {"message": self.refuses[refused], "param": refused}
            return "400", json.dumps({"error": told}).encode()
        if fault is not None and fault.isdigit():
            words = f"The model `{request['model']}` does not exist" if fault == "404" else "no luck"
            return fault, json.dumps({"error": {"message": f"{words}; you sent {sent}"}}).encode()
        if fault in BODIES:
            return None, BODIES[fault]
        memory, _, question = request["messages"][-1]["content"].partition("\n# Question\n")
        if self.chat is not None:
            text = self.chat(request["messages"])
        else:
            text = self.answer(memory.removeprefix("# Memory\n"), question)
        reason = "length" if fault == "length" else "stop"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": reason}
        usage = {"prompt_tokens": len(memory.split()), "completion_tokens": len(text.split())}
        return fault, json.dumps({"object": "chat.completion", "choices": [choice], "usage": usage}).encode()

    def enter(self, step: int) -> None:
        with self._lock:
            self._now += step
            self.most = max(self.most, self._now)


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128
    owner: OpenAIServer

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._connections: set[socket.socket] = set()

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def close_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().close_request(request)

    def drop_connections(self) -> None:
        for connection in list(self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Listener

    def do_POST(self) -> None:
        owner = self.server.owner
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path != "/v1/chat/completions":
            self._reply(404, b'{"error": {"message": "no such path"}}')
            return
        owner.enter(1)
        try:
            time.sleep(owner.delay)
            fault, body = owner.take(self.headers, request)
        finally:
            owner.enter(-1)
        if fault == "stall":
            time.sleep(60)
        elif fault == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(self.connection.detach())  # close() would wait for the files made of it
            self.close_connection = True
        elif fault in {"drip", "drip head", "endless"}:
            self._pour(fault, body)
        elif fault == "packed":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n\x1f\x8b")
        elif fault is not None and fault.startswith("http"):
            self.wfile.write(f"HTTP/1.1 307 Elsewhere\r\nLocation: {fault}\r\nContent-Length: 0\r\n\r\n".encode())
        elif fault == "truncated":
            self._reply(200, body, cut=len(body) // 2)
        else:
            self._reply(int(fault) if fault is not None and fault.isdigit() else 200, body)

    def _pour(self, fault: str, body: bytes) -> None:
        """Send for ever: a byte each twentieth of a second, or as much as is taken."""
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
        self.wfile.write(head + (b"" if fault == "drip head" else b"\r\n"))
        self.close_connection = True
        with suppress(OSError):
            while True:
                if fault == "drip head":
                    self.wfile.write(b"X")
                else:
                    piece = b" " * (1 if fault == "drip" else 1 << 16)
                    self.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
                    self.server.owner.poured += len(piece)
                if fault != "endless":
                    time.sleep(0.05)

    def _reply(self, status: int, body: bytes, cut: int = 0) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if status == 429:
            self.send_header("Retry-After", "0.3")
        self.end_headers()
        self.wfile.write(body[: len(body) - cut])
        if cut:
            self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Tests look at `requests`."""
