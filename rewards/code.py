"""Score code by coding rules: which rules on names, decorators, docstrings and so on it follows, as MemoryCode does.

arXiv 2502.13791, repository for-ai/MemoryCode. A gold is one rule as JSON, `[object, condition]`. The object is one of
`OBJECTS`; the condition is

- a pattern: every name of that object matches it from its start;
- `true` or `false`: every function (method, class, ...) has it, or none has;
- `[name, true]` or `[name, false]`: each has that decorator (the code has that import), or none has;
- `null`: no rule, but what the task asks for. Code without such an object scores 0.

As in the reference, a rule on what the code does not have (methods in code without a class) does not count, except for
imports and comments. Unlike there, every argument and attribute is looked at and not the first one alone, `async def`,
keyword-only arguments, `from x import y` and annotated attributes count, `try` and `assert` count at any depth of a
body, and a `#` in a string is no comment.
"""

from __future__ import annotations

import ast
import io
import json
import re
import threading
import tokenize
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

FUNCTION_PARTS = ("docstring", "try", "assert", "annotation", "decorator")
OBJECTS = (
    "function",
    "function argument",
    *(f"function {part}" for part in FUNCTION_PARTS),
    "method",
    *(f"method {part}" for part in FUNCTION_PARTS),
    "class",
    "class decorator",
    "attribute",
    "variable",
    "import",
    "comment",
)
MAX_CODE = 20_000
"""Longer code scores 0: what it takes to score an answer must be bounded."""
MAX_NAME = 200
"""A longer name matches no pattern."""
_FENCE = "```"
_CAMEL = r"^[A-Z][a-z0-9]*((\d|[a-z])[A-Z\d]*[a-z0-9]*)*$"
_LINEAR = {_CAMEL: r"[A-Z]([a-z0-9][A-Za-z0-9]*)?$"}
"""The data's pattern for CamelCase takes exponential time on some names; this one accepts the same names."""
_parsing = threading.Lock()

Condition = bool | str | tuple[str, bool] | None
Found = dict[str, list[list[str]]]
"""For each object what there is of it: one list for each function, method, class or assignment."""


@dataclass
class _Body:
    """The contents of a function's own body."""

    tries: list[str] = field(default_factory=list)
    asserts: list[str] = field(default_factory=list)
    attributes: list[str] | None = None
    """Of `self`, in `__init__`."""


def code_rules(answer: str, golds: Sequence[str]) -> float:
    """Share of the rules that the answer's code follows, of those that apply to it; 0 where none does.

    0 too for an answer without code, for code that cannot be parsed, or that lacks what the task asks for.

    Raises:
        ValueError: a gold is no rule, which is a fault of the data.
    """
    rules = [_rule(gold) for gold in golds]
    code = _code(answer)
    tree = _parsed(code)
    if tree is None or not tree.body:
        return 0.0
    found = _objects(tree, code)
    if any(condition is None and not found[thing] for thing, condition in rules):
        return 0.0
    verdicts = [_followed(found[thing], condition) for thing, condition in rules if condition is not None]
    counted = [verdict for verdict in verdicts if verdict is not None]
    return sum(counted) / len(counted) if counted else 0.0


def _rule(gold: str) -> tuple[str, Condition]:
    """A gold as object and condition; a pattern comes out as one that takes no more than polynomial time."""
    try:
        thing, condition = json.loads(gold)
        if isinstance(condition, list):
            name, wanted = condition
            condition = (str(name), bool(wanted))
        elif isinstance(condition, str):
            condition = _LINEAR.get(condition, condition)
            if condition not in _LINEAR.values() and ("(" in condition or len(re.findall(r"[*+?{]", condition)) > 3):
                raise ValueError("its pattern may take too long")
            re.compile(condition)
        elif not isinstance(condition, bool) and condition is not None:
            raise ValueError("its condition is a number or an object")
        if thing not in OBJECTS:
            raise ValueError(f"{thing!r} is not one of {', '.join(OBJECTS)}")
    except (ValueError, TypeError, RecursionError, re.error) as error:
        raise ValueError(
            f"the metric 'code_rules' needs rules as [object, condition] for golds, not {gold[:100]!r} ({error}). "
            "Choose another metric for it."
        ) from error
    return thing, condition


def _code(answer: str) -> str:
    """The first fenced block tagged as Python, else the first fenced block, else all of it; an open fence counts."""
    parts = answer.split(_FENCE)[1::2]
    if not parts:
        return answer
    tagged = [(part.split("\n", 1)[0].strip().lower(), part) for part in parts]
    chosen = next((part for tag, part in tagged if tag in {"python", "python3", "py"}), parts[0])
    first, _, rest = chosen.partition("\n")
    return rest if rest and (not first.strip() or first.strip().isalnum()) else chosen


