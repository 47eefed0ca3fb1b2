"""Start serving: REST, and MCP beside it, over HTTP; or MCP over standard input and output."""

from __future__ import annotations

import contextlib
import logging
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import uvicorn
from mcp.server.stdio import stdio_server

from memrl.serve.answered import Answered, bounded_lines
from memrl.serve.app import MCP_PATH, create_app
from memrl.serve.chat import Upstream
from memrl.serve.connections import GRACE, Seldom, Server, bounded
from memrl.serve.demo import Demo
from memrl.serve.limits import Limits, ModelCalls
from memrl.serve.mcp_server import create_mcp
from memrl.serve.token import is_loopback, listen, read_token

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

log = logging.getLogger(__name__)


def serve_stdio(open_agent: Callable[[], MemoryAgent], limits: Limits) -> None:
    """Serve MCP over standard input and output until the client closes them, or an interrupt ends the process."""
    # The thread that reads standard input cannot be interrupted; what was written is on the disk.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with contextlib.redirect_stdout(sys.stderr):  # loading a model may print, and stdout is the protocol's
        agent = open_agent()

    async def run() -> None:
        server = create_mcp(agent, ModelCalls(limits))
        async with stdio_server(stdin=bounded_lines(limits.body_bytes)) as (incoming, outgoing):
            messages = Answered(incoming, outgoing)
            await server.run(messages, outgoing, server.create_initialization_options())

    with agent:
        anyio.run(run)


def serve_http(
    open_agent: Callable[[], MemoryAgent],
    limits: Limits,
    *,
    host: str,
    port: int,
    token_env: str | None = None,
    mcp: bool = False,
    chat: Upstream | None = None,
    demo: Demo | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serve REST, and with `mcp` MCP beside it, until a signal ends it: within seconds, and all that was acknowledged
    is on the disk.

    Args:
        port: 0 takes a free one.
        token_env: the environment variable that holds the token. None: MEMRL_TOKEN, if it is set.
        chat: the model that answers in conversations; None: the agent's own reader.
        demo: serve the page of `memrl demo` too; on loopback without a token, which a page could not keep.
        ready: called with the address once it is served; None: the log says it.

    Raises:
        ConfigError: no token, and a host that others can reach; or the address cannot be listened at.
        SystemExit: SIGTERM ended it (143).
    """
    token = None if demo is not None and is_loopback(host) else read_token(host, token_env)
    with listen(host, port) as listening, open_agent() as agent:
        app = create_app(agent, token=token, limits=limits, mcp=mcp, chat=chat, demo=demo)
        settings = uvicorn.Config(
            app,
            http=bounded(limits),
            log_config=None,
            proxy_headers=False,  # any client could write its address, and be counted as many
            ws="none",
            server_header=False,
            timeout_graceful_shutdown=GRACE,
        )
        for name in ("uvicorn.error", "memrl.serve.connections"):
            logging.getLogger(name).addFilter(Seldom())
        where = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
        if ready is not None:
            ready(where)
        else:
            also = f", MCP at {where}{MCP_PATH}" if mcp else ""
            log.info("serving %s%s%s", where, also, "" if token else ", no token")
        server = Server(settings)
        server.run(sockets=[listening])
    if server.ended_by == signal.SIGTERM:
        raise SystemExit(128 + signal.SIGTERM)
