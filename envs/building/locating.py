"""Finding a source's raw files in a folder: by name, by fields of the first record, by archive members."""

from __future__ import annotations

import fnmatch
import re
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from memrl.envs.building.raw import AnyRecord, is_archive, matches, open_raw, records
from memrl.envs.building.source import Locate
from memrl.envs.errors import DataError


def by_names(*names: str, begins: bytes = b"") -> Locate:
    """A folder that holds all of these files, each plain or .gz.

    Args:
        begins: a pattern that the first of them must begin with, where the names alone are not telling.
    """

    def fits(file: Path) -> bool:
        try:
            with open_raw(file) as opened:
                return re.match(begins, opened.read(4096)) is not None
        except DataError:
            return False

    def locate(files: list[Path]) -> list[Path]:
        held = {file.name.removesuffix(".gz"): file for file in files}
        found = held.keys() >= set(names) and (not begins or fits(held[names[0]]))
        return [files[0].parent] if found else []

    return locate


def by_fields(name: str, *fields: str, at: str = "item") -> Locate:
    """Every JSON, JSON lines or parquet file whose first record has these fields; without fields, those called `name`.

    Args:
        name: the pattern of the names that the publisher gives: such a file counts even if it cannot be read, so that
            the build says what is wrong with it.
        at: where the records are, as in `records`.
    """
    if fields:
        return by_record(name, lambda first: first.keys() >= set(fields), at=at)
    return lambda files: [file for file in files if fnmatch.fnmatch(file.name.removesuffix(".gz"), name)]


def by_record(name: str, fits: Callable[[Mapping[str, Any]], bool], *, at: str = "item") -> Locate:
    """Every JSON, JSON lines or parquet file whose first record fits; `name` and `at` as for `by_fields`."""

    def telling(file: Path) -> bool:
        plain = file.name.removesuffix(".gz")
        if not plain.endswith((".json", ".jsonl", ".parquet")):
            return False
        try:
            _, first = next(records(file, AnyRecord, at=at))
        except DataError:
            return fnmatch.fnmatch(plain, name)
        return fits(first.model_extra or {})

    return lambda files: [file for file in files if telling(file)]


def by_members(pattern: str) -> Locate:
    """A tar archive with a member whose path matches `pattern` (anywhere in it), or a folder with such a file in it."""
    depth = pattern.count("/")

    def locate(files: list[Path]) -> list[Path]:
        roots = (files[0].parent, *files[0].parent.parents)[depth : depth + 1]
        here = [
            root for root in roots if any(fnmatch.fnmatch(file.relative_to(root).as_posix(), pattern) for file in files)
        ]
        return archives_with(pattern, files) + here

    return locate


def archives_with(pattern: str, files: list[Path]) -> list[Path]:
    """Return the tar archives among files that have a member whose path matches `pattern`, anywhere in it."""

    def inside(file: Path) -> bool:
        if not is_archive(file):
            return False
        try:
            with open_raw(file) as opened, tarfile.open(fileobj=opened, mode="r|") as archive:
                return any(matches(member.name, pattern) for member in archive)
        except (DataError, tarfile.TarError):
            return False

    return [file for file in files if inside(file)]
