"""The guard before every request: whom it is for, who asks, how often, how much; and how many may ask the model."""

from __future__ import annotations

import hmac
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memrl.errors import InfrastructureError

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})
OPEN = "/health"
"""The one path that needs no token."""
MOST_CLIENTS = 10_000


@dataclass(frozen=True)
class Limits:
    """The limits of what callers may use up."""

    body_bytes: int = 1 << 20
    per_minute: int = 600
    """Requests of one client address; as many may come at once after a pause."""
    model_calls: int = 8
    """Texts and questions under way at one time; one more is turned away."""


class Busy(InfrastructureError):
    """The model has as much to do as it may be given."""


class ModelCalls:
    """A `with` block in which the model is asked.

    Raises:
        Busy: `most` such blocks are under way.
    """

    def __init__(self, most: int) -> None:
        self._free = threading.BoundedSemaphore(most)

    def __enter__(self) -> None:
        if not self._free.acquire(blocking=False):
            raise Busy("the model is busy with other requests. Try again in a moment.")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._free.release()


class Rate:
    """A token bucket for each client."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = per_minute
        self._clock = clock
        self._left: dict[str, tuple[float, float]] = {}

    def wait(self, client: str) -> float:
        """Count a request. Seconds until the client may send one; 0: this one may pass."""
        now = self._clock()
        if len(self._left) > MOST_CLIENTS:
            self._left = {name: state for name, state in self._left.items() if self._now(name, now) < self._most}
        left = self._now(client, now)
        if left < 1:
            return (1 - left) * 60 / self._most
        self._left[client] = (left - 1, now)
        return 0.0

    def _now(self, client: str, now: float) -> float:
        left, then = self._left.get(client, (float(self._most), now))
        return min(self._most, left + (now - then) * self._most / 60)


def refusal(status: int, error: str, headers: dict[str, str] | None = None) -> Response:
    """The one shape of every error."""
    return JSONResponse({"error": error}, status, headers)


class Guard:
    """ASGI middleware: refuses what may not pass, and hands on requests whose whole body has arrived.

    Args:
        token: what callers must bear. None: anybody on this machine may call, but no web page that a browser here
            shows: the request must name this machine, and come from no other origin.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, limits: Limits) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._rate = Rate(limits.per_minute)
        self._most = limits.body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        refused = self._refuse(scope)
        if refused is not None:
            return await refused(scope, receive, send)
        try:
            body = await self._body(receive)
        except ClientDisconnect:
            return None
        if body is None:
            return await self._too_large()(scope, receive, send)
        arrived: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def replay() -> Message:
            return arrived.pop() if arrived else await receive()

        await self._app(scope, replay, send)

    def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._token is None:
            for name in ("host", "origin"):
                if name in headers and _hostname(headers[name]) not in LOOPBACK:
                    return refusal(HTTPStatus.FORBIDDEN, f"without a token, {name} must be this machine (localhost).")
        client = scope.get("client")
        wait = self._rate.wait(client[0] if client else "")
        if wait:
            seconds = math.ceil(wait)
            error = f"too many requests. Wait for {seconds} s."
            return refusal(HTTPStatus.TOO_MANY_REQUESTS, error, {"Retry-After": str(seconds)})
        if self._token is not None and scope["path"] != OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
                error = "a token is needed: Authorization: Bearer TOKEN."
                return refusal(HTTPStatus.UNAUTHORIZED, error, {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "")
        return self._too_large() if length.isdecimal() and int(length) > self._most else None

    async def _body(self, receive: Receive) -> bytes | None:
        """All of it; None where it is too large, whatever its header says."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._most:
                return None
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Response:
        return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body may have {self._most} bytes. Send less at once.")


def _hostname(value: str) -> str | None:
    """The name in a Host or Origin header."""
    try:
        return urlsplit(value if "//" in value else f"//{value}").hostname
    except ValueError:
        return None
