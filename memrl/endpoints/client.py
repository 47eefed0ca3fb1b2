"""A model behind an OpenAI-compatible endpoint: the transport of the reader and of the judge.

Invariant: what comes back is an answer of the model, or an error is raised. No failure ever becomes a text: a refused
or cut connection, a timeout, an error page, a reply without an answer are asked again until `retries` are used up.

The library of the client is imported where a client is opened: it costs a second, and most runs ask no endpoint.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from memrl.config import EndpointConfig
from memrl.config.keys import hide, read_key, without
from memrl.endpoints.cache import AnswerCache, CachedAnswer, Role, open_cache, request_key
from memrl.envs.tools import clean_text
from memrl.errors import ConfigError, EngineError, InfrastructureError, JudgeError, ReaderError

if TYPE_CHECKING:
    from openai import APIConnectionError, APIStatusError, AsyncOpenAI

Messages = Sequence[Mapping[str, str]]
ERRORS: dict[Role, type[InfrastructureError]] = {"reader": ReaderError, "judge": JudgeError, "sft": EngineError}
CALLED: dict[Role, str] = {"reader": "reader", "judge": "judge", "sft": "teacher"}
FIRST_DELAY, LONGEST_DELAY = 0.5, 8.0
"""Seconds before a reply without an answer is asked for again: the delays of the client, which retries all else."""
REFUSES = ("unsupported", "not supported", "does not support", "not permitted", "deprecated")
"""Words by which a server says that its model takes no such setting."""
SHOWN = 300
"""Characters of a server's own words in a message."""


LONGEST_TOKEN = 256
"""Characters; the longest in vocabularies are runs of white space and of dashes."""
LEAST_TEXT = 1024
"""Characters that are taken for however few tokens."""
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """A reply of the model, and its cost."""

    text: str
    prompt_tokens: int
    completion_tokens: int
    attempts: int
    """Requests that were sent for it; 0: it was in the cache."""


@dataclass(frozen=True)
class _Form:
    """The settings by which a model is asked to answer briefly and always alike. Models that reason may take neither:
    they count their thoughts in `max_completion_tokens`, and choose their temperature themselves."""

    length: str = "max_tokens"
    temperature: bool = True

    def settings(self, max_tokens: int) -> dict[str, float]:
        return {self.length: max_tokens, **({"temperature": 0.0} if self.temperature else {})}

    def without(self, error: APIStatusError) -> _Form | None:
        """Return the form that a refusal asks for; None where it is about something else."""
        says = f"{getattr(error, 'param', '')} {getattr(error, 'code', '')} {error.message}".lower()
        if error.status_code not in {400, 422} or not any(word in says for word in REFUSES):
            return None
        if self.length == "max_tokens" and "max_completion_tokens" in says:
            return replace(self, length="max_completion_tokens")
        return replace(self, temperature=False) if self.temperature and "temperature" in says else None

    def differs(self, other: _Form) -> str:
        """Return the name of what the other does without."""
        return self.length if self.length != other.length else "temperature"

    def told(self) -> str:
        return f"{self.length} and {'temperature 0' if self.temperature else 'no temperature: answers may vary'}"


class _Unanswered(Exception):
    """The reason why there is no answer, and what to do; `permanent` is what no patience mends."""

    def __init__(self, why: str, *, permanent: bool = False) -> None:
        super().__init__(why)
        self.permanent = permanent


def open_client(url: str | None, key: str, *, timeout: float, retries: int) -> AsyncOpenAI:
    """A client of an OpenAI-compatible server; `key` empty: the server wants none.

    Args:
        timeout: seconds for one request, its whole reply included.
    """
    from openai import AsyncOpenAI, DefaultAsyncHttpxClient

    from memrl.endpoints.transport import BoundedTransport

    return AsyncOpenAI(
        base_url=url,
        api_key=key or "none",
        admin_api_key="",  # else the client looks for one in the environment
        timeout=timeout,
        max_retries=retries,
        default_headers={"Accept-Encoding": "identity"},
        http_client=DefaultAsyncHttpxClient(transport=BoundedTransport(timeout, url), timeout=timeout),
    )


def shown(text: str, key: str) -> str:
    """A server's own words for a message: on one line, not too many, and without `key`."""
    return hide(" ".join(clean_text(text).split()), key)[:SHOWN].rstrip(".")


