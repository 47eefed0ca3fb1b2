"""The training streams of a run as they are drawn: from the feed of the present stage, less often from some pools, and
first of all what was given back.

The invariant: stream number k of a run is stream number k of the feed of the stage that it is drawn in, so that a stage
goes on in the data where the last one stopped, and a stream can be had again from its stage and its number.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from memrl.config import DifficultyConfig
from memrl.config.stages import TrainingStage
from memrl.data.difficulty import Pools
from memrl.data.feed import StreamFeed
from memrl.envs.stream import Stream

log = logging.getLogger(__name__)
_UNMET = 1000
"""Streams drawn without one that came again, after which it is said that the pools have nothing to do."""


@dataclass(frozen=True)
class Drawn:
    """One stream that was drawn."""

    place: int
    """Its number in the feed."""
    stream: Stream
    pool: str


class Drawing:
    """Draws the training streams.

    Args:
        stages: of the run.
        path: `data.path`.
        seed: the run's.
    """

    def __init__(
        self, stages: Sequence[TrainingStage], path: str | None, seed: int, difficulty: DifficultyConfig
    ) -> None:
        self._stages = stages
        self._path = path
        self._seed = seed
        self._stage = 0
        self._feed = self._open(0)
        self._returned: dict[int, Stream] = {}
        self._begun: dict[int, Stream] = {}  # of rollouts that begin again after a restart
        self.pools = Pools(difficulty, seed)
        self._met_again = False

    def _open(self, stage: int) -> StreamFeed:
        return StreamFeed(self._stages[stage].train, self._path, self._seed)

    def first(self) -> Stream:
        """Return the first stream of the run, and draw nothing."""
        return self._open(0).take(1)[0]

    def draw(self, stage: int, count: int) -> tuple[list[Drawn], int]:
        """Draw streams of a stage: first what others gave back, then fresh ones.

        Returns:
            The streams, and how many were passed over for their pool.
        """
        if stage != self._stage:
            self._enter(stage)
        taken = dict(list(self._returned.items())[:count])
        self._returned = {place: stream for place, stream in self._returned.items() if place not in taken}
        drawn = [Drawn(place, stream, self.pools.pool_of(stream)) for place, stream in taken.items()]
        passed_over = 0
        while len(drawn) < count:
            place = self._feed.position
            [stream] = self._feed.take(1)
            pool = self.pools.pool_of(stream)
            if self.pools.passes_over(pool, place):
                passed_over += 1
            else:
                drawn.append(Drawn(place, stream, pool))
            self._see(pool, place)
        return drawn, passed_over

    def _see(self, pool: str, place: int) -> None:
        """Say once, where pools are kept and no stream comes again, that they have nothing to do."""
        if not self.pools.on or self._met_again:
            return
        self._met_again = pool != "new"
        if place == _UNMET:
            log.warning(
                "data.difficulty: none of %d streams came a second time, so there was nothing to pass over. The "
                "sources make other streams in each pass: fix their `seed`, or leave data.difficulty out.",
                place,
            )

    def give_back(self, stage: int, unused: Sequence[Drawn]) -> None:
        """Take back what a rollout of a stage did not play. A later stage draws the same numbers from its own feed."""
        places = [one.place for one in unused]
        streams = (
            {one.place: one.stream for one in unused} if stage == self._stage else self._again(self._stage, places)
        )
        self._returned = dict(sorted([*self._returned.items(), *streams.items()]))

    def note(self, stage: int, stream: Stream, scores: Sequence[float]) -> None:
        """Take in the question scores of a stream's group; those of an earlier stage say nothing of this one."""
        if stage == self._stage:
            self.pools.note(stream, scores)

    def _enter(self, stage: int) -> None:
        position, returned = self._feed.position, list(self._returned)
        self._stage = stage
        self._feed = self._open(stage)
        self._feed.seek(min([position, *returned]))
        self._returned = self._read(self._feed, returned, position)
        self.pools.restore({})  # how hard a stream is at another length is not known

    def _again(self, stage: int, places: Sequence[int]) -> dict[int, Stream]:
        """Return the streams of these numbers from a feed of their own."""
        if not places:
            return {}
        feed = self._open(stage)
        feed.seek(min(places))
        return self._read(feed, places, max(places) + 1)

    @staticmethod
    def _read(feed: StreamFeed, places: Iterable[int], end: int) -> dict[int, Stream]:
        """Return the streams of these numbers from a feed, which stands before them and stands at `end` then."""
        first = feed.position
        streams = dict(enumerate(feed.take(end - first), first))
        return {place: streams[place] for place in places}

    # Resuming ---------------------------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        """Return the state for a checkpoint."""
        pools = self.pools.state()
        return {
            "position": self._feed.position,
            "returned": list(self._returned),
            "stage": self._stage,
            **({"pools": pools, "met_again": self._met_again} if self.pools.on else {}),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Stand where `state` was taken, with the rollouts that were under way."""
        self._stage = state.get("stage", 0)  # checkpoints from before there were stages have none
        self._feed = self._open(self._stage)
        returned, position = state["returned"], state["position"]
        mine = [one["streams"] for one in state.get("under_way", []) if one.get("stage", 0) == self._stage]
        begun = [place for places in mine for place in places]
        self._feed.seek(min([position, *returned, *begun]))
        streams = self._read(self._feed, [*returned, *begun], position)  # once for all: it may take long
        self._returned = {place: streams[place] for place in returned}
        self._begun = {place: streams[place] for place in begun}
        self.pools.restore(state.get("pools", {}))
        self._met_again = state.get("met_again", False)

    def drawn(self, stage: int, places: Sequence[int], pools: Sequence[str] | None) -> list[Drawn]:
        """Return once more what was drawn in a stage, for a rollout that begins again.

        Args:
            pools: as they were then; None: not known, all new.
        """
        known = stage == self._stage and self._begun.keys() >= set(places)
        streams = self._begun if known else self._again(stage, places)
        named = pools if pools is not None else ["new"] * len(places)
        return [Drawn(place, streams[place], pool) for place, pool in zip(places, named, strict=True)]
