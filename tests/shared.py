"""What lies beside the clone, in ../shared: published data sets and tools, which are not passed on with the code.

What reads them says so by `needs_shared`, or asks `shared` for the path; where they are absent, such tests are
skipped with the reason.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest

T = TypeVar("T", bound=Callable[..., Any])
SHARED = Path(__file__).resolve().parents[2] / "shared"


def _lacking(*parts: str) -> str | None:
    """The reason to skip a test, or None where everything is there."""
    path = SHARED.joinpath(*parts)
    name = "/".join(("shared", *parts))
    if path.exists():
        return None
    return f"{name} is not beside the clone: it holds what others have published, which is not passed on with the code"


def needs_shared(*parts: str) -> Callable[[T], T]:
    """Mark a test that reads `../shared/PARTS`: it is long, and skipped where that is absent."""
    reason = _lacking(*parts)
    absent = pytest.mark.skipif(reason is not None, reason=reason or "")
    return lambda test: pytest.mark.long(absent(test))


def shared(*parts: str) -> Path:
    """The path of `../shared/PARTS`; the test that asks for it is skipped where that is absent."""
    reason = _lacking(*parts)
    if reason is not None:
        pytest.skip(reason)
    return SHARED.joinpath(*parts)
