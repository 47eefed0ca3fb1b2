"""The page of `memrl demo`: a chat, and beside it the memory that it makes. It asks nobody but the REST API beside it.

Invariant: the page's files and `/demo` need no token, since `memrl demo` serves this machine alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response

from memrl.agent.users import Users
from memrl.serve.view import KINDS, POLICY

PAGE = Path(__file__).parent / "page"
FILES = ("page.js", "page.css", "licences.txt")
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}
OWN_WORLD = (
    "Mara lives in Oslo. Vito talked about honey twice. Greta works as a baker.",
    "Felix owns a parrot. The old lamp creaked at noon. Nora plays the violin.",
    "Where does Mara live?",
    "Mara now lives in Lisbon. Hugo visited the castle. Walt yawned near the bridge.",
    "Where does Mara live?",
    "Which pet does Felix own?",
    "When did Hugo visit the castle?",
)
"""Texts and questions that the embedded model has the words for, in an order that shows what a memory does."""
ANY_WORLD = (
    "I live in Oslo, and my sister Greta works as a baker.",
    "Where do I live?",
    "I have moved to Lisbon.",
    "Where do I live?",
)


@dataclass(frozen=True)
class Demo:
    """What the page says of the agent."""

    policy: str
    """What the policy is called."""
    store: str | None
    """The memory's file; None: a temporary one."""


class Facts(BaseModel):
    """What the page says of the agent and its memory."""

    policy: str
    embedded: bool
    user: str
    store: str | None
    budget: int
    tokens: int
    examples: tuple[str, ...]


def add_demo(app: FastAPI, users: Users, user: str, demo: Demo) -> None:
    """Add the page, its files, and what it says of the agent."""

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        """The page."""
        return _file("index.html")

    @app.get("/demo", include_in_schema=False)
    def facts() -> Facts:
        """What the page says of the agent and its memory."""
        with users.of(user) as agent:
            return Facts(
                policy=demo.policy,
                embedded=agent.embedded,
                user=user,
                store=demo.store,
                budget=agent.budget,
                tokens=agent.token_count,
                examples=OWN_WORLD if agent.embedded else ANY_WORLD,
            )

    @app.get("/{name}", include_in_schema=False)
    def file(name: str) -> Response:
        """A file of the page."""
        if name not in FILES:
            raise HTTPException(404, "nothing of that name is here.")
        return _file(name)


def _file(name: str) -> Response:
    return FileResponse(PAGE / name, headers={**HEADERS, "Content-Type": KINDS[Path(name).suffix]})
