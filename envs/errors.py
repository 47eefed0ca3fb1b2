"""Errors of the task rooms.

The root lives here, in the lowest room, because `rewards` and `memrl` may import `envs` and never the other way round.
`memrl.errors` adds the pipeline's boundaries and is the place to import from outside the task rooms.
"""


class MemrlError(Exception):
    """Root of every error this software raises on purpose. Its message names the thing, the place and the remedy."""


class DataError(MemrlError):
    """A data file, stream or question that cannot be used."""


class NoStream(DataError):
    """The data is sound, but nothing of it is left for the options (a split that no document belongs to)."""


class EnvironmentFault(MemrlError):
    """The environment was driven wrongly, e.g. stepped after its last chunk. Never caused by model output."""


class PluginError(MemrlError):
    """Something replaceable that is named and is not there, cannot be imported, has the wrong shape or a name that is
    taken. The message names whose it is."""
