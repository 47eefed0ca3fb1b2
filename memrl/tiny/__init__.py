"""The embedded default: a small Qwen3 model and its tokenizer, built and warm-started by this project itself."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from memrl.config.shipped import TINY_MODEL


def build(out: Path | None = None, *, quick: bool = False, console: Console | None = None) -> Path:
    """Build the tiny model again from its recipe; see `memrl.tiny.recipe`. Heavy imports wait until here."""
    from memrl.tiny.recipe import build_model

    return build_model(out or TINY_MODEL, quick=quick, console=console)
