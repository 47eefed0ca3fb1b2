"""A real HTTP server that serves an exported policy as vLLM does: plain completions of token ids, models by name."""

from __future__ import annotations

import asyncio
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from memrl.engines.build import build_engine
from memrl.engines.engine import Sampling
from memrl.engines.models import end_ids, load_tokenizer
from memrl.policies.exported import open_exported


class CompletionsServer:
    """Serves the base model as `base` and the policy as `memory`, until `stop`.

    Args:
        folder: an exported adapter.
        ids: whether replies hold token ids beside the text.
    """

    def __init__(self, folder: Path, *, ids: bool = True) -> None:
        exported = open_exported(folder)
        exported.config.model.device = "cpu"
        self._tokenizer = load_tokenizer(exported.config.model)
        self._engine = build_engine(exported.config, end_ids(exported.config.model, self._tokenizer))
        self._adapter = exported.adapter
        self._ids = ids
        self.prompts: list[list[int]] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        assert self._adapter is not None
        self._run(self._engine.load_adapter(self._adapter))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._loop.call_soon_threadsafe(self._loop.stop)

    def complete(self, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        """Status and body of a reply."""
        if asked["model"] not in ("base", "memory"):
            return 404, {"error": {"message": f"The model `{asked['model']}` does not exist."}}
        self.prompts.append(asked["prompt"])
        adapter = self._adapter if asked["model"] == "memory" else None
        done = self._run(
            self._engine.generate(asked["prompt"], Sampling(asked["max_tokens"], asked["temperature"]), adapter)
        )
        choice = {
            "index": 0,
            "text": self._tokenizer.decode(done.ids, skip_special_tokens=True),
            "finish_reason": done.stop,
            "logprobs": None,
        }
        return 200, {"id": "x", "object": "text_completion", "created": 0, "model": asked["model"]} | {
            "choices": [choice | ({"token_ids": done.ids} if self._ids else {})]
        }

    def _run(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()


def _handler(owner: CompletionsServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            names = [{"id": name, "object": "model", "created": 0, "owned_by": "us"} for name in ("base", "memory")]
            self._reply(200, {"object": "list", "data": names})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._reply(*owner.complete(asked) if self.path == "/v1/completions" else (404, {"error": {}}))

        def _reply(self, status: int, body: dict[str, Any]) -> None:
            written = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(written)))
            self.end_headers()
            self.wfile.write(written)

        def log_message(self, *_: Any) -> None:
            """Tests look at `prompts`."""

    return Handler
