"""Descriptors that are held until this process ends, however it does: for the kernel closes them for the dead as well.

A fork of the process holds none of them, else they would be open until the fork has ended too.
"""

from __future__ import annotations

import os

_held: set[int] = set()


def hold(descriptor: int) -> int:
    """Return a descriptor that is held from now on."""
    _held.add(descriptor)
    return descriptor


def holds(descriptor: int) -> bool:
    """Return whether this process holds a descriptor: not where it is let go, nor in a fork, where the number may be
    another file's by now."""
    return descriptor in _held


def let_go(descriptor: int) -> None:
    """Close a descriptor, if this process holds it."""
    if holds(descriptor):
        _held.discard(descriptor)
        os.close(descriptor)


def _let_go_in_child() -> None:
    while _held:
        os.close(_held.pop())


os.register_at_fork(after_in_child=_let_go_in_child)
