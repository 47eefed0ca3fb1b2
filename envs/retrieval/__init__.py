"""Retrieval by name: how the items of a memory are found for a text. One protocol, one file an index.

A retrieval is called with its options and makes an empty `Index`. Any design's memory is searched by any of them.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any, Protocol

from memrl.envs.errors import PluginError
from memrl.envs.registry import Registry
from memrl.envs.suggest import did_you_mean

WANTED = 64
"""Items that are ranked at first, where nobody says how many; the others only where somebody looks further."""
BM25 = "bm25"
"""The retrieval that a memory has unless another one is named."""
MEMBERS = ("add", "remove", "ranked", "hold", "release", "take_back", "put_back")


class Index(Protocol):
    """Items by their texts, kept up to date as they come and go.

    Between `hold` and `release`, writes can be undone, the last first, each by its opposite.
    """

    def add(self, item_id: str, text: str) -> None:
        """Index an item; an id that is there already is replaced."""
        ...

    def remove(self, item_id: str) -> Any:
        """Forget an item; an unknown id is ignored. Returns what `put_back` takes."""
        ...

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        """Yield the items that match as (id, score), each once, best first; of equals, the last written first.

        Args:
            wanted: how many will be looked at, as far as is known. More may be; they are found more slowly.
        """
        ...

    def hold(self) -> None:
        """Keep what undoing needs, until `release`."""
        ...

    def release(self) -> None:
        """Let go of what `hold` has kept."""
        ...

    def take_back(self, item_id: str) -> None:
        """Undo the last `add`, which was of a new id."""
        ...

    def put_back(self, removed: Any) -> None:
        """Undo a `remove`; given is what it returned."""
        ...


NewIndex = Callable[[], Index]


def _wrong(thing: Any) -> str:
    """Return what is wrong with what somebody else gives as a retrieval."""
    if not callable(thing):
        return f"is of the type {type(thing).__name__}; it must be a class or a function that makes an index"
    missing = [name for name in MEMBERS if not hasattr(thing, name)] if inspect.isclass(thing) else []
    return f"is the class {thing.__name__} without {', '.join(missing)}" if missing else ""


RETRIEVALS: Registry[Callable[..., Index]] = Registry("retrieval", "memrl.retrievals", _wrong)
RETRIEVALS.add(BM25, "memrl.envs.retrieval.bm25:BM25Index")
RETRIEVALS.add("dense", "memrl.envs.retrieval.dense:DenseIndex")
RETRIEVALS.add("hybrid", "memrl.envs.retrieval.hybrid:HybridIndex")
RETRIEVALS.add("rerank", "memrl.envs.retrieval.rerank:RerankIndex")
RETRIEVALS.add("iterative", "memrl.envs.retrieval.iterative:IterativeIndex")
RETRIEVALS.add("anchored", "memrl.envs.retrieval.anchored:AnchoredIndex")


def open_retrieval(name: str, options: Mapping[str, Any]) -> NewIndex:
    """Return what makes empty indexes of a retrieval.

    Args:
        name: one of RETRIEVALS, an installed distribution's, or an import path.

    Raises:
        PluginError: it is unknown (the nearest right name is given), cannot be imported, or has no such option; an
            option is missing or of another type.
    """
    make = RETRIEVALS.get(name)
    parameters, hints = _parameters(make), _hints(make)
    takes_any = any(one.kind is one.VAR_KEYWORD for one in inspect.signature(make).parameters.values())
    for option, value in options.items():
        if option not in parameters and not takes_any:
            owners = [other for other in RETRIEVALS.shipped if option in _parameters(RETRIEVALS.get(other))]
            whose = f", which is an option of {', '.join(owners)}" if owners else did_you_mean(str(option), parameters)
            raise PluginError(f"retrieval {name!r} has no option {option!r}{whose}")
        if option in hints and (complaint := _mistyped(value, hints[option])):
            raise PluginError(f"retrieval {name!r}, option {option!r}: {complaint}")
    for option, parameter in parameters.items():
        if parameter.default is parameter.empty and option not in options:
            raise PluginError(
                f"retrieval {name!r} needs the option {option!r}; its options are {', '.join(parameters)}"
            )
    return partial(make, **options)


def complaint_of(name: str, options: Mapping[str, Any], *, here: bool = True) -> str:
    """Return what is wrong with a retrieval and its options; empty where nothing is.

    Args:
        here: also look whether this machine has what it needs. No model is loaded.
    """
    try:
        new_index = open_retrieval(name, options)
        if here:
            new_index()
    except PluginError as error:
        return str(error)
    except Exception as error:  # somebody else's class may raise anything
        return f"retrieval {name!r} does not take its options: {type(error).__name__}: {error}"
    return ""


def try_retrieval(new_index: NewIndex) -> None:
    """Search an index of one item, so that what is needed is loaded, and what is broken is told before it is late.

    Raises:
        PluginError: a model cannot be loaded.
        EnvironmentFault: a model gives no numbers.
    """
    index = new_index()
    index.add("a", "Ann lives in Oslo.")
    next(index.ranked("Where does Ann live?"), None)


def _parameters(make: Callable[..., Index]) -> dict[str, inspect.Parameter]:
    """Return the options of a retrieval: what it can be called with by name."""
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: one for name, one in inspect.signature(make).parameters.items() if one.kind in kinds}


def _hints(make: Callable[..., Index]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(make.__init__ if inspect.isclass(make) else make)
    except (NameError, TypeError, AttributeError):  # somebody else's, which this process cannot read
        return {}


def _mistyped(value: Any, hint: Any) -> str:
    """Return what is wrong with a value where another type is due."""
    from pydantic import TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError

    try:
        TypeAdapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        return f"{error.errors()[0]['msg'].lower()}, not {value!r:.60}"
    except PydanticSchemaGenerationError:  # a type that only its own module can tell
        return ""
    return ""
