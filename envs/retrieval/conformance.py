"""The test that every retrieval must pass, ours or a plug-in's.

    from memrl.envs.retrieval.conformance import check_retrieval

    def test_my_retrieval() -> None:
        check_retrieval("my_package.my_module:MyIndex", {"my_option": 3})

An index is written, held and undone at random, and searched between. Whatever was done, it must rank as one does that
was only ever told what is held now. How a memory of each design fares with it, `memrl.envs.designs.conformance` tells.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

from memrl.envs.retrieval import Index, NewIndex, open_retrieval

TEXTS = (
    "Ann lives in Oslo.", "Ben moved to Rome in 2024-03-05.", "Ann Berg works as a baker.", "tea", "Ann met Ben.",
    "She bought a red boat because it was cheap.", "", "|", "名前はアンです", "안은 오슬로에 산다", "تعيش آن في أوسلو",
)  # fmt: skip
QUERIES = ("Where does Ann live?", "", "red tea", "Who met Ben?", "名前", "no such word")
_NAMES = "abcdefgh"


class IndexFault(AssertionError):
    """Something that an index does and must not, or does not and must. The message says what."""


def check_retrieval(name: str, options: Mapping[str, Any] | None = None, *, seeds: Sequence[int] = range(12)) -> None:
    """Put a retrieval through the whole test.

    Args:
        name: as `memory.retrieval` names it.
        seeds: one played index for each.

    Raises:
        IndexFault: it fails; the message says where, and with which seed.
        PluginError: there is no such retrieval, or it does not take its options.
    """
    new_index = open_retrieval(name, options or {})
    for seed in seeds:
        try:
            check_play(new_index, random.Random(f"retrieval/{seed}"))
        except IndexFault as error:
            raise IndexFault(f"{error} (seed {seed})") from error
        except Exception as error:
            raise IndexFault(f"it raises {type(error).__name__}: {error} (seed {seed})") from error


def check_play(new_index: NewIndex, chance: random.Random, steps: int = 8) -> None:
    """Write an index at random, looking at what it finds after each step.

    Raises:
        IndexFault: it fails.
    """
    index = new_index()
    held: dict[str, str] = {}
    for _ in range(steps):
        with _kept(index):
            before = dict(held)
            done = [_write(index, held, chance) for _ in range(chance.randint(1, 5))]
            if chance.random() < 0.5:
                _look(index, new_index, held)
            if chance.random() < 0.5:
                for undo in reversed(done):
                    undo()
                held = before
        if chance.random() < 0.7:
            _look(index, new_index, held)
    _look(index, new_index, held)


@contextmanager
def _kept(index: Index) -> Iterator[None]:
    index.hold()
    yield
    index.release()


def _write(index: Index, held: dict[str, str], chance: random.Random) -> Callable[[], None]:
    """Add an item or remove one. Returns what undoes it."""
    free = [name for name in _NAMES if name not in held]
    if held and (not free or chance.random() < 0.4):
        item_id = chance.choice(list(held))
        del held[item_id]
        return partial(index.put_back, index.remove(item_id))
    index.remove("no such item")
    item_id = chance.choice(free)
    held[item_id] = chance.choice(TEXTS)
    index.add(item_id, held[item_id])
    return partial(index.take_back, item_id)


def _look(index: Index, new_index: NewIndex, held: Mapping[str, str]) -> None:
    fresh = new_index()
    for item_id, text in held.items():
        fresh.add(item_id, text)
    for query in QUERIES:
        found = [item_id for item_id, _ in index.ranked(query)]
        if len(set(found)) != len(found):
            raise IndexFault(f"{query!r} finds an item twice: {found}")
        if not set(found) <= held.keys():
            raise IndexFault(f"{query!r} finds {sorted(set(found) - held.keys())}, which are not held")
        wanted = [item_id for item_id, _ in fresh.ranked(query)]
        if found != wanted:
            raise IndexFault(f"{query!r} finds {found}, and {wanted} in an index that was written afresh")
        if [item_id for item_id, _ in index.ranked(query, 1)] != found:
            raise IndexFault(f"{query!r} ranks otherwise where one item is wanted")
