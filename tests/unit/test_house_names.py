"""One class name has one meaning, wherever it stands."""

from __future__ import annotations

import ast
from collections import defaultdict

import pytest

from tests.support import ROOT

ROOMS = ("memrl", "envs", "rewards")


@pytest.mark.long
def test_no_public_class_name_is_defined_twice() -> None:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for room in ROOMS:
        for file in (ROOT / room).rglob("*.py"):
            if file.resolve() != ROOT.resolve() / file.relative_to(ROOT):
                continue  # seen through memrl/envs or memrl/rewards, which are links
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(file.relative_to(ROOT)))
    assert len(found) > 100, "the files were read"
    assert {name: files for name, files in found.items() if len(files) > 1} == {}
