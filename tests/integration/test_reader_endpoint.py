"""A reader behind a real HTTP server that goes away. MEMRL_WRITE_DOCS=1 writes the outcomes to docs/reliability.md."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openai._base_client
import pytest
import ray
import zstandard
from ray.cluster_utils import Cluster

import memrl.endpoints.client
import memrl.learner.build
from memrl.cli import main as cli
from memrl.data.feed import StreamFeed
from memrl.engines.engine import Place
from memrl.errors import ConfigError
from memrl.frozen.costs import COUNTS
from memrl.learner.build import build_learner
from memrl.rollout.build import open_pool
from memrl.rollout.worker import RolloutWorker
from memrl.storage.rundir import EpisodeWriter
from memrl.training.trainer import Trainer
from tests.openai_server import Answerer, OpenAIServer
from tests.support import CONFIG, ROOT, Outcomes, overrides, quiet, rows, small_config

KEY = "sk-test-4f9a0c1e7b22d358"
VARIABLE = "MEMRL_TEST_KEY"
STRUCK = 1
"""The trainer's step (0-based) in which the endpoint goes away."""


@pytest.fixture(scope="module", autouse=True)
def surroundings() -> Iterator[None]:
    """The key, and pauses of at most a tenth of a second."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, KEY)
        for module, names in (
            (openai._base_client, ("INITIAL_RETRY_DELAY", "MAX_RETRY_DELAY")),
            (memrl.endpoints.client, ("FIRST_DELAY", "LONGEST_DELAY")),
        ):
            for name in names:
                patch.setattr(module, name, 0.1)
        yield


@pytest.fixture(scope="module")
def known(quick_model: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The answers that each question has in some stream."""
    config = small_config(quick_model, tmp_path_factory.mktemp("answers"))
    found: defaultdict[str, list[str]] = defaultdict(list)
    for specs, seed in ((config.data.train, config.seed), (config.data.eval, config.eval.seed)):
        for stream in StreamFeed(specs, None, seed).take(32):
            for question in stream.questions:
                found[question.text].append(question.answers[0])
    return dict(found)


@pytest.fixture(scope="module")
def answer(known: dict[str, list[str]]) -> Answerer:
    """Right for some prompts and wrong for others, always the same: what a stray text would change shows."""

    def choose(memory: str, question: str) -> str:
        draw = hashlib.sha256(f"{memory}/{question}".encode()).digest()[0]
        among = known.get(question, ["nothing"])
        return among[draw % len(among)]

    return choose


@pytest.fixture
def server(answer: Answerer) -> Iterator[OpenAIServer]:
    running = OpenAIServer(answer, key=KEY)
    yield running
    running.stop()


def at(server: OpenAIServer, **changes: Any) -> dict[str, Any]:
    """Settings of a reader there."""
    endpoint = {"url": server.url, "model": server.model, "api_key_env": VARIABLE, "retries": 2, **changes}
    return {"reader.type": "endpoint", **{f"reader.endpoint.{key}": value for key, value in endpoint.items()}}


def train(model: Path, folder: Path, settings: dict[str, Any], *words: str) -> int:
    return cli.main(["train", str(ROOT / CONFIG), *overrides(model, folder, settings), *words])


@pytest.fixture(scope="module")
def whole(quick_model: Path, tmp_path_factory: pytest.TempPathFactory, answer: Answerer) -> Iterator[Path]:
    """A run that nothing happened to."""
    running = OpenAIServer(answer, key=KEY)
    folder = tmp_path_factory.mktemp("whole") / "run"
    Trainer(small_config(quick_model, folder, at(running)), name="whole", resume=False, console=quiet()).run()
    running.stop()
    yield folder


def told(folder: Path) -> list[dict[str, Any]]:
    """The rows without what depends on how often a question had to be asked."""
    apart = {f"{prefix}{name}" for prefix in ("reader/", "eval/reader_") for name in ("cached", "retries")}
    return [{key: value for key, value in row.items() if key not in apart} for row in rows(folder)]


