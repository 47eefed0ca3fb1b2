"""The warm start: supervised fine-tuning on a teacher's demonstrations, for any model and any source."""

from __future__ import annotations

from pathlib import Path

from memrl.config import Config


def run_sft(config: Config) -> Path:
    """`memrl sft`; heavy imports wait until here. Returns the folder of the trained model or adapter."""
    from memrl.sft.run import warm_start

    return warm_start(config)
