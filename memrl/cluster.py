"""The Ray cluster a run belongs to: joined or started once, by whoever needs it first, and ended by the same one."""

from __future__ import annotations

import logging
import signal
import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import ray

from memrl.config import ModelConfig
from memrl.config.shipped import TINY
from memrl.errors import EngineError


def connect(address: str | None) -> bool:
    """Join the cluster at `address` (auto, or host:port), or start one here; returns whether the caller must end it.

    Raises:
        EngineError: there is none to join.
    """
    if ray.is_initialized():
        return False
    dashboard = {"include_dashboard": False} if address is None else {}
    on_term = signal.getsignal(signal.SIGTERM)
    try:
        _reach(address)
        ray.init(address=address or "local", logging_level=logging.WARNING, log_to_driver=False, **dashboard)
    except SystemExit as ended:
        # Ray's handler of SIGTERM, which holds while it starts; ours says the last word.
        if ended.code == signal.SIGTERM and callable(on_term):
            on_term(signal.SIGTERM, None)
        raise
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        raise EngineError(
            f"no Ray cluster can be reached at ray.address={address!r}: {str(error).rstrip('.')}. Start one (ray start "
            "--head), or leave ray.address out to have one started here."
        ) from error
    finally:
        # Ray puts a handler of its own in the place of the one that saves finished steps.
        if callable(on_term) and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, on_term)
    # What Ray prints of nodes that die is a screen of its own state; whoever loses a worker says so in a line.
    ray._private.worker._worker_logs_enabled = False
    return True


def _reach(address: str | None) -> None:
    """Raise OSError where nobody listens: Ray itself would try for minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


def with_absolute_path(config: ModelConfig) -> ModelConfig:
    """Return the model's section for other processes, which do not start in this one's folder."""
    folder = Path(config.path).expanduser()
    if config.path == TINY or not folder.is_dir():
        return config
    return replace(config, path=str(folder.resolve()))


def in_words(resources: Mapping[str, float]) -> str:
    """`4 CPU, 0 GPU`."""
    return ", ".join(f"{resources.get(name, 0):g} {name}" for name in ("CPU", "GPU"))
