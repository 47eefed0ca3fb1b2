"""What can be replaced, by name: what ships, what an installed package brings, and what a config names by its path.

    registry = Registry("loss", group="memrl.losses")
    registry.add("dapo", Dapo)                  an object, or "package.module:Name", which is imported when asked for
    registry.get("dapo")                        shipped, or from a distribution's entry points
    registry.get("mypackage.module:MyLoss")     the import path of anything that can be imported

A registry stands where its things are implemented, and the config's check reads its names, so no list of names is
written twice. Entry points are read once, when they are first asked for, and imported only when they are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from memrl.envs.errors import PluginError
from memrl.envs.suggest import did_you_mean

T = TypeVar("T")


def is_import_path(name: str) -> bool:
    """Whether a name is written `package.module:Name`."""
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")])


def load_import_path(path: str, kind: str, origin: str = "") -> Any:
    """Return what `package.module:Name` names.

    Args:
        kind: what it is to be, for messages.
        origin: who names it (a distribution, a setting), for messages.

    Raises:
        PluginError: it cannot be imported, whatever its module raises; the message names it and its origin.
    """
    module, _, attribute = path.partition(":")
    where = f" ({origin})" if origin else ""
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # somebody else's module may raise anything
        raise PluginError(f"{kind} {path}{where} cannot be imported: {type(error).__name__}: {error}") from error
    return found


@dataclass(frozen=True)
class Plugin:
    """An entry point, and whose it is."""

    kind: str
    name: str
    path: str
    distribution: str

    @property
    def origin(self) -> str:
        """Whom a message names."""
        return f"from {self.distribution}"


class Registry(Generic[T]):
    """The things of one kind, by name.

    Args:
        kind: what they are, in one or two words ("loss", "reward part"); messages begin with it.
        group: the entry-point group by which other distributions bring theirs; None: there is no such door.
        check: returns what is wrong with a thing that somebody else made, in words; empty where it fits.
    """

    def __init__(self, kind: str, group: str | None = None, check: Callable[[Any], str] | None = None) -> None:
        self.kind = kind
        self.group = group
        self._check = check
        self._own: dict[str, T | str] = {}

    def add(self, name: str, thing: T | str) -> None:
        """Add what ships with this package: an object, or the import path of one that is heavy."""
        if name in self._own:
            raise PluginError(f"there are two of {self.kind} {name!r}.")
        self._own[name] = thing

    @cached_property
    def plugins(self) -> dict[str, Plugin]:
        """What installed distributions bring, by name.

        Raises:
            PluginError: a name is taken, by this package or by another distribution.
        """
        found: dict[str, Plugin] = {}
        for point in entry_points(group=self.group) if self.group else ():
            plugin = Plugin(self.kind, point.name, point.value, _distribution(point))
            if point.name in self._own or point.name in found:
                other = found[point.name].distribution if point.name in found else "memrl itself"
                raise PluginError(
                    f"{self.kind} {point.name!r} of {plugin.distribution} is already the name of one of {other}. "
                    "Rename its entry point, or uninstall one of the two."
                )
            found[point.name] = plugin
        return found

    def names(self) -> list[str]:
        """Every name, shipped ones first."""
        return [*self._own, *self.plugins]

    def knows(self, name: str) -> bool:
        """Whether `name` is one, or has the form of an import path."""
        return name in self._own or name in self.plugins or is_import_path(name)

    def unknown(self, name: str) -> str:
        """What to say of a name that is not known, with the nearest that is."""
        return f"unknown {self.kind} {name!r}{did_you_mean(name, self.names())}"

    def get(self, name: str) -> T:
        """Return the thing `name`.

        Raises:
            PluginError: it is unknown (the nearest right name is given), or somebody else's and cannot be imported or
                has the wrong shape.
        """
        own = self._own.get(name)
        if own is not None:
            return load_import_path(own, self.kind) if isinstance(own, str) else own
        if name in self.plugins:
            plugin = self.plugins[name]
            path, origin = plugin.path, f"entry point {name!r} {plugin.origin}"
        elif is_import_path(name):
            path, origin = name, ""
        else:
            raise PluginError(self.unknown(name) + ".")
        thing: T = load_import_path(path, self.kind, origin)
        complaint = self._check(thing) if self._check else ""
        if complaint:
            raise PluginError(f"{self.kind} {path}{f' ({origin})' if origin else ''} {complaint}")
        return thing

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._own or name in self.plugins)

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed distribution"
