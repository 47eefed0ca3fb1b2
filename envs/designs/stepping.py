"""The beginning of a step, told to memories in which time passes: those under wrappers (`memrl.envs.wrappers`)."""

from __future__ import annotations

from memrl.envs.designs.design import MemoryDesign


def begin_step(memory: MemoryDesign, text: str | None) -> None:
    """Tell a memory that a step begins, before its calls. To one that has no `begin_step` it means nothing.

    Args:
        text: of the chunk that is read; None: nothing is read, the memory is tidied.
    """
    hook = getattr(memory, "begin_step", None)
    if hook is not None:
        hook(text)
