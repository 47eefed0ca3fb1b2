"""Places of requests: who comes first in a batch, and whose episode has which seed (law 7)."""

from __future__ import annotations

import random

from memrl.engines.engine import ANYWHERE, Place
from memrl.rollout.worker import episode_seed, group_seed, request_seed


def test_places_are_in_the_order_of_steps_streams_episodes_stages_and_requests() -> None:
    episode = Place(3, 2, 1)
    ordered = [
        Place(Place.ATTACKS).under(0),
        Place(Place.CANARIES).under(0),
        Place(Place.EVALUATION, 7),
        ANYWHERE,
        Place(3, 2, 0).at(9).under(9, 9),
        episode,
        episode.at(1),
        episode.at(1).under(0),
        episode.at(1).under(0).under(1, 0),
        episode.at(1).under(1),
        episode.at(2),
        Place(3, 3),
        Place(4),
    ]
    mixed = random.Random(0).sample(ordered, len(ordered))
    assert sorted(mixed) == ordered
    assert episode.at(1).under(4).at(2) == Place(3, 2, 1, 2), "another stage begins to count anew"


def test_a_seed_is_of_an_episode_and_not_of_a_request() -> None:
    place = Place(3, 2, 1)
    assert episode_seed(7, place) == episode_seed(7, place.at(4).under(2)) == request_seed(7, 3, 2, 1)
    others = [episode_seed(7, other) for other in (Place(2, 2, 1), Place(3, 1, 1), Place(3, 2, 2))]
    assert len({episode_seed(7, place), episode_seed(8, place), *others}) == 5


def test_the_episodes_of_a_group_share_a_seed_that_is_the_runs() -> None:
    assert group_seed(7, Place(3, 2, 0)) == group_seed(7, Place(3, 2, 1).at(4))
    assert len({group_seed(7, Place(3, 2)), group_seed(8, Place(3, 2)), group_seed(7, Place(3, 1))}) == 3
