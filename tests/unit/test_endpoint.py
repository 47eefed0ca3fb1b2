"""The transport to a model behind an endpoint: an answer of the model or an error, never anything in between."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai._base_client
import pytest

import memrl.endpoints.client
from memrl.config import EndpointConfig
from memrl.endpoints.cache import AnswerCache
from memrl.endpoints.client import Endpoint, Reply, Role
from memrl.errors import ConfigError, JudgeError, ReaderError
from memrl.frozen.reader import EndpointReader
from tests.openai_server import BODIES, OpenAIServer

KEY = "sk-test-4f9a0c1e7b22d358"
VARIABLE = "MEMRL_TEST_KEY"
TRANSIENT = ["408", "409", "429", "500", "503", "truncated", "reset", "stall", *BODIES]
PERMANENT = {
    "400": r"reader\.max_tokens; where the prompt is too long for the model, lower memory\.retrieve_budget",
    "401": r"The key in MEMRL_TEST_KEY \(reader\.endpoint\.api_key_env\) is not valid there",
    "403": r"may not use this model",
    "404": r"Check reader\.endpoint\.model against the names that GET http\S+/models lists",
    "422": r"Check reader\.endpoint\.model",
}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses of hundredths of a second."""
    for module, name in (
        (openai._base_client, "INITIAL_RETRY_DELAY"),
        (openai._base_client, "MAX_RETRY_DELAY"),
        (memrl.endpoints.client, "FIRST_DELAY"),
        (memrl.endpoints.client, "LONGEST_DELAY"),
    ):
        monkeypatch.setattr(module, name, 0.02)
    monkeypatch.setenv(VARIABLE, KEY)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    running = OpenAIServer(key=KEY)
    yield running
    running.stop()


def settings(server: OpenAIServer, **changes: Any) -> EndpointConfig:
    given = {"url": server.url, "model": server.model, "api_key_env": VARIABLE, "timeout": 30.0, "retries": 2}
    return EndpointConfig(**{**given, **changes})


def prompt(question: str, memory: str = "Ada lives in Paris\nBob lives in Rome") -> list[dict[str, str]]:
    return [
        {"role": "system", "content": "Answer."},
        {"role": "user", "content": f"# Memory\n{memory}\n# Question\n{question}"},
    ]


def ask(
    config: EndpointConfig, *questions: str, role: Role = "reader", cache: AnswerCache | None = None
) -> list[Reply | BaseException]:
    """All questions at once."""

    async def all_of_them() -> list[Reply | BaseException]:
        endpoint = Endpoint(config, role, cache)
        try:
            asked = [endpoint.complete(prompt(question), 16) for question in questions]
            return await asyncio.gather(*asked, return_exceptions=True)
        finally:
            await endpoint.close()

    return asyncio.run(all_of_them())


WHERE = "where does Bob live?"
BOB = Reply("Bob lives in Rome", prompt_tokens=10, completion_tokens=4, attempts=1)


def test_an_answer_comes_with_its_cost_at_temperature_zero(server: OpenAIServer) -> None:
    assert ask(settings(server), WHERE) == [BOB]
    [request] = server.requests
    assert (request["model"], request["temperature"], request["max_tokens"]) == (server.model, 0.0, 16)


def test_an_answer_that_was_cut_by_its_length_is_an_answer(server: OpenAIServer) -> None:
    server.always = "length"
    assert ask(settings(server), WHERE) == [BOB]


@pytest.mark.long
@pytest.mark.parametrize("fault", TRANSIENT)
def test_what_may_pass_is_asked_again(server: OpenAIServer, fault: str) -> None:
    server.faults.extend([fault, fault])
    [reply] = ask(settings(server, timeout=1.0 if fault == "stall" else 30.0), WHERE)
    assert reply == Reply(BOB.text, BOB.prompt_tokens, BOB.completion_tokens, attempts=3)
    assert len(server.requests) == 3


@pytest.mark.long
@pytest.mark.parametrize(
    ("fault", "role"), [*((fault, "reader") for fault in TRANSIENT), ("500", "judge"), ("stall", "judge")]
)
def test_what_does_not_pass_is_an_error_of_the_role_and_no_answer(
    server: OpenAIServer, tmp_path: Path, fault: str, role: Role
) -> None:
    server.always = fault
    cache = AnswerCache(tmp_path)
    timeout = 0.2 if fault == "stall" else 30.0
    [error] = ask(settings(server, retries=1, timeout=timeout), WHERE, role=role, cache=cache)
    assert type(error) is {"reader": ReaderError, "judge": JudgeError}[role]
    assert f"the {role}'s endpoint {server.url} (model 'small-reader')" in str(error)
    assert "2 attempts" in str(error)
    assert "--resume" in str(error)
    assert KEY not in str(error)
    assert len(server.requests) == 2
    server.always = None
    [reply] = ask(settings(server), WHERE, cache=cache)
    assert reply == BOB  # asked: nothing was kept of the failure


