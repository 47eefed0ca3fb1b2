"""The bounds of a request to an endpoint: its time, the bytes of its reply, the host that it goes to.

Invariant: whatever the other side sends, a request ends when its time is over, holds no more memory than an answer of
its `max_tokens` can need, and its text goes to the host that was named and to no other.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable
from typing import TypeVar
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx2
from anyio import CancelScope
from openai import OpenAIError

Got = TypeVar("Got")
TICKS = 20
"""Parts into which a request's time is cut."""
BASE_BYTES = 1 << 16
BYTES_OF_TOKEN = 1 << 10
"""What a reply may hold for each token that it was asked for: the longest tokens are runs of some hundred characters,
escaped six bytes each."""
ECHOES = 4
"""What it may hold of the request, in requests: servers send the prompt's ids along, and quote it in errors."""
UNASKED_BYTES = 1 << 22
"""Of a reply to a request that names no `max_tokens`, as a list of models."""


class Elsewhere(OpenAIError):
    """The server sends the request on to another host."""


class TooMuch(OpenAIError):
    """The reply is larger than any answer to the request."""


class PatientClock:
    """A request's time. It stands still while the event loop is busy: an engine may decode in it for longer than a
    request may take, and what has arrived meanwhile has arrived in time."""

    def __init__(self, seconds: float) -> None:
        self._tick = seconds / TICKS
        self._left = TICKS
        self._scope: CancelScope | None = None
        self._next = asyncio.get_running_loop().call_later(self._tick, self._step)

    def _step(self) -> None:
        self._left -= 1
        if self._left > 0:
            self._next = asyncio.get_running_loop().call_later(self._tick, self._step)
        elif self._scope is not None:
            self._scope.cancel()

    async def within(self, work: Awaitable[Got]) -> Got:
        """Return what is awaited.

        Raises:
            ReadTimeout: the time is over before.
        """
        with CancelScope() as scope:
            self._scope = scope
            if self._left <= 0:
                scope.cancel()
            try:
                return await work
            finally:
                self._scope = None
        raise httpx2.ReadTimeout("the reply was not whole in time")

    def stop(self) -> None:
        """End it."""
        self._next.cancel()


class BoundedTransport(httpx2.AsyncHTTPTransport):
    """HTTP with a clock over the whole of each reply, a bound on its bytes, and no way to another host.

    Args:
        seconds: of one request, from its first byte to the last of its reply.
        url: of the server; the environment may name a proxy for it.
    """

    def __init__(self, seconds: float, url: str | None) -> None:
        limits = httpx2.Limits(max_connections=1000, max_keepalive_connections=100)
        super().__init__(limits=limits, proxy=_proxy(url))
        self._seconds = seconds

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        await request.aread()  # one that follows a redirect is not read yet
        clock = PatientClock(self._seconds)
        try:
            response = await clock.within(super().handle_async_request(request))
        except BaseException:
            clock.stop()
            raise
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        response.stream = _BoundedStream(response.stream, clock, most_bytes(request))
        try:
            _refuse(request, response)
        except OpenAIError:
            await response.aclose()
            raise
        return response


class _BoundedStream(httpx2.AsyncByteStream):
    def __init__(self, stream: httpx2.AsyncByteStream, clock: PatientClock, most: int) -> None:
        self._stream, self._clock, self._most = stream, clock, most

    async def __aiter__(self) -> AsyncIterator[bytes]:
        parts = aiter(self._stream)
        got = 0
        while True:
            try:
                part = await self._clock.within(anext(parts))
            except StopAsyncIteration:
                return
            got += len(part)
            if got > self._most:
                raise TooMuch(f"the reply has more than {self._most} bytes, which no answer to this request needs")
            yield part

    async def aclose(self) -> None:
        self._clock.stop()
        await self._stream.aclose()


def most_bytes(request: httpx2.Request) -> int:
    """Return how large the reply to a request may be."""
    content = request.content
    try:
        asked = json.loads(content)
    except ValueError:
        asked = None
    given = [asked.get(name) for name in ("max_tokens", "max_completion_tokens")] if isinstance(asked, dict) else []
    tokens = max((value for value in given if isinstance(value, int)), default=None)
    if tokens is None:
        return UNASKED_BYTES
    return BASE_BYTES + BYTES_OF_TOKEN * tokens + ECHOES * len(content)


def _refuse(request: httpx2.Request, response: httpx2.Response) -> None:
    """Refuse what leads elsewhere, and what is packed: nobody asked for it, and its size is not known before."""
    if response.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise TooMuch("the reply is compressed, which nobody asked for")
    if not response.is_redirect:
        return
    try:
        target = request.url.join(response.headers["location"])
    except (httpx2.InvalidURL, ValueError):
        raise Elsewhere("it sends the request on to no address") from None
    if _host(target) != _host(request.url):
        shown = f"{target.scheme}://{target.netloc.decode('ascii', 'replace').rpartition('@')[2]}"
        raise Elsewhere(f"it sends the request on to another host, {shown}, which nobody named")


def _proxy(url: str | None) -> str | None:
    parts = urlsplit(url or "")
    if not parts.hostname or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return None
    named = getproxies()
    return named.get(parts.scheme) or named.get("all")


def _host(url: httpx2.URL) -> tuple[str, str, int | None]:
    port = url.port or {"http": 80, "https": 443}.get(url.scheme)
    return url.scheme, url.host.lower(), port
