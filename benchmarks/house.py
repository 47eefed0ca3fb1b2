"""The house in figures: rooms, floors, circles, imports that run up, the largest file and function.

    python benchmarks/house.py [--root FOLDER] [--json]

A room is a folder in memrl/, or a file at its top; envs/ and rewards/ are the two at the bottom. Imports are read from
the source, those under TYPE_CHECKING and inside functions too. `FLOORS` is the plan that a test holds the code to.
`--root` measures another checkout: rooms that the plan does not know have no floor, and an import among them counts as
running up where it closes a circle.
"""

from __future__ import annotations

import argparse
import ast
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS: tuple[tuple[str, ...], ...] = (
    ("envs",),
    ("rewards",),
    ("errors", "packages"),
    ("records",),
    ("storage",),
    ("config",),
    ("credit", "endpoints", "report"),
    ("data", "cluster", "engines"),
    ("learner",),
    ("frozen",),
    ("rollout",),
    ("sft",),
    ("tiny",),
    ("policies",),
    ("evaluation",),
    ("look",),
    ("training",),
    ("export",),
    ("agent",),
    ("serve",),
    ("cli",),
)
"""The rooms from the ground up. An import stays in its room or goes to a lower floor."""
TOP_FILES = ("__init__", "__main__", "cluster", "errors", "packages", "records")
"""The only files at the top of memrl/."""
PACKAGES = ("envs", "rewards")
"""Folders at the top of the repository that are imported as memrl's."""


@dataclass(frozen=True)
class Import:
    """One import of another room."""

    file: str
    line: int
    room: str
    wanted: str
    """The room that is imported."""


@dataclass(frozen=True)
class House:
    """What was measured."""

    top_files: list[str]
    rooms: list[str]
    floors: dict[str, int | None]
    """By room: 0 is the ground; None: the plan does not know it."""
    circles: list[list[str]]
    """Rooms that import each other in a ring."""
    upward_imports: list[str]
    largest_file: tuple[str, int]
    """And its lines."""
    longest_function: tuple[str, int]
    files: int
    lines: int


def measure(root: Path = ROOT) -> House:
    """Return the figures of the checkout at `root`."""
    imports: list[Import] = []
    sizes: dict[str, int] = {}
    functions: dict[str, int] = {}
    rooms: set[str] = set()
    for file in _files(root):
        name = file.relative_to(root).as_posix()
        text = file.read_text(encoding="utf-8")
        tree = ast.parse(text)
        sizes[name] = text.count("\n")
        functions |= {
            f"{name}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        room = _room(name)
        if room is not None:
            rooms.add(room)
            found = dict.fromkeys(_imported(tree))  # a line that imports several names of a room imports it once
            imports += [Import(name, line, room, wanted) for line, wanted in found if wanted != room]
    imports = [found for found in imports if found.wanted in rooms]
    floors = {room: _floor(room) for room in sorted(rooms)}
    circles = _circles(imports)
    return House(
        top_files=sorted(file.name for file in (root / "memrl").glob("*.py")),
        rooms=sorted(rooms),
        floors=floors,
        circles=circles,
        upward_imports=[_words(found) for found in imports if _runs_up(found, floors, circles)],
        largest_file=max(sizes.items(), key=lambda item: item[1]),
        longest_function=max(functions.items(), key=lambda item: item[1]),
        files=len(sizes),
        lines=sum(sizes.values()),
    )


def _files(root: Path) -> Iterator[Path]:
    for folder in ("memrl", *PACKAGES):
        for file in sorted((root / folder).rglob("*.py")):
            parts = file.relative_to(root).parts
            if parts[0] != "memrl" or parts[1] not in PACKAGES:  # the links to those folders
                yield file


def _room(name: str) -> str | None:
    """The room of a file; None for the package's own `__init__.py`, which hands names of all floors on."""
    parts = name.removesuffix(".py").split("/")
    room = parts[0] if parts[0] in PACKAGES else parts[1]
    return None if room in ("__init__", "__main__") else room


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """(line, room) of every import of this project."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] in PACKAGES:  # as they were imported once
                yield node.lineno, parts[0]
            elif parts[0] == "memrl" and len(parts) > 1:
                yield node.lineno, parts[1]


def _floor(room: str) -> int | None:
    return next((number for number, rooms in enumerate(FLOORS) if room in rooms), None)


def _runs_up(found: Import, floors: Mapping[str, int | None], circles: list[list[str]]) -> bool:
    mine, theirs = floors[found.room], floors[found.wanted]
    if mine is None or theirs is None:
        return any(found.room in circle and found.wanted in circle for circle in circles)
    return theirs >= mine


def _words(found: Import) -> str:
    return f"{found.file}:{found.line} imports {found.wanted}"


def _circles(imports: list[Import]) -> list[list[str]]:
    """Rooms that reach each other."""
    below: dict[str, set[str]] = defaultdict(set)
    for found in imports:
        below[found.room].add(found.wanted)

    def reached(room: str) -> set[str]:
        seen: set[str] = set()
        waiting = [room]
        while waiting:
            for other in below.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    reach = {room: reached(room) for room in list(below)}
    found = {tuple(sorted(o for o in reach[room] if room in reach.get(o, set()))) for room in reach}
    return sorted(list(circle) for circle in found if circle)


def main() -> None:
    """Print the house."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=ROOT, help="the checkout to measure")
    parser.add_argument("--json", action="store_true", help="JSON instead of words")
    arguments = parser.parse_args()
    house = measure(arguments.root)
    if arguments.json:
        print(json.dumps(asdict(house), indent=1))
        return
    print(
        f"{house.files} files, {house.lines:,} lines; {len(house.top_files)} at the top: {', '.join(house.top_files)}"
    )
    for number, rooms in reversed(list(enumerate(FLOORS))):
        print(f"floor {number:2}  {', '.join(rooms)}")
    print(f"circles: {'; '.join(' - '.join(circle) for circle in house.circles) or 'none'}")
    print(f"imports that run up: {len(house.upward_imports)}", *house.upward_imports, sep="\n  ")
    print(f"largest file: {house.largest_file[0]}, {house.largest_file[1]} lines")
    print(f"longest function: {house.longest_function[0]}, {house.longest_function[1]} lines")


if __name__ == "__main__":
    main()
