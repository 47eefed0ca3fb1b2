"""The published sets that neither this disk nor the hub gives: told in seconds, where to read them takes a minute."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from memrl.config import DataConfig
from memrl.envs.errors import DataError
from memrl.envs.sources import source_named
from memrl.envs.specs import parse_spec

_HUB = "https://huggingface.co"
_SECONDS = 3.0
"""How long the hub has to answer."""


def out_of_reach(data: DataConfig) -> list[str]:
    """Return the names of published sets that sources would read from the hub, where it does not answer and they are
    not in its cache either."""
    names = {name for spec in (*data.train, *data.eval) if (name := _on_hub(spec, data.path)) and not _cached(name)}
    return sorted(names) if names and not _answers() else []


def _on_hub(spec: Mapping[str, Any], data_path: str | None) -> str:
    """Return the hub name that a source reads; empty where it reads none."""
    try:
        options = parse_spec(spec, data_path).options
        known = source_named(str(spec["source"])).options()
    except DataError:
        return ""  # said elsewhere
    path = options.get("path", known.get("path"))
    if not isinstance(path, str) or path.count("/") != 1 or path.startswith((".", "/", "~")):
        return ""
    return "" if Path(path).exists() else path


def _cached(name: str) -> bool:
    home = Path(os.environ.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    hub = Path(os.environ.get("HF_HUB_CACHE", home / "hub"))
    return (hub / f"datasets--{name.replace('/', '--')}").is_dir()


def _answers() -> bool:
    if os.environ.get("HF_HUB_OFFLINE", "0").lower() in {"1", "true", "yes", "on"}:
        return False
    if os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy"):
        return True  # who stands between knows
    address = urlsplit(os.environ.get("HF_ENDPOINT", _HUB))
    port = address.port or (443 if address.scheme == "https" else 80)
    try:
        socket.create_connection((address.hostname or "", port), timeout=_SECONDS).close()
    except OSError:
        return False
    return True
