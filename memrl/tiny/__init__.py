"""The embedded default: a small Qwen3 model and its tokenizer, built and warm-started by this project itself."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from memrl.config.shipped import TINY_MODEL


def build(out: Path | None = None, *, quick: bool = False, console: Console | None = None) -> Path:
    """Build the tiny model again from its recipe; see `memrl.tiny.recipe`. Heavy imports wait until here."""
    from memrl.tiny.recipe import build_model

    return build_model(out or TINY_MODEL, quick=quick, console=console)


def reword(design: str, out: Path) -> Path:
    """Write the embedded model in the words of another memory design; see `memrl.tiny.wording`."""
    from memrl.tiny.wording import reword_model

    return reword_model(design, out)
