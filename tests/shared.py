"""What lies beside the clone, in ../shared: published data sets and tools, which are not passed on with the code.

What reads them says so by `needs_shared`, or asks `shared` for the path; where they are absent, such tests are
skipped with the reason.
"""

from __future__ import annotations

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parents[2] / "shared"


def _lacking(*parts: str) -> str | None:
    """The reason to skip a test, or None where everything is there."""
    path = SHARED.joinpath(*parts)
    name = "/".join(("shared", *parts))
    if path.exists():
        return None
    return f"{name} is not beside the clone: it holds what others have published, which is not passed on with the code"


def needs_shared(*parts: str) -> pytest.MarkDecorator:
    """Mark a test that reads `../shared/PARTS`; it is skipped where that is absent."""
    reason = _lacking(*parts)
    return pytest.mark.skipif(reason is not None, reason=reason or "")


def shared(*parts: str) -> Path:
    """The path of `../shared/PARTS`; the test that asks for it is skipped where that is absent."""
    reason = _lacking(*parts)
    if reason is not None:
        pytest.skip(reason)
    return SHARED.joinpath(*parts)
