"""The metric `code_rules`: each kind of rule on code that follows it and code that does not, and on hostile input."""

from __future__ import annotations

import json
import re
import time
import warnings
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memrl.rewards.code import _CAMEL, _LINEAR, MAX_CODE, OBJECTS
from memrl.rewards.metrics import score


def follow(code: str, *rules: tuple[str, Any]) -> float:
    return score("code_rules", code, [json.dumps(rule) for rule in rules])


FUNCTION = '''
@retry(times=3)
def f_x(a_1, b_1: int):
    """Add."""
    assert a_1
    try:
        c_m = a_1
    except E:
        pass
'''
CLASS = '''
@pedantic.trace_class
class Heap:
    def __init__(self):
        self.q_top = 1
        self.q_size: int = 0

    @validate
    def put_o(self, x) -> None:
        """Put."""
        assert x
        if x:
            try:
                pass
            finally:
                pass
'''


@pytest.mark.parametrize(
    ("rule", "good", "bad"),
    [
        (("function", ".*_x$"), FUNCTION, "def x_f(): pass"),
        (("function", "^f_.*"), "async def f_1(): pass", "def f_x(): pass\ndef g(): pass"),
        (("function argument", ".*_1$"), FUNCTION, "def f(a_1, b): pass"),
        (("function argument", ".*_1$"), "def f(*, a_1): pass", "def f(): pass"),
        (("function docstring", True), FUNCTION, "def f():\n    # Add.\n    pass"),
        (("function try", True), FUNCTION, "def f(): pass"),
        (("function try", False), "def f(): pass", FUNCTION),
        (("function assert", True), FUNCTION, "assert 1\ndef f(): pass"),
        (("function annotation", True), FUNCTION, "def f(a, b): pass"),
        (("function annotation", True), "def f() -> int: pass", FUNCTION + "def g(a): pass"),
        (("function decorator", ["retry", True]), FUNCTION, "@tri\ndef f(): retry()"),
        (("class", "^[a-z0-9_]*$"), "class my_heap: pass", CLASS),
        (("class", _CAMEL), CLASS, "class HEAP: pass"),
        (("class", r"\b[A-Z][A-Z0-9_]*\b"), "class HEAP_1: pass", CLASS),
        (("class decorator", ["trace_class", True]), CLASS, "class Heap: pass"),
        (("method", ".*_o$"), CLASS, "class A:\n    def put(self): pass"),
        (("method docstring", True), CLASS, "class A:\n    def put(self): pass"),
        (("method try", True), CLASS, "class A:\n    def put(self): pass"),
        (("method assert", True), CLASS, "class A:\n    def put(self): pass"),
        (("method annotation", True), CLASS, "class A:\n    def put(self, x): pass"),
        (("method decorator", ["validate", True]), CLASS, "class A:\n    @property\n    def put(self, x): pass"),
        (("attribute", "^q_.*"), CLASS, "class A:\n    def __init__(self):\n        self.q_a, self.b = 1, 2"),
        (("variable", ".*_m$"), FUNCTION, "a, (b_m, *c_m) = d"),
        (("variable", ".*\\d$"), "a1, [b2, *c3] = d\ne4: int = 5", "a1 = b = 3"),
        (("import", ["bz2", True]), "import os, bz2", "import bz"),
        (("import", ["bz2", True]), "from bz2 import open", "from . import bz2"),
        (("import", ["bz2", False]), "import os.path", "import bz2"),
        (("comment", True), "f()  # call", "f('# call')"),
    ],
)
def test_each_kind_of_rule(rule: tuple[str, Any], good: str, bad: str) -> None:
    assert follow(good, rule) == 1.0
    assert follow(bad, rule) == 0.0


def test_every_object_has_a_rule_tested() -> None:
    tested = {rule[0] for mark in test_each_kind_of_rule.pytestmark for rule, _, _ in mark.args[1]}  # type: ignore[attr-defined]
    assert tested == set(OBJECTS)


def test_it_is_the_share_of_the_rules_that_apply() -> None:
    rules = [("function", "^b_.*"), ("comment", True), ("method", ".*_o$"), ("import", ["bz2", True])]
    assert follow("# sort\ndef b_sort(x): pass", *rules) == pytest.approx(2 / 3)  # there are no methods
    assert follow("x = 1", ("method", ".*_o$")) == 0.0  # no rule applies: nothing was shown


def test_code_without_what_is_asked_for_is_wrong() -> None:
    rules = [("comment", True), ("class", None), ("method", None)]
    assert follow("# a heap\nclass Heap:\n    def put(self): pass", *rules) == 1.0
    assert follow("# a heap\nclass Heap: pass", *rules) == 0.0
    assert follow("# a heap", *rules) == 0.0


@pytest.mark.parametrize(
    "answer",
    [
        "Sure:\n```python\ndef b_f(): pass\n```\nIt sorts.",
        "```py\ndef b_f(): pass\n```",
        "```\ndef b_f(): pass\n```",
        "```bash\npip install x\n```\nthen\n```python\ndef b_f(): pass\n```\nor\n```python\ndef f(: pass\n```",
        "```python\ndef b_f(): pass\n",
        "```def b_f(): pass```",
        "def b_f(): pass",
    ],
)
def test_code_is_taken_out_of_its_prose(answer: str) -> None:
    assert follow(answer, ("function", "^b_.*")) == 1.0


@pytest.mark.parametrize(
    "answer", ["", " ", "I do not know.", "unknown", "def f(:", "```python\n```", "# nothing", "```"]
)
def test_no_code_or_code_that_cannot_be_parsed_is_wrong(answer: str) -> None:
    assert follow(answer, ("comment", True), ("function", "^b_.*")) == 0.0


HOSTILE = {
    "minus": "-" * (MAX_CODE - 9) + "1",
    "brackets": "(" * 9000 + ")" * 9000,
    "dots": "a" + ".a" * 9000,
    "calls": "a" + "()" * 9000,
    "sum": "a+" * 9000 + "a",
    "power": "a**" * 6000 + "a",
    "lambda": "lambda:" * 2500 + "1",
    "not": "not " * 4900 + "1",
    "conditional": "a if b else " * 1600 + "1",
    "dictionary": '{"a":' * 190 + "1" + "}" * 190,
    "blocks": "".join(" " * n + "if x:\n" for n in range(99)) + " " * 99 + "x",
    "elif": "if a: pass\n" + "elif a: pass\n" * 1400,
    "functions": "".join(" " * n + "def f():\n" for n in range(99)) + " " * 99 + "a;" * 7000,
    "decorators": "@a\n" * 6000 + "def f(): pass",
    "decorator calls": "@a" + "()" * 9000 + "\ndef f(): pass",
    "targets": "x=" * 9000 + "1",
    "starred": "(" + "*" * 9000 + "a)=1",
    "null": "x = 1\0",
    "surrogate": "x = '\ud800'",
    "digits": "9" * 6000,
    "string": "f'{" * 50 + "1" + "}'" * 50,
    "long name": "class " + "Aa" * 9000 + "_: pass",
    "formfeed": "\f\nx\f\n  \f",
    "fences": "```" * 6000,
    "long": "x\n" * MAX_CODE * 50,
}


@pytest.mark.long
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_code_is_scored_soon(name: str) -> None:
    rules = [("class", _CAMEL), ("function", ".*chx.*"), ("variable", "^q_.*"), ("import", ["bz2", True])]
    start = time.process_time()
    assert 0.0 <= follow(HOSTILE[name], *rules) <= 1.0
    assert time.process_time() - start < 5.0


@given(st.text(alphabet="AaB1_", max_size=9))
def test_the_linear_camel_case_pattern_accepts_the_same_names(name: str) -> None:
    assert bool(re.match(_CAMEL, name)) == bool(re.match(_LINEAR[_CAMEL], name))


@pytest.mark.long
@given(st.text(), st.sampled_from(OBJECTS), st.sampled_from([True, False, "^x_.*", ["bz2", True]]))
def test_any_answer_scores_between_0_and_1(answer: str, thing: str, condition: Any) -> None:
    assert 0.0 <= follow(answer, (thing, condition)) <= 1.0


@pytest.mark.parametrize(
    "gold",
    ["", "function", "[]", '["function"]', '["widget", true]', '["class", 3]', '["class", "("]', '["class", ["a"]]'],
)
def test_a_gold_that_is_no_rule_is_refused(gold: str) -> None:
    with pytest.raises(ValueError, match="needs rules as"):
        score("code_rules", "x = 1", [gold])


def test_a_pattern_that_could_take_exponential_time_is_refused() -> None:
    with pytest.raises(ValueError, match="may take too long"):
        follow("class A: pass", ("class", "^(a+)+$"))


def test_doubtful_escapes_warn_nobody() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert follow("def b_f(): return '\\d'", ("function", "^b_.*")) == 1.0
