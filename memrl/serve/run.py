"""Start serving: REST, and MCP beside it, over HTTP; or MCP over standard input and output."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import anyio
import uvicorn
from mcp.server.stdio import stdio_server

from memrl.config.keys import read_key
from memrl.errors import ConfigError
from memrl.serve.answered import Answered, bounded_lines
from memrl.serve.app import MCP_PATH, create_app
from memrl.serve.connections import GRACE, Seldom, Server, bounded
from memrl.serve.limits import Limits, ModelCalls
from memrl.serve.mcp_server import create_mcp

if TYPE_CHECKING:
    from memrl.agent.agent import MemoryAgent

log = logging.getLogger(__name__)
TOKEN = "MEMRL_TOKEN"


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
) -> None:
    """Serve REST, and with `mcp` MCP beside it, until a signal ends it: within seconds, and all that was acknowledged
    is on the disk.

    Args:
        port: 0 takes a free one.
        token_env: the environment variable that holds the token. None: MEMRL_TOKEN, if it is set.

    Raises:
        ConfigError: no token, and a host that others can reach; or the address cannot be listened at.
        SystemExit: SIGTERM ended it (143).
    """
    token = read_token(host, token_env)
    with _listen(host, port) as listening, open_agent() as agent:
        app = create_app(agent, token=token, limits=limits, mcp=mcp)
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
        log.info("serving %s%s%s", where, f", MCP at {where}{MCP_PATH}" if mcp else "", "" if token else ", no token")
        server = Server(settings)
        server.run(sockets=[listening])
    if server.ended_by == signal.SIGTERM:
        raise SystemExit(128 + signal.SIGTERM)


def read_token(host: str, token_env: str | None) -> str | None:
    """The token that callers must bear; None where none is set and only this machine can call.

    Raises:
        ConfigError: a variable was named that is not set, or there is no token and others could call.
    """
    if token_env is not None or os.environ.get(TOKEN):
        return read_key(token_env or TOKEN)
    if not _is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines, and there is no token. Set {TOKEN}, or leave out "
            "--host to serve this machine alone."
        )
    return None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    """Listen before a model is loaded, so that a port that is taken is known at once."""
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"cannot listen at {host} port {port} ({error}). Give another --host or --port.") from error
    # asyncio sets it only where a socket tells its protocol; without it each reply waits 40 ms
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
