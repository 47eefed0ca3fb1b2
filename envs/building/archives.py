"""Zip archives as folders. The names of an archive are checked and grouped once, and lead nowhere outside it.

`zipfile.Path` does neither: it hangs on a name like `//a` (CVE-2024-8088), and reads all names again for each folder.
"""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from typing import IO

from memrl.envs.errors import DataError

MOST_BYTES = 4 << 30
"""Bytes of one file that is unpacked; a larger one is refused before it is unpacked, or where it passes them."""
MOST_IN_ALL = 16 << 30
"""Bytes of all files of an archive together, pictures and sounds aside, as the archive itself says."""
MOST_NESTED = 3
"""Archives one in another."""
UNPACK = "Unpack it yourself, and give the folder."


class ZipPlace:
    """A file or a folder in a zip archive.

    Attributes:
        name: its last part; empty for the archive itself.
    """

    def __init__(self, archive: zipfile.ZipFile, name: str, info: zipfile.ZipInfo | None) -> None:
        self._archive = archive
        self._within: dict[str, ZipPlace] = {}
        self.name = name
        self.info = info
        """What the archive says of a file; None of a folder."""

    def is_dir(self) -> bool:
        return self.info is None

    def is_file(self) -> bool:
        return self.info is not None

    def iterdir(self) -> Iterator[ZipPlace]:
        yield from self._within.values()

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Open a file for reading."""
        assert self.info is not None and mode == "rb"
        return self._archive.open(self.info)

    def add(self, parts: list[str], info: zipfile.ZipInfo | None, where: str) -> None:
        """Add what lies below a folder, by the parts of its name.

        Raises:
            DataError: something is a file and a folder.
        """
        place = self
        for number, part in enumerate(parts):
            last = number == len(parts) - 1
            of = info if last else None
            found = place._within.get(part)
            if found is None:
                found = place._within[part] = ZipPlace(self._archive, part, of)
            elif found.is_dir() != (of is None):
                raise DataError(f"{where}: {'/'.join(parts[: number + 1])!r} is a file and a folder in it. {UNPACK}")
            elif last:
                found.info = of  # of two of one name the later one counts, as for whoever unpacks them
            place = found


def zip_root(archive: zipfile.ZipFile, where: str, unread: tuple[str, ...] = ()) -> ZipPlace:
    """Return the folder that a zip archive stands for.

    Args:
        where: what messages call it.
        unread: ends of names of files that are left where they are, and count for nothing.

    Raises:
        DataError: a name in it is absolute, has an empty part, "." or "..", or all files together are too large.
    """
    root = ZipPlace(archive, "", None)
    size = 0
    for info in archive.infolist():
        parts = info.filename.removesuffix("/").split("/")
        if any(part in ("", ".", "..") for part in parts):
            raise DataError(
                f"{where} has an entry {info.filename!r}, which is no place inside an archive. Do not trust it; if it "
                "is your own, pack it again."
            )
        size += 0 if info.filename.lower().endswith(unread) else info.file_size
        if size > MOST_IN_ALL:
            raise DataError(f"{where} would unpack to more than {MOST_IN_ALL:,} bytes. {UNPACK}")
        root.add(parts, None if info.is_dir() else info, where)
    return root