class Endpoint:
    """Asks one model for chat completions at temperature 0.

    One object serves a process and its event loop, and limits the requests of both together.

    Args:
        config: where, which model, and with how much patience.
        role: whose model it is; decides the errors' class and the settings that they name.
        cache: answers that were given before; None asks each time.

    Raises:
        ConfigError: the variable that is to hold the key is not set here.
    """

    def __init__(self, config: EndpointConfig, role: Role, cache: AnswerCache | None = None) -> None:
        self._config = config
        self._role = role
        self._cache = cache
        self._key = read_key(config.api_key_env) if config.api_key_env else ""
        self._client = open_client(config.url, self._key, timeout=config.timeout, retries=config.retries)
        self._slots = asyncio.Semaphore(config.max_concurrency)
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._answered = self._gave_up = 0.0  # moments
        self._why_gave_up = ""
        self._asked_for = _Form()

    async def complete(
        self,
        messages: Messages,
        max_tokens: int,
        *,
        accept: Callable[[str], object] | None = None,
        fresh: bool = False,
    ) -> Reply:
        """The model's answer, from the cache where it has been given before.

        Args:
            accept: raises on a text that is of no use, which is then not kept.
            fresh: ask, whatever is in the cache, and keep nothing.

        Raises:
            ReaderError, JudgeError, EngineError: there is none.
        """
        arrived = time.monotonic()
        try:
            if self._cache is None or fresh:
                reply = await self._ask(messages, max_tokens, arrived)
                if accept is not None:
                    accept(reply.text)
                return reply
            key = request_key(str(self._config.model), messages, max_tokens)
            lock = self._asking.setdefault(key, asyncio.Lock())
            async with lock:  # equal memories meet the same questions at the same time: one of them asks
                found = self._cache.get(key)
                if found is not None:
                    return Reply(found.text, found.prompt_tokens, found.completion_tokens, attempts=0)
                reply = await self._ask(messages, max_tokens, arrived)
                if accept is not None:
                    accept(reply.text)
                self._cache.put(key, CachedAnswer(reply.text, reply.prompt_tokens, reply.completion_tokens))
                return reply
        except _Unanswered as failure:
            raise ERRORS[self._role](str(failure)) from None

    async def rehearse(self, messages: Messages, max_tokens: int) -> None:
        """Ask once, before anything slow begins.

        Raises:
            ConfigError: the endpoint refuses, or the model says nothing in so few tokens.
            ReaderError, JudgeError, EngineError: nobody answers.
        """
        try:
            reply = await self._ask(messages, max_tokens, time.monotonic())
        except _Unanswered as failure:
            raise (ConfigError if failure.permanent else ERRORS[self._role])(str(failure)) from None
        if not reply.text.strip():
            raise ConfigError(
                f"{self._place()} answers with an empty text. A model that thinks first needs a larger "
                f"{self._role}.max_tokens, or its thinking turned off on the server."
            )

    async def close(self) -> None:
        """Close all connections and the cache."""
        await self._client.close()
        if self._cache is not None:
            self._cache.close()

    async def _ask(self, messages: Messages, max_tokens: int, arrived: float) -> Reply:
        async with self._slots:
            if self._gave_up > max(arrived, self._answered):
                # Somebody's patience ran out while this one waited in line, and nobody was answered since. To let each
                # of a thousand find out for itself would take hours.
                raise _Unanswered(self._why_gave_up)
            began = time.monotonic()
            try:
                reply = await self._request(messages, max_tokens)
            except _Unanswered as failure:
                if not failure.permanent and self._answered < began:
                    self._gave_up, self._why_gave_up = time.monotonic(), str(failure)
                raise
            self._answered = time.monotonic()
            return reply

    async def _request(self, messages: Messages, max_tokens: int) -> Reply:
        """Send it until there is an answer: `retries` is the patience of the client and of this loop together."""
        from openai import APIConnectionError, APIStatusError, OpenAIError

        from memrl.endpoints.transport import Elsewhere, TooMuch

        patience = self._config.retries
        attempts = 0
        while True:
            form = self._asked_for
            try:
                client: Any = self._client.with_options(max_retries=patience - attempts)
                raw = await client.chat.completions.with_raw_response.create(
                    model=self._config.model, messages=_defused(messages), **form.settings(max_tokens)
                )
            except APIStatusError as error:
                if self._takes_another_form(form, error):
                    continue
                raise self._refused(error) from None
            except Elsewhere as error:
                remedy = f"Name the host that is meant in {self._role}.endpoint.url."
                raise _Unanswered(f"{self._place()}: {error}. {remedy}", permanent=True) from None
            except TooMuch as error:
                attempts += 1
                useless: Exception = error
            except APIConnectionError as error:
                raise self._unreachable(error) from None
            except OpenAIError as error:
                raise _Unanswered(f"{self._place()}: {self._shown(str(error))}") from None
            else:
                attempts += int(raw.retries_taken) + 1
                try:
                    text, prompt_tokens, completion_tokens = _read(raw.content, max_tokens)
                    return Reply(without(text, self._key), prompt_tokens, completion_tokens, attempts)
                except ValueError as error:
                    useless = error
            if attempts > patience:
                raise _Unanswered(
                    f"{self._place()} sent no answer in {attempts} attempts: {self._shown(str(useless))}. See the "
                    f"server's log, and whether {self._role}.endpoint.url is such an endpoint; then --resume."
                )
            await asyncio.sleep(min(FIRST_DELAY * 2 ** (attempts - 1), LONGEST_DELAY) * random.uniform(0.75, 1.0))

    def _takes_another_form(self, form: _Form, error: APIStatusError) -> bool:
        """Return whether to ask again in another form: the model refuses this one, or did so to somebody else."""
        if self._asked_for is form and (other := form.without(error)) is not None:
            self._asked_for = other
            log.warning("%s takes no %s; it is asked with %s", self._place(), form.differs(other), other.told())
        return error.status_code in {400, 422} and self._asked_for is not form

    # What went wrong, and what to do ----------------------------------------------------------------------------

    def _place(self) -> str:
        return f"the {CALLED[self._role]}'s endpoint {self._config.url} (model {self._config.model!r})"

    def _shown(self, text: str) -> str:
        return shown(text, self._key)

    def _refused(self, error: APIStatusError) -> _Unanswered:
        code = error.status_code
        says = f"{self._place()} answered {code} ({self._shown(error.message)})"
        if code in {408, 409, 429} or code >= 500:
            return _Unanswered(
                f"{says} after {self._patience()}. See the server's log; a lower {self._role}.endpoint.max_concurrency "
                "asks less at once. Then go on with --resume."
            )
        return _Unanswered(f"{says}. {self._remedy(code)}", permanent=True)

    def _remedy(self, code: int) -> str:
        section, variable = f"{self._role}.endpoint", self._config.api_key_env
        if code in {401, 403} and variable is None:
            return f"It wants a key: put it into an environment variable and name that one by {section}.api_key_env."
        if code == 401:
            return f"The key in {variable} ({section}.api_key_env) is not valid there."
        if code == 403:
            return f"The key in {variable} ({section}.api_key_env) may not use this model."
        if code == 404:
            return (
                f"Check {section}.model against the names that GET {self._config.url}/models lists, and {section}.url, "
                "which usually ends in /v1."
            )
        return (
            f"Check {section}.model and {self._role}.max_tokens; where the prompt is too long for the model, lower "
            "memory.retrieve_budget."
        )

    def _unreachable(self, error: APIConnectionError) -> _Unanswered:
        from openai import APITimeoutError

        if isinstance(error, APITimeoutError):
            why = f"no answer within {self._config.timeout:g} s, {self._role}.endpoint.timeout"
        else:
            why = self._shown(str(error.__cause__ or error))
        return _Unanswered(
            f"nobody answers at {self._place()} after {self._patience()} ({why}). Start the server, or correct "
            f"{self._role}.endpoint.url; a run that has begun goes on with --resume."
        )

    def _patience(self) -> str:
        count = self._config.retries + 1
        return f"{count} attempt{'s' if count > 1 else ''}"


