"""The embedded default: a small Qwen3 model and its tokenizer, built and warm-started by this project itself."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from memrl.config.shipped import TINY_MODEL
from memrl.errors import ConfigError


def build(out: Path | None = None, *, quick: bool = False, edition: int = 1, console: Console | None = None) -> Path:
    """Build the tiny model again from its recipe; see `memrl.tiny.recipe`. Heavy imports wait until here.

    Args:
        edition: 1: the one that ships; 2: `memrl.tiny.second`, which wants a folder `out`.
    """
    if edition == 2:
        from memrl.tiny.second.recipe import build_model as build_second

        if out is None:
            raise ConfigError("the second edition does not ship: name a folder for it (--out DIR)")
        return build_second(out, quick=quick, console=console)
    from memrl.tiny.recipe import build_model

    return build_model(out or TINY_MODEL, quick=quick, console=console)
