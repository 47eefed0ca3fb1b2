"""The weights of a model folder, looked at without loading anything."""

from __future__ import annotations

from pathlib import Path

PICKLED = (
    "holds pickled weights only ({}), which can run code when they are read: memrl reads safetensors alone. Load it "
    "once where you trust it and write it again by save_pretrained, or take a release that has model.safetensors"
)
"""Said of a folder of which `pickled_weights` has named a file."""
_PICKLES = ("pytorch_model*.bin", "consolidated*.pth", "model*.pt", "model*.ckpt")  # not an optimizer's, a scheduler's


def pickled_weights(folder: Path) -> str | None:
    """Return the name of a file of pickled weights where a folder has no other kind; None where it has, or has none."""
    if any(folder.glob("*.safetensors")):
        return None
    return next((file.name for kind in _PICKLES for file in sorted(folder.glob(kind))), None)
