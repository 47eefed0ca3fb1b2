"""Registries of what can be replaced: what ships, what an installed package brings, what a config names by its path.

    registry = Registry("loss", group="memrl.losses", check=shape(members=("per_token", "reduce")))
    registry.add("dapo", "memrl.learner.loss:DAPO")     imported when it is asked for; or the object itself
    registry.get("dapo")                                shipped, or from a distribution's entry points
    registry.get("mypackage.module:MY_LOSS")            the import path of anything that can be imported

The config's check reads the names here, so no list of names is written twice. Entry points are read when they are first
asked for, and imported only when they are used; `memrl plugins` imports them all.
"""

from __future__ import annotations

import inspect
import logging
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from memrl.envs.errors import PluginError
from memrl.envs.suggest import did_you_mean

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

log = logging.getLogger(__name__)
T = TypeVar("T")
Check = Callable[[Any], str]
"""Says what is wrong with a thing that somebody else made, as the end of a sentence; empty where it fits."""
GROUPS = "memrl."
"""What every group of ours begins with."""


def is_import_path(name: str) -> bool:
    """Return whether a name is written `package.module:Name`."""
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
    where = f" ({origin})" if origin else ""
    if not is_import_path(path):
        raise PluginError(f"{kind} {path!r}{where} is no import path; it must be written package.module:Name")
    module, _, attribute = path.partition(":")
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:  # somebody else's module may raise anything, and may even exit
        remedy = ""
        if isinstance(error, ModuleNotFoundError):
            remedy = ". Install what it is in, or put its folder on PYTHONPATH"
        raise PluginError(
            f"{kind} {path}{where} cannot be imported: {type(error).__name__}: {error}{remedy}"
        ) from error
    return found


def shape(*, takes: int | None = None, members: Sequence[str] = ()) -> Check:
    """Return the check that a thing can be called with `takes` arguments (None: it is not called), and has `members`.

    Of a class they are what its objects will have; of a function nothing can be known, and nothing is asked.
    """

    def check(thing: Any) -> str:
        if takes is not None:
            if not callable(thing):
                return f"is {_described(thing)}; it must be a class or a function"
            try:
                inspect.signature(thing).bind(*[None] * takes)
            except TypeError as error:
                return f"cannot be called with {takes} arguments, as it will be: {error}"
            except ValueError:  # built in: it tells nobody what it takes
                return ""
        if takes is None or inspect.isclass(thing):
            missing = [name for name in members if not hasattr(thing, name)]
            if missing:
                return f"is {_described(thing)} without {', '.join(missing)}"
        return ""

    return check


def _described(thing: Any) -> str:
    return f"the class {thing.__name__}" if inspect.isclass(thing) else f"an object of the type {type(thing).__name__}"


@dataclass(frozen=True)
class Plugin:
    """An entry point, and whose it is."""

    kind: str
    name: str
    path: str
    distribution: str

    @property
    def origin(self) -> str:
        """Return whom a message names."""
        return f"entry point {self.name!r} of {self.distribution}"


