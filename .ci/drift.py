"""What differs from the lock, a line a package: `python -m pip freeze | python .ci/drift.py requirements.lock`."""

import re
import sys
from pathlib import Path


def versions(text: str) -> dict[str, set[str]]:
    """Versions by package, names as pip compares them: several where the lock tells by the version of Python."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", text, flags=re.MULTILINE):
        found.setdefault(re.sub(r"[-_.]+", "-", name).lower(), set()).add(version)
    return found


locked, now = versions(Path(sys.argv[1]).read_text(encoding="utf-8")), versions(sys.stdin.read())
moved = sorted(name for name in locked.keys() & now.keys() if not now[name] <= locked[name])
for name in moved:
    sys.stdout.write(f"{name}: {' or '.join(sorted(locked[name]))} in the lock, {' '.join(now[name])} now\n")
sys.stdout.write(f"{len(now)} packages, {len(moved)} of another version than in {sys.argv[1]}\n")
