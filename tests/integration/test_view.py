"""`memrl view`: a report over HTTP, of a run that grows; to this machine alone, or by a token."""

from __future__ import annotations

import http.client
import json
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import memrl.serve.view
from memrl.cli.main import main
from memrl.look.report import MARK
from memrl.records import Completion, Episode, Step
from memrl.serve.view import view
from memrl.storage.rundir import EpisodeWriter

TOKEN = 'a;b="c/%d'  # every sign that a cookie or an address could stumble over


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder of one step, written as the trainer writes it."""
    folder = tmp_path / "run"
    step = Step(
        chunk=0, prompt_ids=[1], completion=Completion(ids=[1], logprobs=[0.0], stop="stop", version=0), text="",
        results=[], diff=[], memory_tokens=0,
    )  # fmt: skip
    episode = Episode(
        stream_id="s", source="test", index=0, version=0, seed=0, steps=[step], answers=[], memory={"items": []},
        chunk_tokens=1, memory_tokens=0,
    )  # fmt: skip
    for number in range(3):
        EpisodeWriter(folder / "eval" / "episodes").write(number, [episode])
    (folder / "config.yaml").write_text("seed: 0\ntrain: {steps: 2}\n")
    (folder / "metrics.jsonl").write_text(json.dumps({"step": 0, "eval/qa": 0.5}) + "\n")
    return folder


@contextmanager
def served(folder: Path, monkeypatch: pytest.MonkeyPatch, host: str = "127.0.0.1") -> Iterator[int]:
    """The port at which the run is served, until the block is left."""
    servers: list[Any] = []
    ported: list[str] = []
    up = threading.Event()
    begun = memrl.serve.view._Server.serve_forever

    def serve(self: Any, poll_interval: float = 0.2) -> None:
        servers.append(self)
        begun(self, poll_interval)

    def ready(address: str) -> None:
        ported.append(address)
        up.set()

    monkeypatch.setattr(memrl.serve.view._Server, "serve_forever", serve)
    monkeypatch.setattr(memrl.serve.view, "LIVE_SECONDS", 0.1)
    thread = threading.Thread(target=view, args=([folder], None), kwargs={"host": host, "port": 0, "ready": ready})
    thread.start()
    try:
        assert up.wait(20)
        yield int(ported[0].rstrip("/").rsplit(":", 1)[1])
    finally:
        while not servers:
            time.sleep(0.01)
        servers[0].shutdown()
        thread.join(20)
        assert not thread.is_alive()


def get(port: int, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
    reply = connection.getresponse()
    found = reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()
    connection.close()
    return found


def test_a_run_that_grows_is_followed(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with served(run, monkeypatch) as port:
        status, headers, body = get(port, "/data/index.js?t=1")
        assert status == 200 and b'"step":0' in body
        assert headers["content-type"].startswith("text/javascript")
        assert "script-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        with (run / "metrics.jsonl").open("a") as file:
            file.write(json.dumps({"step": 1, "eval/qa": 0.75}) + "\n")
        until = time.monotonic() + 20
        while b'"step":1' not in get(port, "/data/index.js")[2]:
            assert time.monotonic() < until
            time.sleep(0.05)
        assert b'"value":0.75' in get(port, "/data/run/overview.js")[2]
        assert get(port, "/data/run/held-out/00001/0000-0.js")[0] == 200


def test_nothing_but_the_report_is_served(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (run / "secret.js").write_text("secret")
    with served(run, monkeypatch) as port:
        for path in (
            "/../secret.js", "/%2e%2e/secret.js", "/data/../../secret.js", "/..%2fsecret.js", f"/{MARK}", "/data/",
            "/data", "//secret.js/..", "/.hidden.js", "/nothing.js", "/data/run/%00.js", "//[half.js",
        ):  # fmt: skip
            status, _, body = get(port, path)
            assert status in (400, 404) and b"secret" not in body, path
        assert get(port, "/data/index.js", "POST")[0] == 501
        assert get(port, "/data/index.js", "HEAD")[::2] == (200, b"")


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": ""},
        {"Host": "[half"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Host": "127.0.0.1.evil.example"},
    ],
)
def test_no_page_of_another_site_reads_it(run: Path, headers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    with served(run, monkeypatch) as port:
        assert get(port, "/data/index.js", **headers)[0] == 403
        assert get(port, "/data/index.js", Host=f"localhost:{port}", Sec_Fetch_Site="same-origin")[0] == 200


def test_beyond_loopback_every_request_bears_the_token(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEMRL_TOKEN", TOKEN)
    with served(run, monkeypatch, "0.0.0.0") as port:
        for headers in ({}, {"Authorization": "Bearer no"}, {"Cookie": "memrl-token=no"}, {"Cookie": "\x7f;=;,"}):
            status, _, body = get(port, "/data/index.js", **headers)
            assert status == 401 and TOKEN.encode() not in body
        assert get(port, "/?token=wrong")[0] == 401
        assert get(port, "/data/index.js", Authorization=f"Bearer {TOKEN}")[0] == 200
        status, headers, _ = get(port, "/?token=a%3Bb%3D%22c/%25d")
        assert (status, headers["location"]) == (303, "./")
        cookie, _, rest = headers["set-cookie"].partition(";")
        assert "HttpOnly" in rest and "SameSite=Strict" in rest
        assert get(port, "/data/index.js", Cookie=cookie)[0] == 200


def test_bad_input_is_one_line(run: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv("MEMRL_TOKEN", raising=False)
    assert main(["view", str(run), "--host", "0.0.0.0"]) == 2
    assert "there is no token. Set MEMRL_TOKEN" in " ".join(capsys.readouterr().err.split())
    with served(run, monkeypatch) as port:
        assert main(["view", str(run), "--port", str(port)]) == 2
        assert "Give another --port; 0 takes a free one." in " ".join(capsys.readouterr().err.split())
    shutil.rmtree(run)
    assert main(["view", str(run), "--port", "0"]) == 2
    assert "no such folder" in capsys.readouterr().err
