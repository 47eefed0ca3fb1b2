"""`POST /v1/chat/completions`: any OpenAI client has a memory once its base URL leads here.

The own reader answers the last message from the memory alone. A model behind another address (`Upstream`) is shown what
is remembered before the conversation, and answers. What was said is read by the policy before the reply is whole.
"""

from __future__ import annotations

import time as clock
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, JsonValue, StrictBool
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from memrl.agent.said import message_text
from memrl.agent.users import Users
from memrl.config.keys import read_key
from memrl.endpoints.client import open_client, shown
from memrl.errors import EngineError
from memrl.frozen.reader import QUOTED, UNKNOWN, Answer
from memrl.serve.events import Events, event
from memrl.serve.limits import ModelCalls
from memrl.serve.memories import Key
from memrl.serve.messages import ChatMessage, UserName

if TYPE_CHECKING:
    from openai import AsyncOpenAI

    from memrl.agent.agent import MemoryAgent

MODEL = "memrl"
"""The name of the own reader, where clients want one; any other is taken too."""
OWN = {"messages", "model", "stream", "stream_options", "user", "store"}
"""What is not handed on as it came."""
DONE = event(None, "[DONE]")


@dataclass(frozen=True)
class Upstream:
    """An OpenAI-compatible server whose model answers."""

    url: str
    """Up to and with /v1."""
    model: str
    api_key_env: str | None = None
    """NAME of the environment variable that holds the key."""
    timeout: float = 600.0
    """Seconds for one reply."""


class StreamOptions(BaseModel):
    model_config = ConfigDict(extra="allow")

    include_usage: StrictBool = False


class Chat(BaseModel):
    """A request of OpenAI's API. What is not named here is handed on to the model behind, or has no effect."""

    model_config = ConfigDict(extra="allow")

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    model: str = MODEL
    user: UserName | None = Field(None, description="Whose memory; null: that of the server's own user.")
    store: StrictBool | None = Field(None, description="false: what was said is not remembered.")
    stream: StrictBool | None = None
    stream_options: StreamOptions | None = None
    n: Annotated[int, Field(ge=1, le=1)] | None = None

    def question(self) -> str:
        """Return what was said last by the user."""
        return next((text for each in reversed(self.messages) if each.role == "user" and (text := _text(each))), "")

    def new(self) -> list[dict[str, Any]]:
        """Return what the user has said since the last reply."""
        replies = [number for number, each in enumerate(self.messages) if each.role == "assistant"]
        rest = self.messages[replies[-1] + 1 :] if replies else self.messages
        return [each.model_dump() for each in rest if each.role == "user" and _text(each)]

    def with_memory(self, memory: str) -> list[dict[str, Any]]:
        """Return the conversation with what is remembered before it, in its first system message if it has one."""
        messages = [each.model_dump(exclude_unset=True) for each in self.messages]
        told = f"# Memory\nThis is remembered of the user. {QUOTED}\n{_barred(memory)}"
        if messages[0]["role"] in ("system", "developer"):
            own = message_text(messages[0].get("content"))
            return [{**messages[0], "content": f"{own}\n\n{told}"}, *messages[1:]]
        return [{"role": "system", "content": told}, *messages]


class Model(BaseModel):
    id: str
    object: str = "model"
    created: int = 0
    owned_by: str = "memrl"


class Models(BaseModel):
    object: str = "list"
    data: list[Model]


class Chats:
    """The conversations of a server, and the client of the model that answers in them."""

    def __init__(self, users: Users, calls: ModelCalls, own_user: str, upstream: Upstream | None) -> None:
        self._users = users
        self._calls = calls
        self._own_user = own_user
        self._upstream = upstream
        self._key = read_key(upstream.api_key_env) if upstream and upstream.api_key_env else ""
        self._client: AsyncOpenAI | None = None

    def model(self) -> str:
        """Return the name of the model that answers."""
        return MODEL if self._upstream is None else self._upstream.model

    async def parts(self, chat: Chat, key: str | None) -> AsyncGenerator[dict[str, Any]]:
        """Yield the chunks of a reply, as OpenAI's streams have them; the last has the usage.

        Raises:
            HTTPException: the model behind refuses the request.
            MemrlError: it could not be answered or remembered.
        """
        question = chat.question()
        user = chat.user or self._own_user
        with self._calls.turn(user):
            async with self._users.awaited(user) as agent:
                answer = self._own if self._upstream is None else self._behind
                async with aclosing(answer(agent, chat, question, key)) as parts:
                    async for part in parts:
                        yield part

    async def close(self) -> None:
        """Close the client."""
        if self._client is not None:
            await self._client.close()

    async def _own(
        self, agent: MemoryAgent, chat: Chat, question: str, key: str | None
    ) -> AsyncGenerator[dict[str, Any]]:
        said = chat.new()
        if chat.store is not False and said:  # before the answer: it may be about what was said just now
            await agent.aadd(said, key=key)
        answer = await agent.aask(question) if question else Answer(UNKNOWN, ())
        yield {
            **_chunk(self.model(), {"role": "assistant", "content": answer.text}, None),
            "retrieved": list(answer.retrieved),
        }
        total = answer.prompt_tokens + answer.completion_tokens
        usage = {
            "prompt_tokens": answer.prompt_tokens,
            "completion_tokens": answer.completion_tokens,
            "total_tokens": total,
        }
        yield {**_chunk(self.model(), {}, "stop"), "usage": usage}

    async def _behind(
        self, agent: MemoryAgent, chat: Chat, question: str, key: str | None
    ) -> AsyncGenerator[dict[str, Any]]:
        from openai import APIStatusError, OpenAIError

        assert self._upstream is not None
        upstream = self._upstream
        view = await agent.asearch(question)
        more = {
            name: value
            for name, value in chat.model_dump(exclude_unset=True).items()
            if name not in OWN and name != "n"
        }
        if self._client is None:
            self._client = open_client(upstream.url, self._key, timeout=upstream.timeout, retries=2)
        replied: list[str] = []
        last: dict[str, Any] = {}
        try:
            create: Any = self._client.chat.completions.create
            asked = {"model": upstream.model, "messages": chat.with_memory(view.text()), "extra_body": more}
            if chat.stream:
                stream = await create(**asked, stream=True, stream_options={"include_usage": True})
            else:
                stream = _Single(await create(**asked))
            async with stream:
                async for given in stream:
                    part = given.model_dump(mode="json", exclude_unset=True)
                    replied += [(choice.get("delta") or {}).get("content") or "" for choice in part.get("choices", ())]
                    if last:
                        yield last
                    last = part
        except APIStatusError as error:
            if error.status_code in (400, 404, 413, 422):
                why = shown(error.message, self._key)
                raise HTTPException(HTTPStatus.BAD_REQUEST, f"the model refuses the request: {why}") from None
            raise EngineError(
                f"{upstream.url} answered {error.status_code}: {shown(error.message, self._key)}"
            ) from None
        except OpenAIError as error:
            raise EngineError(f"{upstream.url} cannot be asked: {shown(str(error), self._key)}") from None
        said = chat.new()
        if "".join(replied).strip():
            said.append({"role": "assistant", "content": "".join(replied)})
        if chat.store is not False and said:
            await agent.aadd(said, key=key)
        if last:  # only now: whoever has the whole reply knows that it is remembered
            yield {**last, "retrieved": [item.id for item in view.items]}


