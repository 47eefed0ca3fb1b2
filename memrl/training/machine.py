"""The machine, looked at before anything slow: what a run is sure to fail by there, in a line."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

from memrl.config import Config
from memrl.config.check import learner_apart
from memrl.errors import ConfigError

log = logging.getLogger(__name__)
SHARED_MEMORY = Path("/dev/shm")
NEEDED = 128 << 20
"""Bytes of room for Ray's object store."""


def check_device(config: Config) -> None:
    """Refuse a device that the config names and this machine has not.

    Raises:
        ConfigError: it is not there.
    """
    here = config.rollout.workers == 0 or not learner_apart(config)  # else all models live elsewhere
    if config.model.device == "cuda" and here:
        from memrl.engines.models import device_of

        device_of(config.model)


def check_room_for_ray(config: Config) -> None:
    """Look whether Ray, where a run is to start it here, finds room for its store: in shared memory, else, slower, in
    its folder for temporary files.

    Raises:
        ConfigError: in neither.
    """
    own_ray = config.ray.address is None and (config.rollout.workers > 0 or config.train.processes > 1)
    if not own_ray or not SHARED_MEMORY.is_dir():
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    if free >= NEEDED:
        return
    scratch = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    left = shutil.disk_usage(scratch).free if scratch.is_dir() else NEEDED
    more = "A container gets more shared memory by --shm-size=2g."
    if left < NEEDED:
        raise ConfigError(
            f"{SHARED_MEMORY} has {free >> 20} MiB free and {scratch} {left >> 20} MiB, and Ray, which is to be "
            f"started here, needs {NEEDED >> 20} MiB in one of them. {more} Or join a cluster (ray.address), "
            "or play in this process (rollout.workers=0, train.processes=1)."
        )
    log.warning(
        "%s has %d MiB free: Ray will keep its objects in files under %s, which is slower. %s",
        SHARED_MEMORY, free >> 20, scratch, more,
    )  # fmt: skip
