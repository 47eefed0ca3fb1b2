"""The bounds of YAML text that is read as settings: a parser is recursive, and aliases multiply what they stand for."""

from __future__ import annotations

from pathlib import Path

import yaml
from yaml.events import AliasEvent, CollectionEndEvent, CollectionStartEvent, NodeEvent

from memrl.errors import ConfigError

LARGEST = 1 << 20
"""Bytes of a config; shipped ones have some thousand."""
DEEPEST = 32
"""Lists and mappings within each other; shipped configs have five."""
MOST = 100_000
"""Values, those that aliases stand for included."""
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_bounded(path: Path) -> str:
    """Return the text of a config file that is not larger than a config may be.

    Raises:
        ConfigError: it is.
        OSError, UnicodeDecodeError: it cannot be read.
    """
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise ConfigError(f"{path} is larger than a config may be ({LARGEST >> 20} MiB). Is it another file?")
    text = data.decode("utf-8")
    check_bounds(text, str(path))
    return text


def check_bounds(text: str, where: str) -> None:
    """Refuse YAML text that is too large, too deep or holds too many values, by looking at its events alone.

    Raises:
        ConfigError: says which, and where it stands.
        yaml.YAMLError: it is no YAML.
    """
    if len(text) > LARGEST:
        raise ConfigError(f"{where} is longer than a config may be ({LARGEST >> 20} MiB)")
    sizes: dict[str, int] = {}
    total, open_nodes = 0, list[tuple[str | None, int]]()
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, AliasEvent):
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, NodeEvent):
            total += 1
            if isinstance(event, CollectionStartEvent):
                open_nodes.append((event.anchor, total - 1))
        elif isinstance(event, CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                sizes[anchor] = total - before
        if len(open_nodes) > DEEPEST:
            raise ConfigError(f"{where} nests more than {DEEPEST} lists and mappings within each other")
        if total > MOST:
            raise ConfigError(f"{where} holds more than {MOST:,} values, those that aliases stand for included")
