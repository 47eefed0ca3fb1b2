"""Sets that are published as parquet tables, read row by row through `datasets`, from the hub or a folder.

`datasets` is imported only when a row is asked for: it brings torch along.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from memrl.envs.building.raw import AGAIN, LFS_POINTER
from memrl.envs.building.source import Locate
from memrl.envs.errors import DataError


def rows(path: Path | str, split: str, columns: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of one split.

    Args:
        path: a name on the hub, a folder as the hub has it (its files are named after their splits), or one file.
        columns: those that are read; each must be there.

    Yields:
        Where the row stands, for messages, and its values.

    Raises:
        DataError: the hub cannot be reached or has no such set; a file is missing, damaged, a Git LFS pointer, or lacks
            a column.
    """
    import pyarrow as pa

    local = Path(path).expanduser()
    if local.exists():
        files = _files(local, split)
        for file in files:
            _check(file, columns)
        streams = [(f"{file}, row", _open("parquet", data_files=[str(file)], split="train")) for file in files]
    elif str(path).count("/") == 1 and not str(path).startswith((".", "/", "~")):
        streams = [(f"{path} ({split}), row", _open(str(path), split=split))]
    else:
        raise DataError(f"{path} does not exist. Check the path (data.path or the source's own `path`).")
    for where, stream in streams:
        values = iter(stream)
        number = 0
        while True:
            try:
                row = next(values, None)
            except (pa.ArrowException, OSError, ValueError) as error:
                message = " ".join(str(error).split())[:200]
                raise DataError(f"{where} {number} cannot be read: {message}. The file is damaged. {AGAIN}") from error
            if row is None:
                break
            yield f"{where} {number}", {name: row[name] for name in columns}
            number += 1


def hub_rows(name: str, split: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The rows of a set on the hub with all their columns, each with its place.

    Raises:
        DataError: the hub cannot be reached, or has no such set or split.
    """
    opened = _open(name, split=split)
    for number, row in enumerate(opened):
        yield f"{name} ({split}), row {number}", dict(row)


def by_columns(*columns: str) -> Locate:
    """A folder with parquet files of these columns, in it or in its folder `data`."""

    def fits(file: Path) -> bool:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return set(columns) <= set(pq.read_schema(file).names)
        except (pa.ArrowException, OSError, ValueError):
            return False

    def locate(files: list[Path]) -> list[Path]:
        return [files[0].parent] if any(file.suffix == ".parquet" and fits(file) for file in files) else []

    return locate


def _files(path: Path, split: str) -> list[Path]:
    if path.is_file():
        return [path]
    files = sorted(file for file in path.rglob("*.parquet") if file.name.startswith(split))
    if not files:
        found = ", ".join(sorted(file.name for file in path.rglob("*.parquet"))) or "none"
        raise DataError(f"{path} has no parquet file of the split {split!r} (it has: {found}). Choose another split.")
    return files


def _check(file: Path, columns: Sequence[str]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with file.open("rb") as opened:
        if opened.read(len(LFS_POINTER)) == LFS_POINTER:
            raise DataError(
                f"{file} is a Git LFS pointer, not the data it stands for. Run `git lfs pull` in its repository, or "
                "download the file itself."
            )
    try:
        names = pq.read_schema(file).names
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{file} is no readable parquet file ({error}). {AGAIN}") from error
    if missing := [name for name in columns if name not in names]:
        raise DataError(
            f"{file} has no column {', '.join(missing)} (it has {', '.join(names)}). Check that it is the set."
        )


def _open(path: str, **how: Any) -> Any:
    import datasets

    try:
        return datasets.load_dataset(path, streaming=True, **how)
    except (OSError, ValueError, RuntimeError) as error:  # no network, no such set, no such split
        raise DataError(
            f"{path} cannot be read from the hub: {' '.join(str(error).split())[:200]}. Check its name and split, or "
            "download it and give its folder as `path`."
        ) from error
