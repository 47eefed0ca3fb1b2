"""The warm start: supervised fine-tuning on a teacher's demonstrations, for any model and any source."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from memrl.config import Config


def run_sft(config: Config, console: Console | None = None) -> Path:
    """`memrl sft`; heavy imports wait until here. Returns the folder of the trained model or adapter.

    Args:
        console: where progress goes (default: standard output).
    """
    from memrl.sft.run import warm_start

    return warm_start(config, console)
