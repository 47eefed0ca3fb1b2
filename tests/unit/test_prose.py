"""A docstring begins with what the thing is or does: a noun or a verb, never a relative clause or a preposition.

The rule stands in CONTRIBUTING.md, with what to write instead.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLAUSES = "What Which Who Whom Whose Where When Why How Whether That"
PRONOUNS = "Those These This Its Their It"
PREPOSITIONS = (
    "Of As For From By With Without In On At To Into Within Between Under Over Until Before After Up Since While "
    "Because Though Once Then Than So If"
)
NO_BEGINNING = frozenset(f"{CLAUSES} {PRONOUNS} {PREPOSITIONS}".split())


def docstrings(source: str) -> Iterator[tuple[int, str, str]]:
    """(line, name, docstring) of a module, its classes and its functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text is not None:
                yield getattr(node, "lineno", 1), getattr(node, "name", "the module"), text


def begins_badly(text: str) -> bool:
    word = re.match(r"\W*(\w*)", text)
    return word is not None and word[1] in NO_BEGINNING


@pytest.mark.long
def test_docstrings_begin_with_a_noun_or_a_verb() -> None:
    files = [file for folder in ("envs", "rewards", "memrl") for file in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 150
    wrong = [
        f"{file.relative_to(ROOT)}:{line} {name}: {text.splitlines()[0]}"
        for file in dict.fromkeys(file.resolve() for file in files)  # the links in memrl/ lead to files that come twice
        for line, name, text in docstrings(file.read_text(encoding="utf-8"))
        if begins_badly(text)
    ]
    assert wrong == [], "CONTRIBUTING.md, Prose, says how a docstring begins:\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    ("text", "bad"),
    [
        ("Of the next update.", True),
        ("What the learner eats.", True),
        ("Whether it is there.", True),
        ("`x` and `y`.", False),
        ("Return whether it is there.", False),
        ("The samples of one step.", False),
        ("Offers of the engine.", False),
        ("", False),
    ],
)
def test_the_check_can_tell(text: str, bad: bool) -> None:
    assert begins_badly(text) is bad
    assert [begins_badly(found) for _, _, found in docstrings(f'def f():\n    """{text} """')] == [bad]
