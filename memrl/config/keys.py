"""Keys are secrets: they come from environment variables alone, and nothing that is shown or saved holds one."""

from __future__ import annotations

import os
import re

from memrl.errors import ConfigError

MASK = "***"
SHORTEST = 8
"""Characters. Shorter ones are the placeholders of servers that ask for no key, and may well be words of an answer."""
_KEY = re.compile(r"\b(?:sk|gsk|rk|hf|xai|nvapi|ghp)[-_][A-Za-z0-9_-]{8,}|\bAIza[A-Za-z0-9_-]{20,}")
_LOGIN = re.compile(r"(?<=://)[^/\s]+@")


def looks_like_key(text: str) -> bool:
    """Return whether `text` is rather a key than the name of a variable."""
    runs = re.findall("[A-Za-z0-9]{20,}", text)
    return any(re.search("[0-9]", run) for run in runs) or _KEY.search(text) is not None


def read_key(variable: str) -> str:
    """The key that an environment variable holds.

    Raises:
        ConfigError: it is not set, or holds what no header can carry. The message never has the value.
    """
    key = os.environ.get(variable, "").strip()
    if not key:
        raise ConfigError(
            f"the environment variable {variable} is not set; export it before the run, and on a cluster on every "
            "node before Ray is started there"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise ConfigError(f"the environment variable {variable} holds white space or other than ASCII: that is no key")
    return key


def without(text: str, key: str) -> str:
    """`text` with `key` masked, should it be there."""
    return text.replace(key, MASK) if len(key) >= SHORTEST else text


def hide(text: str, key: str = "") -> str:
    """A message without `key`, and without whatever else looks like a key or a login."""
    return _LOGIN.sub(f"{MASK}@", _KEY.sub(MASK, without(text, key)))
