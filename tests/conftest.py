"""Fixtures of all tests. Heavy imports wait until a fixture is asked for: most unit tests need none of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(scope="session")
def quick_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real model folder from a few steps of the tiny model's recipe. It has learned nothing."""
    from memrl.tiny.recipe import build_model
    from tests.support import quiet

    return build_model(tmp_path_factory.mktemp("quick") / "model", quick=True, console=quiet())