@pytest.mark.long
def test_kinds_of_failure_share_one_patience(server: OpenAIServer) -> None:
    server.faults.extend(["500", "garbage", "reset", "no choices"])
    [reply] = ask(settings(server, retries=4), WHERE)
    assert isinstance(reply, Reply)
    assert reply.attempts == 5
    server.faults.extend(["500", "garbage", "reset", "no choices"])
    [error] = ask(settings(server, retries=3), WHERE)
    assert isinstance(error, ReaderError)
    assert "sent no answer in 4 attempts: the reply has no choices" in str(error)


@pytest.mark.long
def test_the_server_says_how_long_to_wait(server: OpenAIServer) -> None:
    server.faults.append("429")
    began = time.monotonic()
    [reply] = ask(settings(server), WHERE)
    assert isinstance(reply, Reply)
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize("status", PERMANENT)
def test_what_no_patience_mends_is_said_at_once_with_the_remedy(server: OpenAIServer, status: str) -> None:
    server.always = status
    [error] = ask(settings(server), WHERE)
    assert isinstance(error, ReaderError)
    assert len(server.requests) == 1
    assert f"answered {status} (Error code: {status}" in str(error)
    assert KEY not in str(error)
    assert "you sent Bearer ***" in str(error)
    with pytest.raises(ReaderError, match=PERMANENT[status]):
        raise error


def test_a_server_that_wants_a_key_nobody_named(server: OpenAIServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, KEY)  # not the one that was named, so not to be used
    [error] = ask(settings(server, api_key_env=None), WHERE)
    assert "name that one by reader.endpoint.api_key_env" in str(error)


def test_nobody_there(server: OpenAIServer) -> None:
    server.stop()
    [error] = ask(settings(server), WHERE)
    assert isinstance(error, ReaderError)
    assert "nobody answers at" in str(error)
    assert "Start the server, or correct reader.endpoint.url" in str(error)


def test_an_answer_that_repeats_the_key_is_kept_without_it(server: OpenAIServer, tmp_path: Path) -> None:
    server.answer = lambda memory, question: f"my key is {KEY}"
    cache = AnswerCache(tmp_path)
    [reply] = ask(settings(server), WHERE, cache=cache)
    assert isinstance(reply, Reply)
    assert reply.text == "my key is ***"
    assert KEY.encode() not in cache.path.read_bytes()


@pytest.mark.parametrize("value", ["", "  ", "two words", "clé-secrète-0123"])
def test_a_key_that_is_missing_or_none_is_refused_by_name(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=f"the environment variable {VARIABLE}") as caught:
        Endpoint(settings(server), "reader")
    assert not value.strip() or value not in str(caught.value)


def test_marks_of_a_chat_template_in_a_memory_are_broken_up(server: OpenAIServer) -> None:
    async def said() -> Reply:
        endpoint = Endpoint(settings(server), "reader")
        reply = await endpoint.complete(prompt(WHERE, "Bob lives in Rome <|im_end|>"), 16)
        await endpoint.close()
        return reply

    assert asyncio.run(said()).text == "Bob lives in Rome < |im_end|>"


def test_a_lone_surrogate_in_an_answer_can_be_saved(server: OpenAIServer) -> None:
    server.answer = lambda memory, question: "half \ud800"
    [reply] = ask(settings(server), WHERE)
    assert isinstance(reply, Reply)
    assert reply.text == "half ?"


# What it may cost --------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("fault", ["drip", "drip head"])
def test_a_reply_that_drips_has_the_time_of_a_request(server: OpenAIServer, fault: str) -> None:
    server.always = fault
    began = time.monotonic()
    [error] = ask(settings(server, timeout=0.6, retries=1), WHERE)
    assert isinstance(error, ReaderError)
    assert "after 2 attempts (no answer within 0.6 s, reader.endpoint.timeout)" in str(error)
    assert time.monotonic() - began < 10  # at 20 bytes a second it would take an hour to be too large


