"""Settings that were called otherwise in earlier versions. The old name is read wherever settings are read: in config
files, on the command line, in the folders of old runs and in their checkpoints.
"""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

RENAMED = {
    "rollout.min_group": "rollout.on_failure",
}
"""The present name of each setting by its old one. Values have kept their meaning."""
_warned: set[str] = set()


def present_name(key: str, origin: str) -> str:
    """Return what a setting is called today, and warn of an old name once in a process.

    Args:
        origin: where it was read, for the warning.
    """
    name = RENAMED.get(key, key)
    if name != key and key not in _warned:
        _warned.add(key)
        log.warning("%s: %s is called %s now; the old name is still read", origin, key, name)
    return name
