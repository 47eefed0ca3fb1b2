"""The place of a memory file: looked at before SQLite does, which would make, follow or wait for whatever is there."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path

from memrl.errors import DataError


def find_file(path: Path, *, make: bool) -> None:
    """See to it that there is an ordinary file that can be written; one that is made is its owner's alone."""
    try:
        try:
            found = path.stat()
        except FileNotFoundError:
            if path.is_symlink():
                raise DataError(f"{path} is a link to {os.readlink(path)}, which does not exist. Mend it.") from None
            if not make:
                raise DataError(f"{path} does not exist. Give the path of a memory file.") from None
            _make_folder(path.parent)
            with suppress(FileExistsError):  # another process was faster
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
            return
        if stat.S_ISDIR(found.st_mode):
            raise DataError(f"{path} is a folder. Give the path of a file in it, as {path / 'memory.sqlite'}.")
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"{path} is no ordinary file (a pipe, a socket or a device). Give another path.")
        for place in (path, path.absolute().parent):
            if not os.access(place, os.R_OK | os.W_OK):
                raise DataError(
                    f"{place} cannot be read and written by this user, or lies on a disk that is read-only. A memory "
                    "needs both: change its rights, or copy the file to where you may write."
                )
    except OSError as error:
        raise DataError(f"{path} cannot be made or opened ({error.strerror}). Give another path.") from error
    except ValueError as error:  # a NUL, or half a surrogate pair
        raise DataError(f"{str(path)!r} is no path ({error}). Give another.") from error


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
