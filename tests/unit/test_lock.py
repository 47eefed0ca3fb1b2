"""What set-up installs: everything by version and hash, and nothing that the project does not say."""

from __future__ import annotations

import re
import tomllib

from tests.support import ROOT

LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")
ENTRIES = re.split(r"\n(?=[a-z0-9])", LOCK.strip())


def plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def locked() -> dict[str, str]:
    return {plain(entry.split("==")[0]): re.split(r"[ \\]", entry.split("==")[1])[0] for entry in ENTRIES}


def pinned(text: str) -> dict[str, str]:
    return {plain(name): version for name, version in re.findall(r"^([\w.-]+)==(\S+)$", text, re.MULTILINE)}


def named(requirements: list[str]) -> set[str]:
    return {plain(re.split(r"[ \[<>=;#]", requirement)[0]) for requirement in requirements}


def test_each_entry_has_a_version_and_hashes() -> None:
    assert len(ENTRIES) > 100
    for entry in ENTRIES:
        assert re.match(r"[\w.-]+==\S+", entry), entry[:60]
        assert "--hash=sha256:" in entry, entry[:60]


def test_the_lock_has_the_versions_that_are_tested() -> None:
    tested = (ROOT / "constraints.txt").read_text(encoding="utf-8").split("# The site")[0]
    apart = {"torch"}  # the machine's own build
    wanted = {name: version for name, version in pinned(tested).items() if name not in apart}
    assert {name: locked().get(name) for name in wanted} == wanted
    assert not apart & locked().keys()


def test_all_that_the_project_asks_for_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = [*project["dependencies"], *extras["dev"], *extras["serve"], *extras["dense"], *extras["gguf"]]
    missing = named(asked) - locked().keys() - {"torch", "memrl"}
    assert not missing, f"make lock: {sorted(missing)}"
