"""A source by name: what it is, what it needs, and how its options, checked, become streams."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError, validate_call
from pydantic.fields import FieldInfo

from memrl.envs.building.releases import Release
from memrl.envs.building.stage import Stage
from memrl.envs.errors import DataError
from memrl.envs.stream import Stream, explain
from memrl.envs.suggest import did_you_mean

_HELD_OUT = re.compile(r"(?:^|[^a-z])(?:test|dev|val|valid|validation)(?:[^a-z]|$)", re.IGNORECASE)
"""A word of a file's name by which publishers call what is not to be trained on."""
_PATH = re.compile(r"^ +path: (.*(?:\n {5,}.*)*)", re.MULTILINE)
"""What a docstring says of the argument `path`."""
Locate = Callable[[list[Path]], list[Path]]
"""From the files of one folder to the `path`s that a source would read there."""


@dataclass(frozen=True)
class Source:
    """One data source.

    `read` yields streams, or, where there is a `stage`, what that makes streams of. The options of a source are the
    parameters of `read` and the fields of the stage; a name that both have is given to both.
    """

    name: str
    read: Callable[..., Iterable[Any]]
    about: str
    stage: Stage | None = None
    """With the source's own defaults."""
    home: str | None = None
    """Where its raw files are published; None: it is generated, or the user's own."""
    licence: str | None = None
    kind: Literal["retrieval", "dialogue", "labels", "summaries", "code", "synthetic", "mixed"] = "retrieval"
    extractive: bool = False
    """Its answers are spans of its text."""
    tried: Literal["real", "format", "generated"] = "real"
    """`real`: tested on the published files; `format`: on a hand-made file of the published format; `generated`."""
    locate: Locate | None = None
    """None: it is never found in a folder of raw files."""
    recurring: bool = False
    """The same people speak in training and evaluation, and say some things again: no sign that a text was copied."""
    endless: bool = False
    """Without a `count` it never ends."""
    splits: tuple[str, ...] = ("train", "eval")
    """The values of its option `split`; none where it has no such option."""
    versions: Mapping[str, str] | None = None
    """Known input files: SHA-256 of the plain content -> the commit of the repository that has it."""
    release: Callable[[Mapping[str, Any]], Release] | None = None
    """The publication that its options name, where what it holds is known."""

    @property
    def reads(self) -> str:
        """Return which files it reads, in words: what its reader's docstring says of `path`."""
        told = inspect.getdoc(self.read) or ""
        if "path" not in inspect.signature(self.read).parameters:
            return "nothing: it is generated"
        if found := _PATH.search(told):
            return " ".join(found[1].split()).rstrip(".")
        return " ".join(told.split("\n\n")[0].split()).rstrip(".")

    def find(self, files: list[Path]) -> list[Path]:
        """Return the `path`s that it would read among the files of one folder; none where it is never found by them."""
        shown = [file for file in files if not file.name.startswith(".")]
        return self.locate(shown) if shown and self.locate is not None else []

    def options(self) -> dict[str, Any]:
        """Every option, with its default (`inspect.Parameter.empty`: it must be given)."""
        given = {name: parameter.default for name, parameter in inspect.signature(self.read).parameters.items()}
        own = {name: default.default if isinstance(default, FieldInfo) else default for name, default in given.items()}
        return own if self.stage is None else {**own, **self.stage.model_dump()}

    def held_out(self, path: str) -> bool:
        """Return whether a path is, by its name, a published file to evaluate on ("dev-v2.0.json", "test.txt")."""
        own = self.home is None or self.licence == "your own"
        return not own and _HELD_OUT.search(Path(path).name) is not None

    def open(self, options: Mapping[str, Any]) -> Iterator[Stream]:
        """Return its streams. What is wrong with the options is told at once, what is wrong with the data as it is
        read.

        Raises:
            DataError: an option is unknown (the nearest right name is given), missing, or of the wrong type.
        """
        known = self.options()
        for option in options:
            if option not in known:
                hint = did_you_mean(str(option), known)
                raise DataError(f"source {self.name!r} has no option {option!r}{hint}")
        for option, default in known.items():
            if default is inspect.Parameter.empty and option not in options:
                raise DataError(f"source {self.name!r} needs the option {option!r}. Its options: {', '.join(known)}.")
        wanted = inspect.signature(self.read).parameters
        own = {option: value for option, value in options.items() if option in wanted}
        read = validate_call(self.read)
        try:
            first = read(**own)
            if self.stage is None:
                return iter(first)
            shared = {option: value for option, value in options.items() if option in type(self.stage).model_fields}
            names = (str(options.get("path", "")), str(options.get("part", "")))
            if "eval_share" not in options and any(map(self.held_out, names)):
                shared["eval_share"] = 1.0
            stage = type(self.stage).model_validate({**self.stage.model_dump(), **shared})
        except ValidationError as error:
            raise DataError(f"source {self.name!r}, option {explain(error)}.") from error
        return stage.streams(lambda: read(**own), self.name)
