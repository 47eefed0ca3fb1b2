"""The routes of single items: add, list, find, get, update, delete, and the history of one."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query
from pydantic import StringConstraints
from starlette.exceptions import HTTPException
from starlette.responses import Response

from memrl.agent.stored import StoredItem
from memrl.agent.users import Users
from memrl.envs.tools import ResultCode, ToolResult
from memrl.serve.events import Events, reading
from memrl.serve.limits import ModelCalls
from memrl.serve.messages import (
    MOST_OF_A_PAGE,
    Add,
    After,
    ChangesPage,
    Deletion,
    Find,
    ItemName,
    KeyText,
    Limit,
    Read,
    Refusal,
    Results,
    Revision,
    StoredItems,
    StoredPage,
    UserName,
)

Key = Annotated[
    KeyText | None,
    Header(
        alias="Idempotency-Key", description="Names the request: asked for again, it is answered as the first time."
    ),
]
Filters = Annotated[
    list[Annotated[str, StringConstraints(pattern=r"^[^:]+:")]],
    Query(
        alias="filter",
        description="`name:value`: what the metadata must have; of one name several values may be given.",
    ),
]
NONE: list[str] = []
UNKNOWN: dict[int | str, dict[str, Any]] = {404: {"model": Refusal, "description": "There is no such item."}}
REFUSED: dict[int | str, dict[str, Any]] = {
    409: {
        "model": Refusal,
        "description": "Another item says the same, the memory is full, or its design has no tool that could.",
    }
}
BY = "rest"


def add_memories(router: APIRouter, users: Users, calls: ModelCalls) -> None:
    """Add the routes to the router of a user."""

    @router.post("/memories")
    async def add(user: UserName, body: Add, key: Key = None) -> Results:
        """Remember what was said: the policy decides what to store, or with `infer: false` each message is stored."""
        with calls.turn(user):
            async with users.awaited(user) as agent:
                work = agent.aadd(body.spoken(), metadata=body.metadata, infer=body.infer, time=body.time, key=key)
                return Results(results=await work)

    @router.get("/memories")
    def get_all(
        user: UserName, filters: Filters = NONE, after: str | None = None, limit: Limit = MOST_OF_A_PAGE
    ) -> StoredPage:
        """Items with their metadata, in pages; with filters, those that have what these name."""
        with users.of(user) as agent:
            items, following = agent.get_page(filters=_filters(filters), after=after, limit=limit)
            return StoredPage(items=items, next=following)

    @router.post("/search")
    def search(user: UserName, body: Find) -> StoredItems:
        """The items that match a query, best first."""
        with users.of(user) as agent:
            found = agent.search(body.query, limit=body.limit, filters=body.filters).items
            return StoredItems(items=[item for item in found if isinstance(item, StoredItem)])

    @router.get("/memories/{item}", responses=UNKNOWN)
    def get(user: UserName, item: ItemName) -> StoredItem:
        """One item, with its metadata."""
        with users.of(user) as agent:
            found = agent.get(item)
        if found is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, f"no item {item!r}")
        return found

    @router.patch("/memories/{item}", responses={**UNKNOWN, **REFUSED})
    @router.put("/memories/{item}", responses={**UNKNOWN, **REFUSED})
    def update(user: UserName, item: ItemName, body: Revision, key: Key = None) -> ToolResult:
        """Replace what an item says, what it bears, or both."""
        with users.of(user) as agent:
            result = agent.update(item, body.text, metadata=body.metadata, by=BY, why=body.why, key=key)
        return done(result)

    @router.delete("/memories/{item}", responses={**UNKNOWN, **REFUSED})
    def delete(user: UserName, item: ItemName, erase: bool = False, key: Key = None) -> Deletion:
        """Delete an item, which undo brings back; with `erase=true` remove it and its history for good."""
        with users.of(user) as agent:
            if erase:
                return Deletion(id=item, erased=agent.erase(item))
            done(agent.delete(item, by=BY, key=key))
            return Deletion(id=item, erased=0)

    @router.get("/memories/{item}/history")
    def item_history(user: UserName, item: ItemName, after: After = 0, limit: Limit = MOST_OF_A_PAGE) -> ChangesPage:
        """Every change of one item that is kept, in pages."""
        with users.of(user) as agent:
            changes, following = agent.history_page(item, after, limit)
            return ChangesPage(changes=changes, next=following)

    @router.post(
        "/read/events",
        response_class=Response,
        responses={
            200: {
                "description": "Events: `piece` for each piece, then `done`, or `error`.",
                "content": {"text/event-stream": {}},
            }
        },
    )
    async def read_events(user: UserName, body: Read, key: Key = None) -> Response:
        """Have the policy read a text, and be told of each piece as it is read (server-sent events)."""

        async def events() -> AsyncGenerator[bytes]:
            with calls.turn(user):
                async with users.awaited(user) as agent:
                    told = reading(agent, body.text, time=body.time, metadata=body.metadata, key=key)
                    async with aclosing(told):
                        async for each in told:
                            yield each

        return Events(events())


def done(result: ToolResult) -> ToolResult:
    """Return a result that is fine, and raise the error of the request of any other."""
    if result.ok:
        return result
    unknown = result.code is ResultCode.UNKNOWN_ID
    raise HTTPException(HTTPStatus.NOT_FOUND if unknown else HTTPStatus.CONFLICT, f"{result.code}: {result.message}")


def _filters(given: list[str]) -> dict[str, Any]:
    """Return filters of a query. A value that is JSON too (2024) stands for both: the text, and what it spells."""
    found: dict[str, Any] = {}
    for each in given:
        name, _, value = each.partition(":")
        wanted = found.setdefault(name, [])
        wanted.append(value)
        with suppress(ValueError, RecursionError):
            wanted.append(json.loads(value))
    return found
