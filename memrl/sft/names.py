"""The places of a warm start's files."""

from __future__ import annotations

from pathlib import Path

from memrl.config import Config

LOSSES = "sft.jsonl"
"""A row for each optimizer step; it stands in the finished folder too."""
TOLD = "sft.json"
"""The settings by which a warm start was begun; where it is, one can be resumed."""
SHOWN = "demonstrations.jsonl.zst"


def out_folder(config: Config) -> Path:
    """Return where the warm-started model goes."""
    return Path(config.sft.dir or Path(config.run.dir or "runs") / "model").expanduser()


def training_folder(out: Path) -> Path:
    """Return where a warm start keeps what it needs to go on."""
    return out.with_name(out.name + ".training")


def has_begun(config: Config) -> bool:
    """Return whether a warm start of this folder has begun, or has ended."""
    out = out_folder(config)
    return out.exists() or (training_folder(out) / TOLD).is_file()
