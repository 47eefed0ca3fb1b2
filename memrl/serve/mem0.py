"""The calls of mem0's client (`MemoryClient(api_key=TOKEN, host=URL)`), answered from this memory.

An item's id is there `USER:ITEM`, since its calls name no user. Deleting can be undone here; `delete_users` erases.
What mem0 has and a memory here has not (projects, webhooks, exports, feedback) is 404.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from starlette.exceptions import HTTPException

from memrl.agent.history import Change
from memrl.agent.stored import StoredItem
from memrl.agent.users import Users
from memrl.envs.tools import ToolResult
from memrl.serve.limits import ModelCalls
from memrl.serve.memories import done
from memrl.serve.messages import ITEM, Metadata, Said, Spoken, Text, UserName

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

BY = "mem0"
EVENTS = {"memory_insert": "ADD", "memory_update": "UPDATE", "memory_delete": "DELETE"}
"""What the tools of `stores` do, in mem0's words."""
ENTITIES = ("agent_id", "app_id", "run_id")
"""What mem0 tells memories apart by beside the user: metadata here."""
MemoryId = Annotated[str, Path(pattern=rf"^[A-Za-z0-9_@-][A-Za-z0-9._@-]{{0,63}}:{ITEM}$")]


class _Given(BaseModel):
    model_config = ConfigDict(extra="ignore")


class Added(_Given):
    """The body that `add` sends."""

    messages: Spoken
    user_id: UserName | None = None
    agent_id: Text | None = None
    app_id: Text | None = None
    run_id: Text | None = None
    filters: dict[str, JsonValue] = Field(default_factory=dict)
    metadata: Metadata = Field(default_factory=dict)
    infer: bool = True
    timestamp: int | None = None


class Mem0Query(_Given):
    """The body that `get_all` and `search` send."""

    query: Said | None = None
    filters: dict[str, JsonValue] = Field(default_factory=dict)
    top_k: Annotated[int, Field(ge=1, le=100)] = 10


class Updated(_Given):
    """The body that `update` sends."""

    text: Said | None = None
    metadata: Metadata | None = None


def add_mem0(router: APIRouter, users: Users, calls: ModelCalls) -> None:
    """Add the routes that mem0's client calls."""

    @router.get("/v1/ping/")
    def ping() -> dict[str, Any]:
        return {"status": "ok", "user_email": None, "org_id": "memrl", "project_id": "memrl"}

    @router.post("/v3/memories/add/")
    async def add(body: Added) -> dict[str, Any]:
        user, rest = _whose({**body.filters, **({"user_id": body.user_id} if body.user_id else {})})
        entities = {name: value for name in ENTITIES if (value := getattr(body, name)) is not None}
        metadata = {**rest, **entities, **body.metadata}
        time = None if body.timestamp is None else _date(body.timestamp)
        spoken = [each.model_dump() for each in body.messages]
        with calls.turn(user):
            async with users.awaited(user) as agent:
                results = await agent.aadd(spoken, metadata=metadata, infer=body.infer, time=time)
                return {"results": [await _event(agent, user, each) for each in results if each.ok and each.item_id]}

    @router.post("/v3/memories/")
    def get_all(
        body: Mem0Query,
        page: Annotated[int, Query(ge=1, le=10**6)] = 1,
        page_size: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> dict[str, Any]:
        user, filters = _whose(body.filters)
        with users.of(user) as agent:
            found = agent.get_all(filters=filters)
        some = found[(page - 1) * page_size : page * page_size]
        following = f"?page={page + 1}&page_size={page_size}" if page * page_size < len(found) else None
        before = f"?page={page - 1}&page_size={page_size}" if page > 1 else None
        told = [_memory(user, item) for item in some]
        return {"count": len(found), "next": following, "previous": before, "results": told}

    @router.post("/v3/memories/search/")
    def search(body: Mem0Query) -> dict[str, Any]:
        if body.query is None:
            raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, "query: it is missing.")
        user, filters = _whose(body.filters)
        with users.of(user) as agent:
            found = agent.search(body.query, limit=body.top_k, filters=filters).items
        return {"results": [_memory(user, item) for item in found if isinstance(item, StoredItem)]}

    @router.delete("/v1/memories/")
    def delete_all(user_id: UserName) -> dict[str, str]:
        with users.of(user_id) as agent:
            agent.delete_all(by=BY)
        return {"message": "Memories deleted successfully!"}

    @router.get("/v1/memories/{memory_id}/")
    def get(memory_id: MemoryId) -> dict[str, Any]:
        user, _, name = memory_id.partition(":")
        with users.of(user) as agent:
            return _memory(user, _there(agent, name))

    @router.put("/v1/memories/{memory_id}/")
    def update(memory_id: MemoryId, body: Updated) -> dict[str, Any]:
        user, _, name = memory_id.partition(":")
        with users.of(user) as agent:
            result = done(agent.update(name, body.text, metadata=body.metadata, by=BY))
            return _memory(user, _there(agent, result.item_id or name))  # a design may give it another id

    @router.delete("/v1/memories/{memory_id}/")
    def delete(memory_id: MemoryId) -> dict[str, str]:
        user, _, name = memory_id.partition(":")
        with users.of(user) as agent:
            done(agent.delete(name, by=BY))
        return {"message": "Memory deleted successfully!"}

    @router.get("/v1/memories/{memory_id}/history/")
    def history(memory_id: MemoryId) -> list[dict[str, Any]]:
        user, _, name = memory_id.partition(":")
        with users.of(user) as agent:
            return [_change(user, change) for change in agent.history(name)]

    @router.delete("/v2/entities/user/{user}/")
    async def delete_user(user: UserName) -> dict[str, str]:
        async with users.awaited(user) as agent:
            await to_thread.run_sync(agent.erase_user, user)
        return {"message": "Entity deleted successfully!"}