class _Single:
    """A whole reply as a stream of one chunk."""

    def __init__(self, whole: Any) -> None:
        self._whole = whole

    async def __aenter__(self) -> _Single:
        return self

    async def __aexit__(self, *error: object) -> None:
        """Do nothing: it has arrived."""

    async def __aiter__(self) -> AsyncGenerator[_Single]:
        yield self

    def model_dump(self, **how: Any) -> dict[str, Any]:
        """Return the chunk."""
        told: dict[str, Any] = self._whole.model_dump(**how)
        for choice in told.get("choices", ()):
            choice["delta"] = choice.pop("message", None) or {}
            for index, call in enumerate(choice["delta"].get("tool_calls") or ()):
                call["index"] = index
        return told


def add_chat(router: APIRouter, chats: Chats) -> None:
    """Add the routes that OpenAI's clients call."""

    @router.post(
        "/chat/completions",
        response_class=Response,
        responses={
            200: {
                "description": "A completion of OpenAI's API, or with `stream` its chunks.",
                "content": {"application/json": {"schema": {"type": "object"}}, "text/event-stream": {}},
            }
        },
    )
    async def complete(body: Chat, key: Key = None) -> Response:
        """Answer with memory, and remember what was said, as OpenAI's API does without."""
        name = f"chatcmpl-{uuid.uuid4().hex}"
        if body.stream:
            usage = body.stream_options is not None and body.stream_options.include_usage
            return Events(_streamed(chats.parts(body, key), name, chats.model(), usage=usage))
        return JSONResponse(await _whole(chats.parts(body, key), name, chats.model()))

    @router.get("/models")
    def models() -> Models:
        """The model that answers."""
        return Models(data=[Model(id=chats.model())])


async def _streamed(
    parts: AsyncGenerator[dict[str, Any]], name: str, model: str, *, usage: bool
) -> AsyncGenerator[bytes]:
    async with aclosing(parts):
        async for part in parts:
            if not usage:
                part.pop("usage", None)
                if not part.get("choices"):
                    continue
            yield event(None, {**_chunk(model, {}, None), **part, "id": name})
    yield DONE


async def _whole(parts: AsyncGenerator[dict[str, Any]], name: str, model: str) -> dict[str, Any]:
    """Put the chunks of a reply together."""
    message: dict[str, Any] = {"role": "assistant", "content": None}
    whole: dict[str, Any] = {"id": name, "object": "chat.completion", "created": int(clock.time()), "model": model}
    finish = None
    async for part in parts:
        whole |= {key: part[key] for key in ("model", "usage", "retrieved") if part.get(key) is not None}
        for choice in part.get("choices", ()):
            delta = choice.get("delta") or {}
            finish = choice.get("finish_reason") or finish
            for key in ("content", "refusal", "reasoning_content"):
                if delta.get(key) is not None:
                    message[key] = (message.get(key) or "") + delta[key]
            for call in delta.get("tool_calls") or ():
                _join(message.setdefault("tool_calls", []), call)
    return {**whole, "choices": [{"index": 0, "message": message, "finish_reason": finish or "stop", "logprobs": None}]}


def _join(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    """Add a piece of a call of a tool to the calls so far."""
    index = int(part.get("index") or 0)
    while len(calls) <= index < 128:
        calls.append({"id": "", "type": "function", "function": {"name": "", "arguments": ""}})
    if index >= len(calls):
        return
    call, function = calls[index], part.get("function") or {}
    call["id"] = part.get("id") or call["id"]
    for name in ("name", "arguments"):
        call["function"][name] += function.get(name) or ""


def _chunk(model: str, delta: dict[str, JsonValue], finish: str | None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"object": "chat.completion.chunk", "created": int(clock.time()), "model": model, "choices": [choice]}


def _barred(memory: str) -> str:
    return "\n".join(f"| {line}" for line in memory.splitlines()) or "| (empty)"


def _text(message: ChatMessage) -> str:
    return message_text(message.content)
