"""Iterative retrieval: several rounds, each of which asks with what the one before has found.

So an answer is reached that shares no word with the question, over an item that shares some with both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any, TypeVar

from memrl.envs.errors import PluginError
from memrl.envs.retrieval import WANTED, open_retrieval
from memrl.envs.retrieval.layers import Texts, Together

Found = TypeVar("Found")
FIRST, EACH, ROUNDS = 2, 8, 2


def in_rounds(
    search: Callable[[str], Iterator[Found]],
    told: Callable[[Found], str],
    name: Callable[[Found], str],
    query: str,
    *,
    rounds: int = ROUNDS,
    first: int = FIRST,
    each: int = EACH,
) -> Iterator[Found]:
    """Yield what a query finds and what that leads to, each once: the first few of the first round, what each further
    round finds, then the others of the first.

    Args:
        search: finds things for a text, best first.
        told: returns the text of a thing, with which a further round asks.
        name: returns what a thing is known by.
        rounds: searches that are made.
        first: things of a round with which the next one asks; those that were asked with are not asked with again.
        each: things that a further round finds.
    """
    given: set[str] = set()

    def new(things: Iterator[Found]) -> Iterator[Found]:
        for thing in things:
            if name(thing) not in given:
                given.add(name(thing))
                yield thing

    others = search(query)
    begun = list(islice(others, first))
    leads = list(new(iter(begun)))
    yield from leads
    asked = query
    for _ in range(rounds - 1):
        if not leads:
            break
        asked = " ".join([asked, *map(told, leads)])
        round_found = list(new(islice(search(asked), each)))
        yield from round_found
        leads = round_found[:first]
    yield from new(others)


class IterativeIndex(Together):
    """Items that another retrieval finds in several rounds.

    Args:
        of: the other retrieval, `of_options`: its options.
        rounds: searches that are made for a query.
        first: items of a round with which the next one asks.
        each: items that a further round finds.

    Raises:
        PluginError: the other retrieval is unknown or does not take its options, or a number is below 1.
    """

    def __init__(
        self,
        of: str = "bm25",
        of_options: Mapping[str, Any] | None = None,
        rounds: int = ROUNDS,
        first: int = FIRST,
        each: int = EACH,
    ) -> None:
        if min(rounds, first, each) < 1:
            raise PluginError(f"rounds is {rounds}, first {first} and each {each}; they must be at least 1")
        self._texts = Texts()
        self._found = open_retrieval(of, of_options or {})()
        super().__init__(self._found, self._texts)
        self._sizes = {"rounds": rounds, "first": first, "each": each}

    def ranked(self, query: str, wanted: int = WANTED) -> Iterator[tuple[str, float]]:
        return in_rounds(
            lambda asked: self._found.ranked(asked, wanted),
            lambda found: self._texts[found[0]],
            lambda found: found[0],
            query,
            **self._sizes,
        )
