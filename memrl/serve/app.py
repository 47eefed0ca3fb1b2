"""The REST API. `/openapi.json` describes it; every error is `{"error": ...}`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request, Security
from fastapi.exceptions import RequestValidationError
from fastapi.security import HTTPBearer
from mcp.server.transport_security import TransportSecuritySettings
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import BaseRoute, Match, Route

import memrl
from memrl.agent.users import Users
from memrl.envs.tools import ToolCall
from memrl.errors import ConfigError, Erased, KeyReused, MemrlError, NotOffered, PromptTooLong, TooLong
from memrl.frozen.reader import Answer
from memrl.serve.chat import Chats, Upstream, add_chat
from memrl.serve.demo import Demo, add_demo
from memrl.serve.described import described_page
from memrl.serve.limits import OPEN, Guard, Limits, ModelCalls, refusal
from memrl.serve.mcp_server import create_mcp
from memrl.serve.mem0 import add_mem0
from memrl.serve.memories import Key, add_memories
from memrl.serve.messages import (
    MOST_OF_A_PAGE,
    After,
    Ask,
    Changes,
    ChangesPage,
    Erasure,
    Health,
    Items,
    ItemsPage,
    Limit,
    Operations,
    Read,
    Refusal,
    Results,
    Search,
    UserName,
    complaints,
    told,
)

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

log = logging.getLogger(__name__)
MCP_PATH = "/mcp"
REFUSALS = {
    HTTPStatus.BAD_REQUEST: "The body is no JSON.",
    HTTPStatus.FORBIDDEN: "There is no token, and the request names another machine or comes from a web page.",
    HTTPStatus.REQUEST_TIMEOUT: "The body has not arrived in time.",
    HTTPStatus.CONFLICT: "The user was erased while the text was read, or the key is another request's.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body, the question, the time, or a sentence of the text is too long.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "There is no token, and a POST that is no JSON.",
    HTTPStatus.UNPROCESSABLE_ENTITY: "The path, query or body is not as described here.",
    HTTPStatus.TOO_MANY_REQUESTS: "Too many requests; `Retry-After` says how many seconds to wait.",
    HTTPStatus.SERVICE_UNAVAILABLE: "The model is busy or has failed, the memory's file is locked, or the server ends.",
}
NO_TOKEN = {HTTPStatus.UNAUTHORIZED: "The token is missing or wrong."}


def create_app(
    agent: MemoryAgent,
    *,
    token: str | None = None,
    limits: Limits | None = None,
    mcp: bool = False,
    chat: Upstream | None = None,
    demo: Demo | None = None,
) -> FastAPI:
    """The REST API over an agent, for as many users as callers name. The agent stays the caller's to close.

    Args:
        token: what callers must bear; None: anybody on this machine may call (see `Guard`).
        mcp: serve the agent's own user over MCP too (streamable HTTP, at `/mcp`), under the same token and limits.
        chat: the model that answers in conversations; None: the agent's own reader, from the memory alone.
        demo: serve the page of `memrl demo` too, for the agent's own user.
    """
    limits = limits or Limits()
    users = Users(agent)
    calls = ModelCalls(limits)
    chats = Chats(users, calls, agent.user, chat)
    mounted = _mcp_app(agent, calls, limits) if mcp else None

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with mounted.router.lifespan_context(mounted) if mounted else nullcontext():
            yield
        await chats.close()
        users.close()

    app = FastAPI(title="memrl", version=memrl.__version__, docs_url=None, redoc_url=None, lifespan=lifespan)
    app.add_middleware(Guard, token=token, limits=limits)
    described = REFUSALS | ({} if token is None else NO_TOKEN)
    # Guard checks the token, before a body is parsed; this says so in the OpenAPI document.
    bearer = [] if token is None else [Security(HTTPBearer(auto_error=False))]
    refusals: dict[int | str, dict[str, Any]] = {
        int(status): {"model": Refusal, "description": text} for status, text in described.items()
    }
    router = APIRouter(prefix="/v1/users/{user}", dependencies=bearer, responses=refusals)

    @router.post("/read")
    async def read(user: UserName, body: Read, key: Key = None) -> Results:
        """Have the policy read a text and remember what is worth it."""
        with calls.turn(user):
            async with users.awaited(user) as agent:
                work = agent.aread(body.text, time=body.time, metadata=body.metadata, key=key)
                return Results(results=await work)

    @router.post("/ask")
    async def ask(user: UserName, body: Ask) -> Answer:
        """Answer a question from the memory alone."""
        with calls.turn(user):
            async with users.awaited(user) as agent:
                return await agent.aask(body.question)

    @router.get("/memory")
    def memory(user: UserName, after: str | None = None, limit: Limit = MOST_OF_A_PAGE) -> ItemsPage:
        """All that is remembered, in pages."""
        with users.of(user) as agent:
            items, following = agent.memory_page(after, limit)
            return ItemsPage(items=items, next=following)

    @router.post("/memory/search")
    def search(user: UserName, body: Search) -> Items:
        """The items that would be shown to whoever answers the query."""
        with users.of(user) as agent:
            return Items(items=agent.search(body.query).items)

    @router.post("/memory/operations")
    def operations(user: UserName, body: Operations, key: Key = None) -> Results:
        """Carry out memory operations without asking the policy, in one transaction."""
        asked = [ToolCall(name=operation.name, arguments=dict(operation.arguments)) for operation in body.operations]
        with users.of(user) as agent:
            results = agent.execute(asked, time=body.time, by="rest", why=body.why, metadata=body.metadata, key=key)
            return Results(results=results)

    @router.get("/history")
    def history(
        user: UserName, item: str | None = None, after: After = 0, limit: Limit = MOST_OF_A_PAGE
    ) -> ChangesPage:
        """Every change that is kept, or those of one item, in pages."""
        with users.of(user) as agent:
            changes, following = agent.history_page(item, after, limit)
            return ChangesPage(changes=changes, next=following)

    @router.post("/undo")
    def undo(user: UserName, key: Key = None) -> Changes:
        """Take back the newest change that is not undone; none where nothing is left."""
        with users.of(user) as agent:
            return Changes(changes=agent.undo(key=key))

    @router.delete("")
    def erase(user: UserName) -> Erasure:
        """Remove all that is known of a user, for good: memory, history, and every byte of them in the file."""
        return Erasure(erased=agent.erase_user(user))

    add_memories(router, users, calls)
    app.include_router(router)
    conversations = APIRouter(prefix="/v1", dependencies=bearer, responses=refusals)
    add_chat(conversations, chats)
    app.include_router(conversations)
    others = APIRouter(include_in_schema=False)  # described by whose they are
    add_mem0(others, users, calls)
    app.include_router(others)
    _explain_errors(app, [*router.routes, *conversations.routes, *others.routes])

    @app.get("/docs", include_in_schema=False)
    def docs() -> Response:
        """The same as `/openapi.json`, to be read."""
        return described_page(app.openapi())

    opened = (HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

    @app.get(OPEN, responses={int(status): {"model": Refusal, "description": REFUSALS[status]} for status in opened})
    def health() -> Health:
        """Return whether the server is up, and the memory's file where it was and readable. Needs no token."""
        agent.check()
        return Health(version=memrl.__version__)

    if mounted is not None:
        app.router.routes.extend(mounted.routes)
    if demo is not None:
        add_demo(app, users, agent.user, demo)
    return app


