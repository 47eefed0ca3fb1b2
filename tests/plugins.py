"""Packages that bring plug-ins, as an installer would leave them: modules beside a .dist-info with entry points."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def install(folder: Path, distribution: str, points: Mapping[str, Mapping[str, str]], **modules: str) -> Path:
    """Leave a distribution of version 1.2 in `folder`, which is to be put on the path.

    Args:
        points: `{group: {name: value}}`.
        modules: their source, by name.
    """
    folder.mkdir(exist_ok=True)
    for name, source in modules.items():
        (folder / f"{name}.py").write_text(source)
    info = folder / f"{distribution.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
    lines = []
    for group, values in points.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in values.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder
