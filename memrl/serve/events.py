"""Server-sent events: a reply that is told while it is made.

Invariant: what fails before the first event is an error with a status, as without events.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from memrl.agent.progress import Progress
from memrl.errors import MemrlError
from memrl.serve.messages import told

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent


class Events(Response):
    """A reply of events, in the form in which they are sent.

    Args:
        events: made as long as somebody waits for them; closed in any case.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        events = self._events
        try:
            first = await anext(events, b"")
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            await send({"type": "http.response.body", "body": first, "more_body": True})
            async for event in events:
                await send({"type": "http.response.body", "body": event, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            await events.aclose()


def event(name: str | None, data: Any) -> bytes:
    """Return one event; without a name, as OpenAI's streams have them."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    head = "" if name is None else f"event: {name}\n"
    return f"{head}data: {text}\n\n".encode()


async def reading(agent: MemoryAgent, text: str, **how: Any) -> AsyncGenerator[bytes]:
    """Yield an event for each piece of a text that is read, then `done` with all results, or `error`."""
    arrived: asyncio.Queue[Progress | None] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    def note(progress: Progress) -> None:
        loop.call_soon_threadsafe(arrived.put_nowait, progress)

    task = asyncio.create_task(agent.aread(text, progress=note, **how))
    task.add_done_callback(lambda _: arrived.put_nowait(None))
    try:
        while (progress := await arrived.get()) is not None:
            results = [result.model_dump(mode="json") for result in progress.results]
            yield event("piece", {"piece": progress.piece, "pieces": progress.pieces, "results": results})
        try:
            done = task.result()
        except MemrlError as error:
            yield event("error", {"error": told(error)})
            return
        yield event("done", {"results": [result.model_dump(mode="json") for result in done]})
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
