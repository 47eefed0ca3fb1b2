"""Nothing half-written (law 8): a file or folder appears under its name only when it is complete and on the disk.

Files are written beside their place, synced and renamed. Folders too, with `manifest.json`: the SHA-256 of every file
in them, so that a damaged one can be named later instead of being loaded.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from memrl.envs.whole import PARTIAL, sync, whole_file
from memrl.errors import ConfigError

MANIFEST = "manifest.json"
_REPLACED = ".replaced"


def write_bytes_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path`: readers see the old content or the new, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as partial:
        partial.write_bytes(data)


def write_text_atomic(path: Path, text: str) -> None:
    """`write_bytes_atomic` for UTF-8 text."""
    write_bytes_atomic(path, text.encode("utf-8"))


def write_json_atomic(path: Path, value: Any, *, indent: int | None = 2) -> None:
    """`write_bytes_atomic` for a JSON value. Refuses NaN and infinities, which are no JSON."""
    write_text_atomic(path, json.dumps(value, indent=indent, ensure_ascii=False, allow_nan=False) + "\n")


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's content."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _files(folder: Path) -> dict[str, Path]:
    """Every file under `folder` but its manifest, by POSIX path relative to it, sorted."""
    found = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: found[name] for name in sorted(found) if name != MANIFEST}


def write_manifest(folder: Path) -> None:
    """Record the SHA-256 and size of every file in `folder`, and sync them all."""
    entries: dict[str, dict[str, str | int]] = {}
    for name, path in _files(folder).items():
        sync(path)
        entries[name] = {"sha256": sha256_file(path), "bytes": path.stat().st_size}
    write_json_atomic(folder / MANIFEST, {"files": entries})
    for sub in sorted(path for path in folder.rglob("*") if path.is_dir()):
        sync(sub)


def find_damage(folder: Path) -> str | None:
    """Return what is wrong with a folder that has a manifest, in words; None where every file is as it was written."""
    try:
        files = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        expected = {str(name): str(entry["sha256"]) for name, entry in files.items()}
    except FileNotFoundError:
        return f"{MANIFEST} is missing"
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        return f"{MANIFEST} cannot be read ({error})"
    for name, digest in expected.items():
        path = folder / name
        try:
            if sha256_file(path) != digest:
                return f"{name} is not what was written (its SHA-256 differs)"
        except FileNotFoundError:
            return f"{name} is missing"
        except OSError as error:
            return f"{name} cannot be read ({error.strerror})"
    return None


def content_hash(path: Path) -> str | None:
    """Return a hash of what a folder or a file holds, as its manifest tells; None where no manifest does.

    A folder is known by its own manifest, a file by that of the folder that it lies in. Nothing is read again.
    """
    try:
        if path.is_dir():
            return sha256_file(path / MANIFEST)
        files = json.loads((path.parent / MANIFEST).read_text(encoding="utf-8"))["files"]
        return str(files[path.name]["sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def check_writable(target: Path) -> None:
    """Refuse a file or folder that could not be made: what is slow to compute must have a place to go.

    Raises:
        ConfigError: nothing can be written where it is to stand.
    """
    there = next(folder for folder in target.absolute().parents if folder.exists())
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        raise ConfigError(f"{target} cannot be written: {there}: {error.strerror}. Name another place.") from error


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder to fill; when the block ends well it becomes `target`, with a manifest; else it is removed.

    An existing `target` is replaced (a resumed run writes again what the killed one wrote after its last checkpoint).
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(target.name + PARTIAL)
    replaced = target.with_name(target.name + _REPLACED)
    for leftover in (partial, replaced):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        partial.mkdir()
        yield partial
        write_manifest(partial)
        sync(partial)
        if target.exists():  # a folder cannot be renamed over a folder that is not empty
            os.rename(target, replaced)
        os.rename(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    sync(target.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def link_atomic(link: Path, target: str) -> None:
    """Point the symlink `link` at `target` (relative to the link's folder), replacing an older link in one step."""
    partial = link.with_name(link.name + PARTIAL)
    partial.unlink(missing_ok=True)
    os.symlink(target, partial)
    os.replace(partial, link)
    sync(link.parent)