class Registry(Generic[T]):
    """The things of one kind, by name.

    Args:
        kind: what they are, in one or two words ("loss", "reward part"); messages begin with it.
        group: the entry-point group by which other distributions bring theirs; None: only what ships can be named.
        check: finds what is wrong with the shape of somebody else's.
        named: the things have a `name` of their own, which records hold; it must be their entry point's, and untaken.
    """

    def __init__(self, kind: str, group: str | None = None, check: Check | None = None, *, named: bool = False) -> None:
        self.kind = kind
        self.group = group
        self._check = check
        self._named = named
        self._own: dict[str, T | str] = {}

    def add(self, name: str, thing: T | str) -> None:
        """Add what ships with this package: an object, or the import path of one that is heavy or lives higher up."""
        if name in self._own:
            raise PluginError(f"there are two of {self.kind} {name!r}.")
        self._own[name] = thing

    @property
    def shipped(self) -> list[str]:
        """Names of what comes with this package."""
        return list(self._own)

    @property
    def plugins(self) -> list[Plugin]:
        """Return what installed distributions bring, as they say it: two may have the same name."""
        return [] if self.group is None else _plugins(self.kind, self.group, tuple(sys.path))

    def names(self) -> list[str]:
        """Every name, shipped ones first."""
        return list(dict.fromkeys([*self._own, *(plugin.name for plugin in self.plugins)]))

    def knows(self, name: str) -> bool:
        """Return whether `name` is one, or has the form of an import path and may be one."""
        return name in self or (self.group is not None and is_import_path(name))

    def unknown(self, name: str) -> str:
        """Return what to say of a name that is not known, with the nearest that is."""
        return f"unknown {self.kind} {name!r}{did_you_mean(name, self.names())}"

    def complaint(self, name: str) -> str:
        """Return what is wrong with using `name`; empty where nothing is. What ships is not imported for it."""
        try:
            if name not in self._own or self._claims(name):
                self.get(name)
        except PluginError as error:
            return str(error)
        return ""

    def get(self, name: str) -> T:
        """Return the thing `name`.

        Raises:
            PluginError: it is unknown (the nearest right name is given), taken twice, or somebody else's and cannot be
                imported or has the wrong shape.
        """
        if not self.knows(name):
            unknown = self.unknown(name)
            raise PluginError(unknown if unknown.endswith("?") else f"{unknown}.")
        claims = self._claims(name)
        if name in self._own and not claims:
            own = self._own[name]
            return load_import_path(own, self.kind) if isinstance(own, str) else own
        return self.load(claims[0]) if claims else self._load(name, "", None)

    def load(self, plugin: Plugin) -> T:
        """Return what an entry point names, once it is known to be the only one of its name.

        Raises:
            PluginError: its name is taken, it cannot be imported or has the wrong shape; its distribution is named.
        """
        others = [claim.distribution for claim in self._claims(plugin.name) if claim != plugin]
        if plugin.name in self._own:
            others.insert(0, "memrl itself")
        if others:
            raise PluginError(
                f"{self.kind} {plugin.name!r} of {plugin.distribution} has a name that is taken by "
                f"{' and '.join(others)}. Rename its entry point, or uninstall what is not wanted."
            )
        return self._load(plugin.path, plugin.origin, plugin.name)

    def _load(self, path: str, origin: str, name: str | None) -> T:
        thing: T = load_import_path(path, self.kind, origin)
        wrong = (self._check(thing) if self._check else "") or self._misnamed(thing, name)
        if wrong:
            raise PluginError(f"{self.kind} {path}{f' ({origin})' if origin else ''} {wrong}.")
        return thing

    def _misnamed(self, thing: Any, name: str | None) -> str:
        """Return what is wrong with a thing's own name; `name` is its entry point's, None where it came by its path."""
        own = getattr(thing, "name", None)
        if not self._named or not isinstance(own, str):
            return ""
        if name is not None and own != name:
            return f"calls itself {own!r}, and its entry point {name!r}: the two must be the same"
        if name is None and own in self and self.get(own) is not thing:
            return f"calls itself {own!r}, which is the name of another. Rename it"
        return ""

    def _claims(self, name: str) -> list[Plugin]:
        return [plugin for plugin in self.plugins if plugin.name == name]

    def values(self) -> list[T]:
        """Everything that can be used. A plug-in that cannot be is left out with a warning."""
        return [thing for _, thing in self.items()]

    def items(self) -> list[tuple[str, T]]:
        """Return the same as `values`, each with its name."""
        found: list[tuple[str, T]] = []
        for name in self.names():
            try:
                found.append((name, self.get(name)))
            except PluginError as error:
                log.warning("left out: %s", error)
        return found

    def __getitem__(self, name: str) -> T:
        return self.get(name)

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (name in self._own or bool(self._claims(name)))

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())


def stray_plugins(groups: Sequence[str]) -> list[Plugin]:
    """Return the entry points whose group begins like ours and is none of `groups`: nobody will ever read them."""
    return [
        Plugin(group, point.name, point.value, _distribution(point))
        for group, points in sorted(_entry_points(tuple(sys.path)).items())
        if group not in groups
        for point in points
    ]


@lru_cache(maxsize=64)
def _plugins(kind: str, group: str, path: tuple[str, ...]) -> list[Plugin]:
    points = _entry_points(path).get(group, [])
    return [Plugin(kind, point.name, _path(point), _distribution(point)) for point in points]


@lru_cache(maxsize=4)
def _entry_points(path: tuple[str, ...]) -> dict[str, list[EntryPoint]]:
    """The entry points of groups that begin like ours; `path` is sys.path, on which they are looked for."""
    from importlib.metadata import entry_points

    everything = entry_points()
    return {
        group: sorted(everything.select(group=group), key=lambda point: (point.name, _distribution(point)))
        for group in everything.groups
        if group.startswith(GROUPS)
    }


def _path(point: EntryPoint) -> str:
    """Return its import path; what is no such path is left as it is written, to be complained of."""
    match = point.pattern.match(point.value)
    return f"{match['module']}:{match['attr']}" if match and match["attr"] else point.value


def _distribution(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist is not None else "an unnamed distribution"
