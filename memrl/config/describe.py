"""Every setting with its type, default and meaning: the comment of a field in the schema is its documentation.

Read by the site's page of settings, by `memrl config` and by the JSON schema with which editors complete YAML; nothing
is written twice.
"""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

from memrl.config import schema
from memrl.config.check import CHOICES
from memrl.config.registries import BESIDE, BY_KEY
from memrl.config.renamed import RENAMED, present_name
from memrl.envs.sources import SOURCES
from memrl.envs.suggest import nearest_dotted
from memrl.errors import ConfigError


@dataclass(frozen=True)
class SettingInfo:
    """One key of a config."""

    key: str
    """Dotted."""
    type: str
    """As the schema writes it: `str | None`."""
    default: Any
    meaning: str
    """In words; empty where the schema has none."""
    choices: tuple[str, ...] = ()
    """The values that ship, where there are only so many."""
    open: bool = False
    """Whether a plug-in's name or an import path will do as well."""


@cache
def settings() -> list[SettingInfo]:
    """Return every setting, in the order of the schema; those of a section stand together, before its own sections."""
    meanings = _meanings(inspect.getsource(schema))
    return list(_walk(schema.Config(), "", meanings))


def find(key: str) -> list[SettingInfo]:
    """Return the setting of that name, or all of a section; by an old name too.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    name = present_name(key, "memrl config")
    if found := [one for one in settings() if one.key == name or one.key.startswith(f"{name}.")]:
        return found
    near = nearest_dotted(name, [one.key for one in settings()])
    hint = f"; did you mean {near!r}?" if near else "; `memrl config` lists all"
    raise ConfigError(f"there is no setting {key!r}{hint}")


def json_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file, by which editors complete and check it.

    It is looser than the check of a run: ranges, and what settings must not stand together, are left to that.
    """
    whole = _object()
    for one in settings():
        *sections, name = one.key.split(".")
        place = whole
        for section in sections:
            place = place["properties"].setdefault(section, _object())
        place["properties"][name] = _property(one)
    for old, new in RENAMED.items():
        section, _, name = old.rpartition(".")
        place = whole
        for part in filter(None, section.split(".")):
            place = place["properties"][part]
        place["properties"][name] = {"description": f"The old name of {new}.", "deprecated": True}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A config of memrl",
        "description": "Made from memrl/config/schema.py by `memrl config --schema`.",
        **whole,
    }


def _object() -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}}


def _property(one: SettingInfo) -> dict[str, Any]:
    described: dict[str, Any] = {"description": one.meaning} if one.meaning else {}
    if one.default is not None:
        described["default"] = one.default
    plain = one.type.removesuffix(" | None")
    if one.key in ("data.train", "data.eval"):
        source = {
            "anyOf": [{"enum": SOURCES.shipped}, {"type": "string"}],
            "description": "where the streams come from",
        }
        known = {"source": source, "weight": {"type": "number", "description": "share among the sources"}}
        return described | {"type": "array", "items": {"type": "object", "required": ["source"], "properties": known}}
    if one.key == "data.curriculum":
        return described | {"type": "array", "items": _section(schema.StageConfig())}
    if one.choices:
        allowed: dict[str, Any] = {"enum": list(one.choices)}
        return described | ({"anyOf": [allowed, {"type": "string"}]} if one.open else allowed)
    return described | (_of_type(plain) if plain == one.type else {"anyOf": [_of_type(plain), {"type": "null"}]})


def _section(section: Any) -> dict[str, Any]:
    """The JSON schema of a stage, or of its `until`, which stand in a list."""
    meanings = _meanings(inspect.getsource(schema))
    whole = _object()
    for field in fields(section):
        meaning = meanings[type(section).__name__, field.name]
        if field.name == "until":
            whole["properties"]["until"] = {
                "description": meaning,
                "anyOf": [_section(schema.UntilConfig()), {"type": "null"}],
            }
        else:
            one = SettingInfo(field.name, str(field.type), getattr(section, field.name), meaning)
            whole["properties"][field.name] = _property(one)
    return whole


def _of_type(written: str) -> dict[str, Any]:
    """The JSON schema of a type, as the schema's annotations write it."""
    if written.startswith("list["):
        return {"type": "array", "items": _of_type(written.removeprefix("list[").removesuffix("]"))}
    if written.startswith("dict[str, "):
        values = _of_type(written.removeprefix("dict[str, ").removesuffix("]"))
        return {"type": "object", **({"additionalProperties": values} if values else {})}
    return dict(_JSON_TYPES[written])


_JSON_TYPES: dict[str, dict[str, Any]] = {
    "Any": {},
    "bool": {"type": "boolean"},
    # YAML as Python reads it takes 2e-5 for text; a number is made of it when the config is loaded.
    "float": {"type": ["number", "string"]},
    "int": {"type": "integer"},
    "str": {"type": "string"},
}


def _walk(section: Any, prefix: str, meanings: dict[tuple[str, str], str]) -> Iterator[SettingInfo]:
    below = []
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value):
            below.append((value, f"{prefix}{field.name}."))
        else:
            key = prefix + field.name
            meaning = meanings.get((type(section).__name__, field.name), "")
            registry = BY_KEY.get(key)
            choices = CHOICES.get(key, ()) if registry is None else (*registry.shipped, *BESIDE.get(key, ()))
            another = registry is not None and registry.group is not None
            yield SettingInfo(key, str(field.type), value, meaning, choices, another)
    for value, deeper in below:
        yield from _walk(value, deeper, meanings)


def _meanings(source: str) -> dict[tuple[str, str], str]:
    """Comments by (class, field): those on the lines of the field's definition."""
    comments = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    return {
        (section.name, node.target.id): " ".join(
            comments[line] for line in range(node.lineno, (node.end_lineno or node.lineno) + 1) if line in comments
        )
        for section in ast.parse(source).body
        if isinstance(section, ast.ClassDef)
        for node in section.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
