"""Wrappers over a memory of any design, by name: `memory.wrappers: [decay, guard]`, or with settings of their own,
`[{wrapper: decay, strength: 20}]`.

A wrapper is a class that stands before that of the design, so that a wrapped memory is one of its design too, with the
same tools and items. Invariant: without wrappers a memory is what `DESIGNS` gives, and nothing of this is used.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast

from memrl.envs.designs import DESIGNS, MemoryDesign, TokenCounter
from memrl.envs.errors import DataError, PluginError
from memrl.envs.registry import Registry, shape
from memrl.envs.suggest import did_you_mean

if TYPE_CHECKING:
    from memrl.envs.designs.base import HeldDesign
    from memrl.envs.wrappers.wrapper import Wrapper

__all__ = ["WRAPPERS", "NewMemory", "WrapperSpec", "open_design", "parse_wrappers"]

NewMemory = Callable[[int, int, TokenCounter], MemoryDesign]
WRAPPERS: Registry[type[Wrapper]] = Registry(
    "memory wrapper", "memrl.wrappers", shape(members=("wrapper", "settings", "begin_step"))
)
WRAPPERS.add("decay", "memrl.envs.wrappers.decay:Decay")
WRAPPERS.add("guard", "memrl.envs.wrappers.guard:OrderGuard")
WRAPPERS.add("consolidate", "memrl.envs.wrappers.consolidate:Consolidate")


@dataclass(frozen=True)
class WrapperSpec:
    """One entry of `memory.wrappers`, taken apart."""

    name: str
    settings: tuple[tuple[str, float], ...]


def parse_wrappers(wrappers: Sequence[Any]) -> tuple[WrapperSpec, ...]:
    """Take `memory.wrappers` apart.

    Args:
        wrappers: names, or mappings `{wrapper: name, <its settings>}`.

    Raises:
        DataError: an entry names none or an unknown one, one is named twice, or a setting is unknown or out of range.
        PluginError: somebody else's cannot be imported.
    """
    found = tuple(map(_parsed, wrappers))
    names = [spec.name for spec in found]
    for name in names:
        if names.count(name) > 1:
            raise DataError(f"memory.wrappers names {name!r} {names.count(name)} times; name it once.")
    return found


def _parsed(entry: Any) -> WrapperSpec:
    given = entry if isinstance(entry, Mapping) else {"wrapper": entry}
    name = given.get("wrapper")
    if not isinstance(name, str):
        raise DataError(f"memory.wrappers: {entry!r} names no wrapper. Write e.g. decay, or {{wrapper: decay}}.")
    if not WRAPPERS.knows(name):
        raise DataError(f"memory.wrappers names {name!r}{did_you_mean(name, WRAPPERS)}")
    known = WRAPPERS.get(name).settings
    chosen = {str(key): value for key, value in given.items() if key != "wrapper"}
    for key, value in chosen.items():
        if key not in known:
            none = "" if known else f": {name} has no settings"
            raise DataError(f"memory.wrappers: {name} has no setting {key!r}{none or did_you_mean(key, known)}")
        if complaint := known[key].complaint(value):
            raise DataError(f"memory.wrappers: {key} of {name} is {value!r}; {complaint}.")
    return WrapperSpec(name, tuple(sorted(chosen.items())))


def open_design(design: str, wrappers: Sequence[Any] = ()) -> NewMemory:
    """Return what makes an empty memory of a design under wrappers.

    Args:
        design, wrappers: as `memory.design` and `memory.wrappers` of a config.

    Raises:
        DataError: as `parse_wrappers`.
        PluginError: the design or a wrapper is unknown, or somebody else's and cannot be used; or the design is none of
            items, which wrappers are for.
    """
    made = DESIGNS.get(design)
    return cast(NewMemory, wrap(made, parse_wrappers(wrappers), design)) if wrappers else made


def wrap(design: NewMemory, wrappers: Sequence[WrapperSpec], name: str = "") -> type[HeldDesign]:
    """Return the class of a design under wrappers: the same whatever order they are named in.

    Args:
        name: of the design, for messages.

    Raises:
        PluginError: the design is none of items.
    """
    from memrl.envs.designs.base import HeldDesign  # with the index and its libraries: a config needs none of it

    if not (inspect.isclass(design) and issubclass(design, HeldDesign)):
        raise PluginError(
            f"memory.wrappers lie over a design of items (memrl.envs.designs.base.HeldDesign), and {name or design!r} "
            "is none. Leave memory.wrappers out, or choose another memory.design."
        )
    order = {one: place for place, one in enumerate(WRAPPERS.names())}
    return _wrapped(
        cast(Any, design), tuple(sorted(wrappers, key=lambda spec: (order.get(spec.name, len(order)), spec.name)))
    )


@lru_cache(maxsize=64)
def _wrapped(design: type[HeldDesign], wrappers: tuple[WrapperSpec, ...]) -> type[HeldDesign]:
    bases = [WRAPPERS.get(spec.name) for spec in wrappers]
    members: dict[str, Any] = {
        f"{base.wrapper}_{key}": value
        for base, spec in zip(bases, wrappers, strict=True)
        for key, value in spec.settings
    }
    members["name"] = "+".join([design.name, *(base.wrapper for base in bases)])
    members["__module__"] = design.__module__
    members["__doc__"] = design.__doc__
    members["wrapped"] = tuple(base.wrapper for base in bases)
    return cast("type[HeldDesign]", type(design.__name__, (*reversed(bases), design), members))