def _parsed(code: str) -> ast.Module | None:
    if len(code) > MAX_CODE:
        return None
    # Doubtful escapes in strings warn; what a model writes is no fault of ours. The filters are global: one at a time.
    with _parsing, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return ast.parse(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return None


def _objects(tree: ast.Module, code: str) -> Found:
    found: Found = {thing: [] for thing in OBJECTS}
    found["import"].append([])
    found["comment"].append(list(_comments(code)))
    # By hand and not with a visitor: its recursion would fail on deeply nested code.
    waiting: list[tuple[ast.AST, bool, _Body | None]] = [(tree, False, None)]
    while waiting:
        node, in_class, body = waiting.pop()
        if isinstance(node, ast.ClassDef):
            found["class"].append([node.name])
            found["class decorator"].append(_decorators(node.decorator_list))
            in_class, body = True, None
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            body = _define(found, node, in_class)
        elif isinstance(node, ast.Try | ast.TryStar):
            if body:
                body.tries.append("try")
        elif isinstance(node, ast.Assert):
            if body:
                body.asserts.append("assert")
        elif isinstance(node, ast.Import):
            found["import"][0] += [part for alias in node.names for part in {alias.name, alias.name.split(".")[0]}]
        elif isinstance(node, ast.ImportFrom):
            if node.module and not node.level:
                found["import"][0] += {node.module, node.module.split(".")[0]}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            for target in _targets(node):
                if isinstance(target, ast.Name):
                    found["variable"].append([target.id])
                elif body and body.attributes is not None and isinstance(target, ast.Attribute) and _own(target):
                    body.attributes.append(target.attr)
        waiting += [(child, in_class, body) for child in ast.iter_child_nodes(node)]
    return found


def _define(found: Found, node: ast.FunctionDef | ast.AsyncFunctionDef, in_class: bool) -> _Body:
    """Note a function or method; returns where its body is noted. What Python names (`__eq__`) follows no rule."""
    body = _Body()
    arguments = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    if in_class and node.name == "__init__":
        body.attributes = []
        found["attribute"].append(body.attributes)
    if in_class and node.name.startswith("__"):
        return body
    kind = "method" if in_class else "function"
    if not in_class:
        found["function argument"].append([argument.arg for argument in arguments])
    first = node.body[0]
    told = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str)
    annotated = node.returns is not None or any(argument.annotation is not None for argument in arguments)
    found[kind].append([node.name])
    found[f"{kind} docstring"].append(["docstring"] if told else [])
    found[f"{kind} annotation"].append(["annotation"] if annotated else [])
    found[f"{kind} decorator"].append(_decorators(node.decorator_list))
    found[f"{kind} try"].append(body.tries)
    found[f"{kind} assert"].append(body.asserts)
    return body


def _decorators(nodes: list[ast.expr]) -> list[str]:
    """Return their last names: `retry` for `@retry`, `@pedantic.retry` and `@retry(attempts=3)`."""
    names = []
    for node in nodes:
        while isinstance(node, ast.Call):
            node = node.func
        if isinstance(node, ast.Name):
            names.append(node.id)
        elif isinstance(node, ast.Attribute):
            names.append(node.attr)
    return names


def _targets(node: ast.Assign | ast.AnnAssign) -> Iterator[ast.expr]:
    """Yield what is assigned to, one by one."""
    waiting: list[ast.expr] = list(node.targets) if isinstance(node, ast.Assign) else [node.target]
    while waiting:
        target = waiting.pop()
        if isinstance(target, ast.Tuple | ast.List):
            waiting += target.elts
        elif isinstance(target, ast.Starred):
            waiting.append(target.value)
        else:
            yield target


def _own(target: ast.Attribute) -> bool:
    return isinstance(target.value, ast.Name) and target.value.id == "self"


def _comments(code: str) -> Iterator[str]:
    try:
        for token in tokenize.generate_tokens(io.StringIO(code).readline):
            if token.type == tokenize.COMMENT and token.string.strip("# "):
                yield token.string
    except (tokenize.TokenError, SyntaxError):  # code can be parsed and still trip the tokenizer, as by a lone "\f"
        return


def _followed(having: list[list[str]], condition: bool | str | tuple[str, bool]) -> bool | None:
    """Return whether a rule is followed; None where the code has nothing that it is about."""
    if not having:
        return None
    if isinstance(condition, bool):
        return all(bool(names) == condition for names in having)
    if isinstance(condition, tuple):
        name, wanted = condition
        return all((name in names) == wanted for names in having)
    names = [name for names in having for name in names]
    return bool(names) and all(len(name) <= MAX_NAME and re.match(condition, name) is not None for name in names)
