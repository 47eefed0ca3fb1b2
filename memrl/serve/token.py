"""The callers of a server: this machine alone, or others with a token; and the socket that they call."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from memrl.config.keys import read_key
from memrl.errors import ConfigError

TOKEN = "MEMRL_TOKEN"


def read_token(host: str, token_env: str | None) -> str | None:
    """The token that callers must bear; None where none is set and only this machine can call.

    Raises:
        ConfigError: a variable was named that is not set, or there is no token and others could call.
    """
    if token_env is not None or os.environ.get(TOKEN):
        return read_key(token_env or TOKEN)
    if not is_loopback(host):
        raise ConfigError(
            f"--host {host} can be reached from other machines, and there is no token. Set {TOKEN}, or leave out "
            "--host to serve this machine alone."
        )
    return None


def is_loopback(host: str) -> bool:
    """Return whether a host's name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def listen(host: str, port: int) -> socket.socket:
    """Listen before anything slow, so that a port that is taken is known at once.

    Raises:
        ConfigError: the address cannot be listened at.
    """
    try:
        listening = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except (OSError, OverflowError) as error:
        taken = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        remedy = "Give another --port; 0 takes a free one." if taken else "Give another --host or --port."
        raise ConfigError(f"cannot listen at {host} port {port} ({error}). {remedy}") from error
    # asyncio sets it only where a socket tells its protocol; without it each reply waits 40 ms
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening
