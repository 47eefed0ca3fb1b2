"""Every setting with its type, default and meaning: the comment of a field in the schema is its documentation.

Read by the site's page of settings and by whatever else tells a person what a key means; nothing is written twice.
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


@cache
def settings() -> list[SettingInfo]:
    """Return every setting, in the order of the schema; those of a section stand together, before its own sections."""
    meanings = _meanings(inspect.getsource(schema))
    return list(_walk(schema.Config(), "", meanings))


def _walk(section: Any, prefix: str, meanings: dict[tuple[str, str], str]) -> Iterator[SettingInfo]:
    below = []
    for field in fields(section):
        value = getattr(section, field.name)
        if is_dataclass(value):
            below.append((value, f"{prefix}{field.name}."))
        else:
            meaning = meanings.get((type(section).__name__, field.name), "")
            yield SettingInfo(prefix + field.name, str(field.type), value, meaning)
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
