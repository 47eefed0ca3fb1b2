"""The guard before every request: whom it is for, who asks, how often, how much; and how many may ask the model."""

from __future__ import annotations

import asyncio
import hmac
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus

from anyio import CancelScope
from starlette.datastructures import Headers
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from memrl.errors import InfrastructureError

LOOPBACK = ("127.0.0.1", "[::1]", "localhost")
OPEN = "/health"
"""The one path that needs no token."""
SCHEMES = ("bearer", "token")
"""How a token may be called: mem0's clients say `Token`."""
MOST_CLIENTS = 10_000
CLOSE = {"Connection": "close"}


@dataclass(frozen=True)
class Limits:
    """The limits of what callers may use up."""

    body_bytes: int = 1 << 20
    """Of a request's body; over standard input, of a line."""
    per_minute: int = 600
    """Requests of one client address; as many may come at once after a pause."""
    model_calls: int = 64
    """Texts and questions under way at one time; one more is turned away."""
    model_calls_of_one: int = 8
    """Those of one user among them."""
    header_seconds: float = 10.0
    """Until a request's head has come, and between two signs that its reply is being read."""
    body_seconds: float = 30.0
    """Until its body has come."""
    connections: int = 512
    """At one time; for one more, that which waits longest for the rest of a request is closed."""


class Busy(InfrastructureError):
    """The model has as much to do as it may be given."""


class ModelCalls:
    """The texts and questions that are under way, of all users together and of each."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._under_way: Counter[str] = Counter()
        self._lock = threading.Lock()

    @contextmanager
    def turn(self, user: str) -> Iterator[None]:
        """A block in which the model is asked for a user.

        Raises:
            Busy: as many are under way as may be.
        """
        with self._lock:
            if self._under_way[user] >= self._limits.model_calls_of_one:
                raise Busy("the model is busy with other requests of this user. Try again in a moment.")
            if self._under_way.total() >= self._limits.model_calls:
                raise Busy("the model is busy with other requests. Try again in a moment.")
            self._under_way[user] += 1
        try:
            yield
        finally:
            with self._lock:
                self._under_way[user] -= 1
                if not self._under_way[user]:
                    del self._under_way[user]


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
    """ASGI middleware: refuses what may not pass, hands on requests whose whole body has arrived, and ends the work of
    those whose client has gone.

    Args:
        token: what callers must bear. None: anybody on this machine may call, but no web page that a browser here
            shows: see `_foreign`.
    """

    def __init__(self, app: ASGIApp, *, token: str | None, limits: Limits) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._rate = Rate(limits.per_minute)
        self._limits = limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        refused = await self._refuse(scope)
        if refused is not None:
            return await refused(scope, receive, send)
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                body = await self._body(receive)
        except ClientDisconnect:
            return None
        except TimeoutError:
            error = f"the body has not arrived within {self._limits.body_seconds:g} s. Send it again, faster."
            return await refusal(HTTPStatus.REQUEST_TIMEOUT, error, CLOSE)(scope, receive, send)
        if body is None:
            return await self._too_large()(scope, receive, send)
        await self._while_there(body, scope, receive, send)

    async def _while_there(self, body: bytes, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the app answer, for as long as somebody waits for it and the server runs."""
        arrived: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        gone = asyncio.Event()
        begun = ended = False

        async def replay() -> Message:
            if arrived:
                return arrived.pop()
            await gone.wait()
            return {"type": "http.disconnect"}

        async def noted(message: Message) -> None:
            nonlocal begun, ended
            begun = True
            ended = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        async def watch() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass

        given_up = CancelScope()  # unlike a task's `cancel`, it leaves no thread behind: the scope ends when that does

        async def answer() -> None:
            with given_up:
                await self._app(scope, replay, noted)

        answering, watching = asyncio.create_task(answer()), asyncio.create_task(watch())
        try:
            await asyncio.wait({answering, watching}, return_when=asyncio.FIRST_COMPLETED)
            gone.set()
            if not answering.done() and not ended:
                given_up.cancel()
            await answering
        except asyncio.CancelledError:  # the server ends
            answering.cancel()
            if not begun:
                error = "the server is ending. Try again when it runs."
                await refusal(HTTPStatus.SERVICE_UNAVAILABLE, error, {**CLOSE, "Retry-After": "5"})(
                    scope, receive, send
                )
        finally:
            watching.cancel()

    async def _refuse(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if self._token is None and (foreign := await _foreign(scope)) is not None:
            return foreign
        client = scope.get("client")
        wait = self._rate.wait(client[0] if client else "")
        if wait:
            seconds = math.ceil(wait)
            error = f"too many requests. Wait for {seconds} s."
            return refusal(HTTPStatus.TOO_MANY_REQUESTS, error, {"Retry-After": str(seconds)})
        if self._token is not None and scope["path"] != OPEN:
            scheme, _, given = headers.get("authorization", "").partition(" ")
            if scheme.lower() not in SCHEMES or not hmac.compare_digest(given.strip().encode(), self._token):
                error = "a token is needed: Authorization: Bearer TOKEN."
                return refusal(HTTPStatus.UNAUTHORIZED, error, {"WWW-Authenticate": "Bearer"})
        length = headers.get("content-length", "")
        return self._too_large() if length.isdecimal() and int(length) > self._limits.body_bytes else None

    async def _body(self, receive: Receive) -> bytes | None:
        """All of it; None where it is too large, whatever its header says."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                raise ClientDisconnect
            body += message.get("body", b"")
            if len(body) > self._limits.body_bytes:
                return None
            if not message.get("more_body", False):
                return bytes(body)

    def _too_large(self) -> Response:
        error = f"a body may have {self._limits.body_bytes} bytes. Send less at once."
        return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, error)


async def _foreign(scope: Scope) -> Response | None:
    """Refuse what a web page could have sent that a browser on this machine shows; None: it may pass.

    The request must name this machine (a page's own name may lead here: DNS rebinding), come from no other origin than
    this very server (scheme, host and port: any local program may show pages), and not be of a kind that browsers send
    to other origins unasked: they ask before they send JSON.
    """
    headers = Headers(scope=scope)
    if not await _is_here(scope):
        return refusal(HTTPStatus.FORBIDDEN, "without a token, host must be this machine (localhost).")
    own = f"{scope['scheme']}://{headers['host']}".lower()
    if any(origin.lower() != own for origin in headers.getlist("origin")):
        return refusal(HTTPStatus.FORBIDDEN, "without a token, origin must be this server's own.")
    if any(site.lower() not in ("same-origin", "none") for site in headers.getlist("sec-fetch-site")):
        return refusal(HTTPStatus.FORBIDDEN, "without a token, no page of another site may call.")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] == "POST" and kind != "application/json":
        error = "without a token, a POST needs Content-Type: application/json."
        return refusal(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, error)
    return None


async def _is_here(scope: Scope) -> bool:
    """Return whether the header Host names this machine, as Starlette judges it."""
    passed = False

    async def note(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal passed
        passed = True

    async def nothing() -> Message:
        return {"type": "http.disconnect"}

    async def drop(message: Message) -> None:
        """Nobody sees its answer: ours has the one shape of errors."""

    await TrustedHostMiddleware(note, LOOPBACK, www_redirect=False)(scope, nothing, drop)
    return passed
