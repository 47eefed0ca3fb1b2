"""A policy on somebody else's server: the same prompts, ids and memories as with the model in this process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from memrl import MemoryAgent, Served
from memrl.errors import ConfigError, EngineError
from tests.completions_server import CompletionsServer

TEXTS = ("Nora lives in Bern. It rained.", "Karl has a dog. The bus was late.", "Nora works as a baker.")


@pytest.fixture(scope="module", params=["ids and text", "text alone"])
def server(request: pytest.FixtureRequest, exported_policy: Path) -> Iterator[CompletionsServer]:
    found = CompletionsServer(exported_policy / "adapter", ids=request.param == "ids and text")
    yield found
    found.stop()


def test_a_served_policy_is_the_policy(server: CompletionsServer, exported_policy: Path, tmp_path: Path) -> None:
    served = Served(server.url, policy="memory", base="base")
    folder = exported_policy / "adapter"
    with (
        MemoryAgent.open(folder, store=tmp_path / "here.sqlite", device="cpu") as here,
        MemoryAgent.open(folder, store=tmp_path / "there.sqlite", served=served) as there,
    ):
        for text in TEXTS:
            assert there.read(text) == here.read(text)
        assert there.memory == here.memory != ()
        assert there.ask("Where does Nora live?") == here.ask("Where does Nora live?")
    assert all(type(token) is int for prompt in server.prompts for token in prompt)


def test_what_is_wrong_with_a_server_is_named(
    server: CompletionsServer, exported_policy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = exported_policy / "adapter"
    for served, kind, message in (
        (
            Served(server.url, policy="nobody", base="base"),
            EngineError,
            "serves no model 'nobody'; it serves base, mem",
        ),
        (Served(server.url, policy="memory", base="else"), EngineError, "serves no model 'else'"),
        (
            Served("http://127.0.0.1:9/v1", policy="memory", retries=0),
            EngineError,
            "nobody answers at http://127.0.0.1",
        ),
        (Served(server.url, policy="memory", api_key_env="MEMRL_NO_KEY"), ConfigError, "MEMRL_NO_KEY is not set"),
    ):
        with pytest.raises(kind, match=message):
            MemoryAgent.open(folder, store=tmp_path / "m.sqlite", served=served)
    with MemoryAgent.open(folder, store=tmp_path / "m.sqlite", served=Served(server.url, "memory", "base")) as agent:
        monkeypatch.setattr(CompletionsServer, "complete", lambda *_: (400, {"error": {"message": "too long"}}))
        with pytest.raises(EngineError, match=r"refused the request \(.*too long"):
            agent.read(TEXTS[0])
        assert agent.memory == ()