def _whose(filters: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the user that filters name, and the filters over metadata."""
    given: dict[str, Any] = {}
    for part in (filters, *_listed(filters.get("AND"))):
        for name, value in part.items():
            if name == "metadata" and isinstance(value, Mapping):
                given |= value
            elif name in ("OR", "NOT") or (isinstance(value, Mapping) and set(value) != {"in"}):
                error = f"filters: {name} is not known here; there are names with values, in, metadata and AND."
                raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, error)
            elif name != "AND" and value != "*":
                given[name] = value["in"] if isinstance(value, Mapping) else value
    user = given.pop("user_id", None)
    try:
        return _Name(user=user).user, given
    except ValueError:
        error = "user_id: whose memory? Name a user (letters, digits and . _ @ -), in search and get_all in filters."
        raise HTTPException(HTTPStatus.UNPROCESSABLE_ENTITY, error) from None


class _Name(BaseModel):
    user: UserName


def _listed(value: Any) -> list[Mapping[str, Any]]:
    return [part for part in value if isinstance(part, Mapping)] if isinstance(value, list) else []


def _there(agent: MemoryAgent, name: str) -> StoredItem:
    item = agent.get(name)
    if item is None:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"no item {name!r}")
    return item


def _memory(user: str, item: StoredItem) -> dict[str, Any]:
    times = {"created_at": _stamp(item.added), "updated_at": _stamp(item.changed)}
    entities = {name: item.metadata.get(name) for name in ENTITIES}
    return {
        "id": f"{user}:{item.id}",
        "memory": item.content,
        "user_id": user,
        "metadata": item.metadata,
        **entities,
        **times,
    }


async def _event(agent: MemoryAgent, user: str, result: ToolResult) -> dict[str, Any]:
    """Return what became of an item; of a tool that is not of `stores`, by what is there now."""
    event = EVENTS.get(result.name)
    if event is None:
        item = await agent.aget(str(result.item_id))
        event = "DELETE" if item is None else "ADD" if item.added == item.changed else "UPDATE"
    return {"id": f"{user}:{result.item_id}", "memory": result.content or "", "event": event}


def _change(user: str, change: Change) -> dict[str, Any]:
    old, new = (None if state is None else state.content for state in (change.before, change.after))
    event = "ADD" if change.before is None else "DELETE" if change.after is None else "UPDATE"
    name, at = f"{user}:{change.item_id}", _stamp(change.at)
    return {
        "id": str(change.number),
        "memory_id": name,
        "old_memory": old,
        "new_memory": new,
        "event": event,
        "user_id": user,
        "created_at": at,
        "updated_at": at,
    }


def _stamp(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


def _date(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, OSError, ValueError):
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY, f"timestamp: {seconds} is no time of this world."
        ) from None