def _mcp_app(agent: MemoryAgent, calls: ModelCalls, limits: Limits) -> Starlette:
    app = create_mcp(agent, calls).streamable_http_app(
        streamable_http_path=MCP_PATH,
        stateless_http=True,
        json_response=True,
        max_request_body_size=limits.body_bytes,
        transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),  # Guard does it
    )
    # A stream that a GET opens never carries anything here, and has no end.
    app.router.routes.insert(0, Route(MCP_PATH, _no_stream, methods=["GET", "DELETE"]))
    return app


async def _no_stream(request: Request) -> Response:
    return refusal(HTTPStatus.METHOD_NOT_ALLOWED, "there are no sessions and no streams here; POST.", {"Allow": "POST"})


def _explain_errors(app: FastAPI, routes: Sequence[BaseRoute]) -> None:
    """Every error in the one shape, and only what the caller may know."""

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # a path's methods may be several routes'
            headers["Allow"] = ", ".join(sorted(_methods([*routes, *app.router.routes], request)))
        return refusal(error.status_code, str(error.detail), headers)

    @app.exception_handler(RequestValidationError)
    async def wrong(request: Request, error: RequestValidationError) -> Response:
        return refusal(HTTPStatus.UNPROCESSABLE_ENTITY, complaints(error.errors()))

    @app.exception_handler(MemrlError)
    async def failed(request: Request, error: MemrlError) -> Response:
        if isinstance(error, ConfigError | PromptTooLong | TooLong):
            return refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, told(error))
        if isinstance(error, Erased | KeyReused | NotOffered):
            return refusal(HTTPStatus.CONFLICT, told(error))
        return refusal(HTTPStatus.SERVICE_UNAVAILABLE, told(error), {"Retry-After": "1"})

    @app.exception_handler(Exception)
    async def unknown(request: Request, error: Exception) -> Response:
        return refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "the server has failed; its log says how.")


def _methods(routes: Sequence[BaseRoute], request: Request) -> set[str]:
    """Return the methods that the path of a request has."""
    found: set[str] = set()
    for route in routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is not Match.NONE:
            found |= route.methods or set()
    return found
