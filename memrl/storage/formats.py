"""The format versions of everything that outlives the process that wrote it: one number for each kind of thing.

The rule: what has no number is version 0, from before there were any; older versions are read; a newer one is refused
by name, and nothing of it is touched. A version goes up only where the code of today could misread what it finds. A
setting that comes or goes is no new version: `memrl.config.identity` and `memrl.config.renamed` see to that.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from memrl.errors import FormatError

FORMAT_KEY = "format_version"
"""The key of the version in a JSON file."""
FORMATS = {"run": 1, "checkpoint": 1, "set": 1, "export": 1, "memory": 4, "evaluation": 1}
"""What this version of memrl writes."""
NAMES = {
    "run": "a run folder",
    "checkpoint": "a checkpoint",
    "set": "a built set",
    "export": "an exported policy",
    "memory": "a memory file",
    "evaluation": "an evaluation",
}


def stamp(kind: str) -> dict[str, int]:
    """Return the entry that says the version, for a JSON object of this kind."""
    return {FORMAT_KEY: FORMATS[kind]}


def check_format(kind: str, found: Any, path: Path) -> int:
    """Return the version of what was found, and refuse one that is newer than ours.

    Args:
        kind: a key of FORMATS.
        found: the version as it was read; None where there was none, or the JSON object that may hold it.
        path: the file or folder, for the message.

    Raises:
        FormatError: it is newer than this memrl can read, or no version at all.
    """
    if isinstance(found, dict):
        found = found.get(FORMAT_KEY)
    if found is None:
        return 0
    if isinstance(found, bool) or not isinstance(found, int) or found < 0:
        raise FormatError(f"{path} is damaged: its {FORMAT_KEY} is {found!r}, which is no number of a version.")
    if found > FORMATS[kind]:
        raise FormatError(
            f"{path} was written by a newer memrl: it is {NAMES[kind]} of format {found}, and this version reads up "
            f"to {FORMATS[kind]}. Update memrl (pip install --upgrade memrl). Nothing was changed there."
        )
    return found
