"""All errors of the pipeline, named after the boundary at which something went wrong.

A policy error (bad call, unknown id) is no exception: it is a typed `ToolResult` and costs reward. The exceptions below
are infrastructure or user input; an infrastructure error removes the episode from its group and is counted.
"""

from memrl.envs.errors import DataError, EnvironmentFault, MemrlError, PluginError


class ConfigError(MemrlError):
    """The configuration is wrong; the message lists every complaint at once."""


class InfrastructureError(MemrlError):
    """Something other than the policy failed. Never turned into a reward."""


class EngineError(InfrastructureError):
    """The engine could not generate (out of memory, crashed, unknown adapter version)."""


class EngineDied(EngineError):
    """The engine has ended and will answer nobody any more."""


class WorkerDied(EngineError):
    """The process or the node of a rollout worker is gone; whoever lost it has said so, once for all its episodes."""


class ReaderError(InfrastructureError):
    """The reader could not answer."""


class PromptTooLong(ReaderError):
    """The question and what is remembered of it are more than the reader takes."""


class StoreBusy(InfrastructureError):
    """Another process holds the memory's file. Nothing was changed, or else `erased`; try again in a moment."""

    erased = False
    """What was to be erased is no longer in the memory, and its bytes may be left in the file: erase it again."""


class StoreFailed(InfrastructureError):
    """The memory's file cannot be used now (a full or failing disk). Nothing was changed, or else `erased`."""

    erased = False
    """As `StoreBusy.erased`."""


class JudgeError(InfrastructureError):
    """The judge could not grade, or its verdict could not be parsed."""


class LearnerError(MemrlError):
    """The learner cannot go on (non-finite loss, a model without the named LoRA targets)."""


class RewardHacked(MemrlError):
    """A meter of reward hacking is above its alarm, and the run was told to stop then."""


class NothingLearned(MemrlError):
    """No group has taught anything for `train.max_idle_steps` steps: no two of its episodes were paid differently."""


class CheckpointError(MemrlError):
    """A checkpoint, adapter or run folder is damaged, missing or belongs to another run."""


class TooLong(DataError):
    """A text is longer than its place allows. Nothing was changed."""


class NotOffered(DataError):
    """The design of a memory has no way to do what is asked of it. Nothing was changed."""


class Closed(MemrlError):
    """An agent or a memory's file was used after it was closed, or closed while it was used."""


class Erased(MemrlError):
    """The user was erased while a text of theirs was read, or something of them since a request with the same key."""


class KeyReused(MemrlError):
    """The key of a request was given with another request before."""


class FormatError(DataError):
    """Something on the disk was written by a newer version, in a format that this one does not know."""


class PushError(MemrlError):
    """A finished export could not be uploaded."""


__all__ = [
    "CheckpointError",
    "Closed",
    "ConfigError",
    "DataError",
    "EngineDied",
    "EngineError",
    "EnvironmentFault",
    "Erased",
    "FormatError",
    "InfrastructureError",
    "JudgeError",
    "KeyReused",
    "LearnerError",
    "MemrlError",
    "NotOffered",
    "NothingLearned",
    "PluginError",
    "PromptTooLong",
    "PushError",
    "ReaderError",
    "RewardHacked",
    "StoreBusy",
    "StoreFailed",
    "TooLong",
    "WorkerDied",
]
