"""Checks of an endpoint's address, model and key. No complaint repeats what may be a secret."""

from __future__ import annotations

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from memrl.config.keys import looks_like_key, read_key
from memrl.config.schema import EndpointConfig
from memrl.errors import ConfigError

EXAMPLE = "http://127.0.0.1:8000/v1"


def check_endpoint(key: str, endpoint: EndpointConfig, used: bool, environment: bool) -> Iterator[str]:
    """Every complaint about the section `key`.

    Args:
        used: whether anybody will ask this endpoint; a secret is refused in either case, since configs are saved.
        environment: also look for the variable that is to hold the key.
    """
    if endpoint.url is not None:
        yield from _url(f"{key}.url", endpoint.url)
    elif used:
        yield f"{key}.url is not set; give the address of an OpenAI-compatible server, e.g. {key}.url={EXAMPLE}"
    if used and not (endpoint.model or "").strip():
        yield f"{key}.model is not set; give a name that the server lists at <url>/models"
    if endpoint.api_key_env is not None:
        yield from _variable(f"{key}.api_key_env", endpoint.api_key_env, used and environment)


def _url(key: str, url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if "@" in url:
        yield (
            f"{key} holds a login, which would be saved with the run; leave it out, and name the variable that holds "
            f"the key by {key.rpartition('.')[0]}.api_key_env"
        )
    elif "?" in url or "#" in url:
        yield f"{key} holds more than an address (a query, which is saved with the run); cut it off before ? or #"
    elif not sound or url != url.strip():
        yield f"{key} is {url!r}; it must be an address like {EXAMPLE}"


def _variable(key: str, name: str, environment: bool) -> Iterator[str]:
    if looks_like_key(name) or not re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII):
        yield (
            f"{key} must be the NAME of an environment variable that holds the key, e.g. OPENAI_API_KEY, never the key "
            "itself: configs are saved"
        )
    elif environment:
        try:
            read_key(name)
        except ConfigError as error:
            yield f"{key}: {error}"
