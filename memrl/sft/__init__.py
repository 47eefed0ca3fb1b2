"""The warm start: supervised fine-tuning on a teacher's demonstrations, for any model and any source."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from memrl.config import Config


def run_sft(config: Config, console: Console | None = None, *, resume: str | None = None) -> Path:
    """`memrl sft`; heavy imports wait until here. Returns the folder of the trained model or adapter.

    Args:
        console: where progress goes (default: standard output).
        resume: `always`: go on with the warm start that was stopped | `auto`: begin one where there is none.
    """
    from memrl.sft.names import has_begun
    from memrl.sft.run import warm_start

    return warm_start(config, console, resume=resume == "always" or (resume == "auto" and has_begun(config)))
