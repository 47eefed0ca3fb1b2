"""Train and eval apart, by what a thing is and not by where it stands: the same in every run, whatever the seed."""

from __future__ import annotations

import hashlib
from typing import Literal

Split = Literal["train", "eval"]


def share_of(key: str) -> float:
    """A number in [0, 1) that belongs to `key` for good, evenly spread over keys."""
    return int.from_bytes(hashlib.sha256(key.encode("utf-8")).digest()[:8], "big") / 2**64


def in_split(key: str, split: Split | None, eval_share: float) -> bool:
    """Return whether the document (or utterance) `key` belongs to a split; None: all do."""
    return split is None or (share_of(key) < eval_share) == (split == "eval")
