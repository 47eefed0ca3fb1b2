"""Checkpoints: `step_00012/` folders that are whole or absent, and a `latest` link.

The invariant: from the first checkpoint on, there is always a good one on the disk. A new one is complete, hashed and
renamed before any older one is removed; a damaged one is named and skipped.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from memrl.errors import CheckpointError
from memrl.storage.files import find_damage, link_atomic, new_folder

logger = logging.getLogger(__name__)

LATEST = "latest"
_NAME = re.compile(r"step_(\d+)")


def checkpoint_name(step: int) -> str:
    """The folder name of a trainer step's checkpoint."""
    return f"step_{step:05d}"


def list_checkpoints(root: Path) -> list[tuple[int, Path]]:
    """(step, folder) of every checkpoint under `root`, newest first; not verified."""
    if not root.is_dir():
        return []
    found = [(match, path) for path in root.iterdir() if (match := _NAME.fullmatch(path.name)) and path.is_dir()]
    return sorted(((int(match.group(1)), path) for match, path in found), reverse=True)


def save_checkpoint(root: Path, step: int, write: Callable[[Path], None], keep: int) -> Path:
    """Let `write` fill a folder, publish it as `root/step_<step>`, point `latest` at it, keep the `keep` newest.

    Raises CheckpointError where the disk is full or fails; the earlier checkpoints are untouched then.
    """
    target = root / checkpoint_name(step)
    try:
        with new_folder(target) as folder:
            write(folder)
        link_atomic(root / LATEST, target.name)
    except OSError as error:
        survivors = [path for _, path in list_checkpoints(root) if path != target]
        rest = f"the last good checkpoint is {survivors[0]}" if survivors else "there is no earlier checkpoint"
        cause = "the disk is full" if error.errno == errno.ENOSPC else str(error)
        raise CheckpointError(
            f"cannot save {target}: {cause}; nothing half-written is left, {rest}. "
            "Free some space or lower run.keep_checkpoints, then continue with --resume"
        ) from error
    # Only older ones are removed: a newer folder is a damaged one that the run was resumed past, and counting it would
    # push out the checkpoint just written.
    older = [path for number, path in list_checkpoints(root) if number < step]
    for path in older[max(keep, 1) - 1 :]:
        shutil.rmtree(path, ignore_errors=True)
    return target


def find_checkpoint(root: Path) -> tuple[int, Path] | None:
    """The newest checkpoint whose manifest verifies, or None. Each damaged one is named in a warning and skipped."""
    for step, path in list_checkpoints(root):
        damage = find_damage(path)
        if damage is None:
            return step, path
        logger.warning("checkpoint %s is damaged and skipped: %s", path, damage)
    return None
