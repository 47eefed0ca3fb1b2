"""The machine, looked at before anything slow: what a run is sure to fail by there, in a line."""

from __future__ import annotations

import shutil
from pathlib import Path

from memrl.config import Config
from memrl.errors import ConfigError

SHARED_MEMORY = Path("/dev/shm")
NEEDED = 128 << 20
"""Bytes of shared memory, below which Ray cannot keep its store there."""


def check_machine(config: Config) -> None:
    """Refuse a run that this machine cannot carry.

    Raises:
        ConfigError: the device that the config names is not there, or shared memory is too small for Ray.
    """
    here = config.rollout.workers == 0 or config.train.processes == 1  # else all models live elsewhere
    if config.model.device == "cuda" and here:
        from memrl.engines.models import device_of

        device_of(config.model)
    own_ray = config.ray.address is None and (config.rollout.workers > 0 or config.train.processes > 1)
    if own_ray and SHARED_MEMORY.is_dir():
        free = shutil.disk_usage(SHARED_MEMORY).free
        if free < NEEDED:
            raise ConfigError(
                f"{SHARED_MEMORY} has {free >> 20} MiB free, and Ray, which is to be started here, needs at least "
                f"{NEEDED >> 20} MiB of it. Free some (a container gets more by --shm-size=2g), join a cluster "
                "(ray.address), or play in this process (rollout.workers=0, train.processes=1)."
            )
