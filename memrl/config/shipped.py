"""Names of what ships with the package, for use instead of a path."""

from __future__ import annotations

from pathlib import Path

TINY = "tiny"
"""`model.path` of the embedded model."""
TINY_MODEL = Path(__file__).parents[1] / "tiny" / "model"
"""The folder of the embedded model."""