def test_a_reply_without_an_end_is_not_held(server: OpenAIServer) -> None:
    server.always = "endless"
    [error] = ask(settings(server, retries=0), WHERE)
    assert isinstance(error, ReaderError) and "bytes, which no answer to this request needs" in str(error)
    assert server.poured < 20_000_000  # what buffers between the two took; the client held the bound


def test_an_answer_longer_than_its_tokens_can_be_is_none(server: OpenAIServer) -> None:
    server.answer = lambda memory, question: "x" * 10_000_000
    [error] = ask(settings(server, retries=0), WHERE)
    assert isinstance(error, ReaderError) and "which no answer to this request needs" in str(error)
    server.answer = lambda memory, question: "x" * 5000  # 16 tokens were asked for
    [error] = ask(settings(server, retries=0), WHERE)
    assert isinstance(error, ReaderError) and "5000 characters, for at most 16 tokens" in str(error)
    server.answer = lambda memory, question: "\u4e2d" * 4000
    [error] = ask(settings(server, retries=0), WHERE)  # 4096 characters may be 16 tokens
    assert isinstance(error, Reply)


def test_a_compressed_reply_is_not_unpacked(server: OpenAIServer) -> None:
    server.always = "packed"
    [error] = ask(settings(server, retries=0), WHERE)
    assert isinstance(error, ReaderError) and "compressed, which nobody asked for" in str(error)


def test_no_text_follows_a_redirect_to_another_host(server: OpenAIServer) -> None:
    other = OpenAIServer(key=KEY)
    try:
        for target in (other.url, other.url.replace("127.0.0.1", "localhost"), "https://127.0.0.1:1/v1", "http://[::1"):
            server.faults.append(f"{target}/chat/completions")
            [error] = ask(settings(server), WHERE)
            assert isinstance(error, ReaderError) and "sends the request on to" in str(error)
            assert "reader.endpoint.url" in str(error)
        assert other.requests == []
        server.faults.append(f"{server.url}/chat/completions")
        assert ask(settings(server), WHERE) == [BOB]
        server.faults.append(f"{other.url}/chat/completions")
        with pytest.raises(ConfigError, match="another host"):
            rehearse(settings(server))
    finally:
        other.stop()


def test_a_proxy_of_the_environment_is_used_but_where_it_is_not_to_be(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "127.0.0.1")
    assert ask(settings(server), WHERE) == [BOB]
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "elsewhere.example")
    [error] = ask(settings(server, retries=0), WHERE)
    assert isinstance(error, ReaderError) and len(server.requests) == 1


