"""Writes src/records.ts, the types of the page, from memrl/look/records.py, so that there is one contract.

python web/report/records.py            write it
python web/report/records.py --check    say whether it is as it should be
"""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints, is_typeddict

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1]))

from memrl.look import records  # noqa: E402

TARGET = HERE / "src" / "records.ts"
PLAIN = {str: "string", int: "number", float: "number", bool: "boolean", type(None): "null"}


def typescript() -> str:
    """Return all records as interfaces, in the order of their module."""
    blocks = [
        "// Written by records.py from memrl/look/records.py. Change that, then `make page`.",
        f"export const FORMAT = {records.FORMAT};",
    ]
    for name, value in vars(records).items():
        if is_typeddict(value):
            fields = get_type_hints(value, vars(records))
            lines = [f"  {field}: {_type(hint)};" for field, hint in fields.items()]
            blocks.append("\n".join([f"export interface {name} {{", *lines, "}"]))
    return "\n\n".join(blocks) + "\n"


def _type(hint: Any) -> str:
    arguments = get_args(hint)
    if hint in PLAIN:
        return PLAIN[hint]
    if get_origin(hint) is Literal:
        return " | ".join(f'"{word}"' for word in arguments)
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(map(_type, arguments))
    if get_origin(hint) is list:
        inner = _type(arguments[0])
        return f"({inner})[]" if "|" in inner else f"{inner}[]"
    if get_origin(hint) is dict:
        return f"Record<string, {_type(arguments[1])}>"
    if is_typeddict(hint):
        return str(hint.__name__)
    raise TypeError(f"memrl/look/records.py has a field of type {hint}, which {Path(__file__).name} does not know.")


if __name__ == "__main__":
    if "--check" in sys.argv:
        sys.exit(0 if TARGET.read_text(encoding="utf-8") == typescript() else f"{TARGET} is old: run make page.")
    TARGET.write_text(typescript(), encoding="utf-8")
