"""Pools of difficulty: streams that all or none of a group solve teach nothing, and are drawn less often when they come
again.

The rule: a stream belongs to the pool that its last group put it into: `easy` where every episode's question score was
at least `data.difficulty.easy`, `hard` where none's was above `data.difficulty.hard`, else `mixed`; one that no group
has played is `new`. When the turn of an easy or a hard stream comes, it is passed over but for a share
`data.difficulty.keep` of the times. Whether it is, depends on the seed and on the place in the sequence alone.
"""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from memrl.config import DifficultyConfig
from memrl.envs.stream import Stream

POOLS = ("new", "mixed", "easy", "hard")
RARE = ("easy", "hard")
"""The pools that are drawn from less often."""


class Pools:
    """The pool of each stream that a group has played.

    Args:
        seed: the run's.
    """

    def __init__(self, config: DifficultyConfig, seed: int) -> None:
        self._config = config
        self._seed = seed
        self._found: dict[str, str] = {}

    @property
    def on(self) -> bool:
        """Return whether any stream is ever passed over."""
        return self._config.keep < 1

    def pool_of(self, stream: Stream) -> str:
        """Return the name of a stream's pool."""
        return self._found.get(_key(stream), "new") if self.on else "new"

    def passes_over(self, pool: str, place: int) -> bool:
        """Return whether a stream of a pool is left out at a place of the sequence."""
        if pool not in RARE:
            return False
        return random.Random(f"difficulty/{self._seed}/{place}").random() >= self._config.keep

    def note(self, stream: Stream, scores: Sequence[float]) -> None:
        """Put a stream into the pool that its group's question scores say; fewer than two say nothing."""
        if not self.on or len(scores) < 2:
            return
        easy, hard = min(scores) >= self._config.easy, max(scores) <= self._config.hard
        self._found[_key(stream)] = "easy" if easy else "hard" if hard else "mixed"

    def state(self) -> dict[str, str]:
        """Return the state for a checkpoint."""
        return dict(self._found)

    def restore(self, state: Mapping[str, str]) -> None:
        """Stand where `state` was taken. An empty one: nothing was played yet."""
        self._found = dict(state)


def pool_figures(drawn: Sequence[str], passed_over: int) -> dict[str, float]:
    """Return the share of a step's streams that came from each pool, and how many were passed over for them."""
    counts = Counter(drawn)
    shares = {f"difficulty/{pool}": counts[pool] / max(len(drawn), 1) for pool in POOLS}
    return {**shares, "difficulty/passed_over": float(passed_over)}


def _key(stream: Stream) -> str:
    """Return what a stream is known by when it comes again: its text. Ids count the passes of some sources."""
    text = "\x1f".join([stream.source, *(chunk.text for chunk in stream.chunks)])
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:24]