def _defused(messages: Messages) -> Any:
    """Marks of chat templates, in the form most models use, broken up: no text of a memory may end its turn."""
    return [{**message, "content": message["content"].replace("<|", "< |")} for message in messages]


def _read(body: bytes, max_tokens: int) -> tuple[str, int, int]:
    """Text, prompt tokens and completion tokens of a chat completion. One that was cut by its length is an answer.

    Args:
        max_tokens: that were asked for; a text longer than any that has so many is none.

    Raises:
        ValueError: there is no answer in it.
    """
    try:
        data = json.loads(body)
    except (ValueError, RecursionError):
        raise ValueError(f"the body is no JSON: {body.decode(errors='replace')!r}") from None
    try:
        choice = data["choices"][0]
        text, reason = choice["message"]["content"], choice.get("finish_reason")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ValueError(f"the reply has no choices: {json.dumps(data)}") from None
    if reason == "content_filter":
        raise ValueError("a content filter kept the answer back")
    if not isinstance(text, str):
        raise ValueError(f"the reply's content is {text!r} (finish_reason {reason!r})")
    if len(text) > max(LEAST_TEXT, LONGEST_TOKEN * max_tokens):
        raise ValueError(f"the reply's text has {len(text)} characters, for at most {max_tokens} tokens")
    usage = data.get("usage")
    used = usage if isinstance(usage, dict) else {}
    return clean_text(text), _count(used.get("prompt_tokens")), _count(used.get("completion_tokens"))


def _count(value: Any) -> int:
    return value if isinstance(value, int) else 0


def open_endpoint(config: EndpointConfig, role: Role, run_dir: str | None) -> Endpoint:
    """The endpoint of the reader, the judge or the teacher, with its cache.

    Raises:
        ConfigError: its key is not in this machine's environment.
    """
    return Endpoint(config, role, open_cache(config, role, run_dir))