def test_models_that_take_no_max_tokens_or_temperature_get_what_they_take(
    server: OpenAIServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.refuses = {
        "max_tokens": "Unsupported parameter: 'max_tokens' is not supported with this model. Use "
        "'max_completion_tokens' instead.",
        "temperature": "Unsupported value: 'temperature' does not support 0.0 with this model.",
    }
    first, *others = ask(settings(server, max_concurrency=1), WHERE, WHERE, WHERE)
    assert isinstance(first, Reply) and first.text == BOB.text
    assert others == [BOB, BOB]
    assert len(server.requests) == 5  # learnt once
    last = server.requests[-1]
    assert last["max_completion_tokens"] == 16 and not {"max_tokens", "temperature"} & set(last)
    assert caplog.text.count("takes no max_tokens") == caplog.text.count("takes no temperature") == 1
    server.requests.clear()
    assert all(isinstance(reply, Reply) for reply in ask(settings(server), *[WHERE] * 8))  # all refused at once


def test_a_prompt_too_long_is_not_taken_for_a_model_without_max_tokens(server: OpenAIServer) -> None:
    server.refuses = {"max_tokens": "'max_tokens' or 'max_completion_tokens' is too large: 16. Shorten the prompt."}
    [error] = ask(settings(server), WHERE)
    assert isinstance(error, ReaderError) and len(server.requests) == 1


# Many at once -------------------------------------------------------------------------------------------------------


@pytest.mark.long
def test_never_more_requests_at_once_than_allowed(server: OpenAIServer) -> None:
    server.delay = 0.05
    replies = ask(settings(server, max_concurrency=3), *(f"question {number}" for number in range(20)))
    assert all(isinstance(reply, Reply) for reply in replies)
    assert server.most == 3
    assert len(server.requests) == 20


def test_equal_questions_at_once_are_asked_once(server: OpenAIServer, tmp_path: Path) -> None:
    server.delay = 0.05
    replies = ask(settings(server), *[WHERE] * 6, cache=AnswerCache(tmp_path))
    assert len(server.requests) == 1
    assert sorted(reply.attempts for reply in replies if isinstance(reply, Reply)) == [0, 0, 0, 0, 0, 1]
    assert {reply.text for reply in replies if isinstance(reply, Reply)} == {BOB.text}


@pytest.mark.long
def test_who_waited_while_nobody_was_answered_does_not_wait_again(server: OpenAIServer, tmp_path: Path) -> None:
    server.always = "stall"
    began = time.monotonic()
    questions = [f"question {number}" for number in range(30)] + ["the same"] * 10
    config = settings(server, max_concurrency=2, timeout=0.2, retries=1)
    errors = ask(config, *questions, cache=AnswerCache(tmp_path))
    assert all(isinstance(error, ReaderError) for error in errors)
    assert time.monotonic() - began < 5  # one after the other: 8 s
    assert len(server.requests) <= 8


@pytest.mark.long
def test_one_question_that_fails_takes_no_other_along(server: OpenAIServer) -> None:
    server.faults.append("stall")
    replies = ask(
        settings(server, timeout=1.0, retries=0, max_concurrency=2), *(f"question {number}" for number in range(12))
    )
    assert sum(isinstance(reply, ReaderError) for reply in replies) == 1


@pytest.mark.long
def test_a_busy_event_loop_is_not_mistaken_for_a_timeout(server: OpenAIServer) -> None:
    """The engine generates in the event loop's own thread, for longer than a request may take."""
    server.delay = 0.1

    async def asked() -> Reply:
        endpoint = Endpoint(settings(server, timeout=0.5), "reader")
        answer = asyncio.ensure_future(endpoint.complete(prompt(WHERE), 16))
        while not server.requests:
            await asyncio.sleep(0.01)
        time.sleep(1.0)
        reply = await answer
        await endpoint.close()
        return reply

    assert asyncio.run(asked()) == BOB


# Rehearsal ----------------------------------------------------------------------------------------------------------


def rehearse(config: EndpointConfig, role: Role = "reader") -> None:
    async def once() -> None:
        endpoint = Endpoint(config, role)
        try:
            await endpoint.rehearse(prompt(WHERE), 16)
        finally:
            await endpoint.close()

    asyncio.run(once())


@pytest.mark.long
def test_a_rehearsal_tells_what_is_wrong_with_the_config_from_what_is_down(server: OpenAIServer) -> None:
    rehearse(settings(server))
    for status in ("400", "401", "403", "404"):
        server.faults.append(status)
        with pytest.raises(ConfigError, match=f"answered {status}"):
            rehearse(settings(server))
    server.answer = lambda memory, question: " "
    with pytest.raises(ConfigError, match=r"empty text.*reader\.max_tokens"):
        rehearse(settings(server))
    server.stop()
    with pytest.raises(ReaderError, match="nobody answers"):
        rehearse(settings(server))
    with pytest.raises(JudgeError, match="judge"):
        rehearse(settings(server), "judge")


@pytest.mark.long
def test_an_address_that_takes_connections_and_says_nothing(server: OpenAIServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = settings(server, url=f"http://127.0.0.1:{silent.getsockname()[1]}/v1", timeout=0.2, retries=0)
        with pytest.raises(ReaderError, match=r"after 1 attempt \(no answer within 0\.2 s, reader\.endpoint\.timeout"):
            rehearse(config)


def test_the_readers_prompt_is_the_one_of_the_other_readers(server: OpenAIServer) -> None:
    from memrl.config import ReaderConfig
    from memrl.envs.designs.stores import StoreMemory
    from memrl.envs.stream import Question
    from memrl.envs.tools import ToolCall
    from memrl.frozen.reader import reader_messages

    memory = StoreMemory(budget=100, core_budget=20)
    memory.execute(ToolCall(name="memory_insert", arguments={"memory_type": "semantic", "content": "Bob is in Rome."}))
    question = Question(id="q1", text="Where is Bob?", answers=("Rome",))

    async def answered() -> Any:
        endpoint = Endpoint(settings(server), "reader")
        answer = await EndpointReader(ReaderConfig(max_tokens=9), 50, endpoint).answer(question, memory)
        await endpoint.close()
        return answer

    answer = asyncio.run(answered())
    assert answer.text.endswith("Bob is in Rome.")
    assert (len(answer.retrieved), answer.attempts) == (1, 1)
    [request] = server.requests
    assert request["messages"] == reader_messages(question.text, memory.retrieve(question.text, 50), ReaderConfig())
    assert request["max_tokens"] == 9
