"""The progress of reading a text, told after each piece."""

from __future__ import annotations

from dataclasses import dataclass

from memrl.envs.tools import ToolResult


@dataclass(frozen=True)
class Progress:
    """The progress of reading a text."""

    piece: int
    """Pieces that are read."""
    pieces: int
    results: list[ToolResult]
    """What became of the operations of the last of them."""