def summary(folder: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((folder / "summary.json").read_text())
    return read


def episodes(folder: Path, step: int) -> list[Any]:
    played = [episode.model_dump() for episode in EpisodeWriter(folder / "episodes").read(step)]
    for episode in played:
        for record in episode["answers"]:
            record.pop("attempts")
    return played


def strike(monkeypatch: pytest.MonkeyPatch, blow: Callable[[], None]) -> None:
    """Deal a blow once, when the reader is first asked in the step that is struck."""
    ask = RolloutWorker.ask
    dealt: list[bool] = []

    async def asked(self: RolloutWorker, source: str, question: Any, memory: Any, place: Place) -> Any:
        if place.step == STRUCK and not dealt:
            dealt.append(True)
            blow()
        return await ask(self, source, question, memory, place)

    monkeypatch.setattr(RolloutWorker, "ask", asked)


def check_hidden(folder: Path, *texts: str) -> None:
    """The key is in no file, packed or not, and in no text."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".sqlite" for path in files)
    assert any(path.suffix == ".zst" for path in files)
    for path in files:
        data = path.read_bytes()
        if path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().decompress(data)
        assert KEY.encode() not in data, path
    assert all(KEY not in text for text in texts)


def test_a_run_counts_what_its_reader_cost(whole: Path) -> None:
    first, *later = rows(whole)
    assert first["eval/reader_calls"] > 0
    assert "reader/calls" not in first
    for row in later:
        answers = [a for e in EpisodeWriter(whole / "episodes").read(row["step"]) for a in e.answers]
        assert row["reader/calls"] == len(answers) > 0
        assert row["reader/cached"] == sum(answer.attempts == 0 for answer in answers)
        assert row["reader/retries"] == 0
        assert row["reader/prompt_tokens"] == sum(answer.prompt_tokens for answer in answers) > 0
        assert row["tokens/reader"] == row["reader/prompt_tokens"] + row["reader/completion_tokens"]
    assert {answer.score for answer in answers} == {0.0, 1.0}  # so there is something that a stray text would change
    total = summary(whole)["reader"]
    assert total == {
        name: sum(row.get(f"reader/{name}", 0) + row.get(f"eval/reader_{name}", 0) for row in rows(whole))
        for name in COUNTS
    }


def test_an_endpoint_that_is_down_for_a_while_changes_nothing(
    quick_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    server: OpenAIServer,
    whole: Path,
    outcomes: Outcomes,
) -> None:
    caplog.set_level(logging.DEBUG)

    def blow() -> None:
        server.stop()
        server.faults.extend(["500", "429", "garbage", "truncated", "reset"])  # and then it comes back ailing
        threading.Timer(1.0, server.start).start()

    strike(monkeypatch, blow)
    folder = tmp_path / "run"
    config = small_config(quick_model, folder, at(server, retries=100))
    Trainer(config, name="struck", resume=False, console=quiet()).run()
    assert told(folder) == told(whole)
    assert all(episodes(folder, step) == episodes(whole, step) for step in (1, 2, 3))
    assert [row["reader/retries"] > 0 for row in rows(folder)[1:]] == [False, True, False]
    assert all(row["fail/episodes"] == row["fail/retries"] == 0 for row in rows(folder)[1:])
    retries = summary(folder)["reader"]["retries"]
    assert retries == rows(folder)[STRUCK + 1]["reader/retries"] >= 5
    check_hidden(folder, caplog.text)
    outcomes.append(
        (
            "reader's endpoint down for a second during a training run (port closed), then 500, 429, garbage, cuts",
            "asked again until it answers; the run ends as if nothing had been, no reward differs",
            f"{retries} requests repeated (`reader/retries`), 0 episodes played again",
        )
    )


def test_an_endpoint_that_stays_down_stops_the_run_which_can_be_resumed(
    quick_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    server: OpenAIServer,
    answer: Answerer,
    whole: Path,
    outcomes: Outcomes,
) -> None:
    folder = tmp_path / "run"
    with monkeypatch.context() as patch:
        strike(patch, server.stop)
        assert train(quick_model, folder, at(server)) == 1
    stopped = capsys.readouterr()
    message = " ".join(stopped.err.split())
    assert "8 of 8 episodes failed" in message
    assert f"nobody answers at the reader's endpoint {server.url} (model 'small-reader') after 3 attempts" in message
    assert "Start the server, or correct reader.endpoint.url; a run that has begun goes on with --resume" in message
    assert told(folder) == told(whole)[: STRUCK + 1]  # nothing of the step that was struck
    assert not EpisodeWriter(folder / "episodes").path(STRUCK + 1).exists()
    check_hidden(folder, stopped.err, stopped.out)

    with monkeypatch.context() as patch:
        patch.setattr(memrl.learner.build, "load_model", None)  # it is found out before that
        assert train(quick_model, folder, at(server), "--resume") == 1
    assert "nobody answers at the reader's endpoint" in " ".join(capsys.readouterr().err.split())

    elsewhere = OpenAIServer(answer, key=KEY)
    try:
        other = at(elsewhere, model="other-reader")
        assert train(quick_model, folder, other, "--resume") == 2
        assert "reader.endpoint.model: 'small-reader' then, 'other-reader' now" in capsys.readouterr().err
        moved = at(elsewhere, timeout=20.0, retries=3, max_concurrency=4, cache_dir=tmp_path / "answers")
        assert train(quick_model, folder, moved, "--resume") == 0
    finally:
        elsewhere.stop()
    assert elsewhere.most <= 4
    assert told(folder) == told(whole)
    same = ("calls", "prompt_tokens", "completion_tokens")
    assert [summary(folder)["reader"][name] for name in same] == [summary(whole)["reader"][name] for name in same]
    outcomes.append(
        (
            "reader's endpoint down for good",
            "the run stops, names the address, records nothing of the step; `--resume` with a server anywhere goes on",
            "8 of 8 episodes removed, no reward",
        )
    )


def test_a_run_over_known_memories_asks_nothing(
    quick_model: Path, tmp_path: Path, server: OpenAIServer, whole: Path
) -> None:
    folder = tmp_path / "run"
    config = small_config(quick_model, folder, at(server, cache_dir=whole / "reader-cache"))
    Trainer(config, name="again", resume=False, console=quiet()).run()
    assert len(server.requests) == 1  # the rehearsal
    assert told(folder) == told(whole)
    assert all(row["reader/cached"] == row["reader/calls"] for row in rows(folder)[1:])
    total = summary(folder)["reader"]
    assert total["cached"] == total["calls"] == summary(whole)["reader"]["calls"]
    assert not (folder / "reader-cache").exists()


# Before a run -------------------------------------------------------------------------------------------------------


def test_a_refusal_is_told_before_anything_slow(
    quick_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    server: OpenAIServer,
) -> None:
    monkeypatch.setattr(memrl.learner.build, "load_model", None)
    folder = tmp_path / "run"

    def refused(code: int, **changes: Any) -> str:
        assert train(quick_model, folder, at(server, **changes)) == code
        assert not folder.exists()
        message = " ".join(capsys.readouterr().err.split())
        assert KEY not in message
        assert "Traceback" not in message
        return message

    message = refused(2, model="nobodys-model")
    assert "answered 404 (Error code: 404 - The model `nobodys-model` does not exist" in message
    assert f"Check reader.endpoint.model against the names that GET {server.url}/models lists" in message
    assert "and name that one by reader.endpoint.api_key_env" in refused(2, api_key_env="null")
    assert "must be the NAME of an environment variable" in refused(2, api_key_env=KEY)
    monkeypatch.setenv(VARIABLE, "sk-expired-0123456789")
    assert f"answered 401 (Error code: 401 - no luck; you sent Bearer ***). The key in {VARIABLE}" in refused(2)
    monkeypatch.delenv(VARIABLE)
    assert f"the environment variable {VARIABLE} is not set; export it" in refused(2)
    monkeypatch.setenv(VARIABLE, KEY)
    server.stop()
    assert f"nobody answers at the reader's endpoint {server.url}" in refused(1)


def test_a_dry_run_asks_nobody(
    quick_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], server: OpenAIServer
) -> None:
    assert train(quick_model, tmp_path / "run", at(server), "--dry-run") == 0
    assert server.requests == []
    estimate = json.loads((tmp_path / "run" / "estimate.json").read_text())
    assert estimate["run"]["reader_calls"] > 0
    assert f"reader calls are requests to {server.model} at {server.url}" in " ".join(capsys.readouterr().out.split())


def test_doctor_asks_the_endpoint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["doctor", str(ROOT / CONFIG), *(f"{key}={value}" for key, value in at(server).items()), "--json"]

    def missing(code: int) -> list[str]:
        assert cli.main(words) == code
        [verdict] = json.loads(capsys.readouterr().out)["verdicts"]
        found: list[str] = verdict["missing"]
        return found

    assert missing(0) == []
    server.faults.append("403")
    [complaint] = missing(2)
    assert f"The key in {VARIABLE} (reader.endpoint.api_key_env) may not use this model." in complaint
    server.stop()
    [complaint] = missing(2)
    assert f"nobody answers at the reader's endpoint {server.url}" in complaint
    monkeypatch.delenv(VARIABLE)
    [complaint] = missing(2)
    assert f"the environment variable {VARIABLE} is not set" in complaint


# On Ray -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def cluster() -> Iterator[None]:
    """Its node has the key, since it is started with it."""
    started = Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False})
    ray.init(address=started.address, log_to_driver=False)
    yield
    ray.shutdown()
    started.shutdown()


@pytest.mark.slow
@pytest.mark.usefixtures("cluster")
def test_a_ray_worker_asks_with_its_nodes_key_and_its_costs_come_back(
    quick_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: OpenAIServer,
    known: dict[str, list[str]],
) -> None:
    monkeypatch.chdir(tmp_path)  # where no worker lives
    changes = {**at(server, retries=5), "rollout.workers": 1, "ray.worker_cpus": 0.5, "memory.retrieve_budget": 40}
    config = small_config(quick_model, Path("run"), changes)
    server.faults.extend(["500", "garbage"])
    pool = open_pool(config)
    try:
        adapter = build_learner(config, 1).publish(tmp_path / "adapters")
        pool.load_adapter(adapter)
        streams = StreamFeed(config.data.train, None, 0).take(1)
        ceiling = pool.ceiling(streams)
        assert sum(answer.attempts - 1 for answer in ceiling if answer.attempts) == 2
        [group] = pool.run(pool.play_groups(streams, adapter, step=1, first=0))
        assert group.failures == []
        answers = [answer for episode in group.episodes for answer in episode.answers]
        assert all(
            answer.answer in {"unknown", *(q.answers[0] for q in streams[0].questions)} or answer.answer
            for answer in answers
        )
        assert len(server.requests) == 2 + sum(answer.attempts > 0 for answer in [*ceiling, *answers])
        [cache] = (tmp_path / "run" / "reader-cache").iterdir()
        assert cache.suffix == ".sqlite"
    finally:
        pool.close()
    monkeypatch.setenv("MEMRL_TEST_DRIVERS_KEY", KEY)
    config.reader.endpoint.api_key_env = "MEMRL_TEST_DRIVERS_KEY"
    with pytest.raises(ConfigError, match=r"MEMRL_TEST_DRIVERS_KEY is not set; .* on a cluster on every node"):
        open_pool(config)
