"""Rules that can be taught in a sentence: over words, over lists of numbers, over amounts, and of what to do in a game.

A rule is some steps, one after the other, in words that say all of it. What a rule *is* is what it does: two that do
the same to all probes are one, whatever their words, and lie on the same side of train and eval.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from memrl.envs.building.splitting import Split, in_split

EVAL_SHARE = 0.4
MOST_STEPS = 3
_SHORTEST, _LONGEST = 3, 14
"""Letters of a word that a rule may make."""
_MOST_NUMBERS, _GREATEST = 8, 9999
"""Numbers of a list, and the greatest number, that a rule may make."""
_VOWELS = "aeiou"


@dataclass(frozen=True)
class RuleStep:
    """One thing that is done, in words, and to a value that is not empty."""

    words: str
    act: Callable[[Any], Any]


@dataclass(frozen=True)
class Rule:
    """Some steps in their order."""

    steps: tuple[RuleStep, ...]
    fits: Callable[[Any], bool]
    """Whether a result is neither too short nor too long to be asked for."""

    @property
    def words(self) -> str:
        """The whole rule, as it is taught."""
        return ", then ".join(step.words for step in self.steps)

    def apply(self, given: Any) -> Any:
        """Return what the rule makes of a value; None where it makes nothing that can be asked for."""
        made = self.without_bounds(given)
        return made if made is not None and self.fits(made) else None

    def without_bounds(self, given: Any) -> Any:
        """Return what the rule makes of a value, however long; None where a step is left with nothing."""
        for number, step in enumerate(self.steps):
            if number and not given:
                return None
            given = step.act(given)
        return given or None


def rules(domain: str, steps: int, split: Split | None = None) -> tuple[Rule, ...]:
    """Return the rules of a domain that have so many steps and that no shorter one replaces.

    Args:
        domain: a key of `STEPS`.
        steps: 1 to `MOST_STEPS`.
        split: those of this side alone; None: of both.
    """
    return _divided(domain, steps, split)


@cache
def _divided(domain: str, steps: int, split: Split | None) -> tuple[Rule, ...]:
    return tuple(rule for key, rule in _found(domain, steps) if in_split(f"{domain}:{key}", split, EVAL_SHARE))


@cache
def _found(domain: str, steps: int) -> tuple[tuple[str, Rule], ...]:
    """Return what each rule does, and the rule."""
    known = {key for fewer in range(1, steps) for key, _ in _found(domain, fewer)}
    found: dict[str, Rule] = {}
    for some in itertools.permutations(STEPS[domain], steps):
        rule = Rule(some, _FITS[domain])
        key = _deeds(domain, rule)
        if key and key not in known:
            found.setdefault(key, rule)
    return tuple(found.items())


def _deeds(domain: str, rule: Rule) -> str:
    """Return what a rule does to the probes; nothing where most of them stay as they are, or cannot be changed."""
    if domain == "game":
        return rule.words
    made = [(probe, rule.without_bounds(probe)) for probe in _PROBES[domain]]
    changed = sum(result not in (None, probe) for probe, result in made)
    return repr([result for _, result in made]) if 2 * changed > len(made) else ""


# Words -----------------------------------------------------------------------------------------------------------


def _vowels_as(vowel: str) -> Callable[[str], str]:
    return lambda word: "".join(vowel if letter in _VOWELS else letter for letter in word)


def _between(start: str, end: str) -> Callable[[str], str]:
    return lambda word: f"{start}{word}{end}"


_WORD_ACTS: dict[str, Callable[[str], str]] = {
    "reverse it": lambda word: word[::-1],
    "drop its first letter": lambda word: word[1:],
    "drop its last letter": lambda word: word[:-1],
    "double its first letter": lambda word: word[0] + word,
    "double its last letter": lambda word: word + word[-1],
    "move its first letter to the end": lambda word: word[1:] + word[0],
    "move its last letter to the front": lambda word: word[-1] + word[:-1],
    "swap its first and its last letter": lambda word: word[-1] + word[1:-1] + word[0] if len(word) > 1 else word,
    "leave out its vowels": lambda word: "".join(letter for letter in word if letter not in _VOWELS),
    "keep its first, third, fifth letter and so on": lambda word: word[::2],
    "write it twice": lambda word: word + word,
    **{f"put {vowel} in the place of each vowel": _vowels_as(vowel) for vowel in "oui"},
    **{f"add {end} at its end": _between("", end) for end in ("ka", "um", "esh")},
    **{f"put {start} before it": _between(start, "") for start in ("ze", "mo", "tri")},
}


# Lists -----------------------------------------------------------------------------------------------------------

Numbers = tuple[int, ...]


def _plus(more: int) -> Callable[[Numbers], Numbers]:
    return lambda some: tuple(number + more for number in some)


def _above(bound: int) -> Callable[[Numbers], Numbers]:
    return lambda some: tuple(number for number in some if number > bound)


_LIST_ACTS: dict[str, Callable[[Numbers], Numbers]] = {
    "reverse it": lambda some: some[::-1],
    "sort it upwards": lambda some: tuple(sorted(some)),
    "sort it downwards": lambda some: tuple(sorted(some, reverse=True)),
    "drop its first number": lambda some: some[1:],
    "drop its last number": lambda some: some[:-1],
    "move its first number to the end": lambda some: some[1:] + some[:1],
    "move its last number to the front": lambda some: some[-1:] + some[:-1],
    "swap its first and its last number": lambda some: (some[-1], *some[1:-1], some[0]) if len(some) > 1 else some,
    "double each of its numbers": lambda some: tuple(2 * number for number in some),
    "keep its even numbers only": lambda some: tuple(number for number in some if number % 2 == 0),
    "keep its odd numbers only": lambda some: tuple(number for number in some if number % 2),
    "add its sum at the end": lambda some: (*some, sum(some)),
    "put its greatest number before it": lambda some: (max(some), *some),
    "add its least number at the end": lambda some: (*some, min(some)),
    "put the count of its numbers before it": lambda some: (len(some), *some),
    **{f"add {more} to each of its numbers": _plus(more) for more in (3, 5, 10)},
    **{f"keep its numbers above {bound} only": _above(bound) for bound in (9, 15)},
}


# Amounts ---------------------------------------------------------------------------------------------------------


def _times(factor: int) -> Callable[[int], int]:
    return lambda amount: amount * factor


def _more(more: int) -> Callable[[int], int]:
    return lambda amount: amount + more


_AMOUNT_ACTS: dict[str, Callable[[int], int]] = {
    **{f"multiply by {factor}": _times(factor) for factor in (2, 3, 4, 5, 6, 7, 8, 9, 12, 15, 20)},
    **{f"add {more}": _more(more) for more in (1, 2, 3, 4, 5, 6, 8, 10, 15, 25)},
}


# A game ----------------------------------------------------------------------------------------------------------

_DEEDS = (
    "ring the bell", "light the lamp", "sing a song", "throw the salt", "turn the silver key", "pour out the oil",
    "bow three times", "hold up the mirror", "whistle", "close your eyes", "offer the bread", "knock twice",
    "wave the red cloth", "drop the coin", "walk backwards", "blow the horn",
)  # fmt: skip


def _done(deed: str) -> Callable[[tuple[str, ...]], tuple[str, ...]]:
    return lambda done: (*done, deed)


def _steps(acts: Mapping[str, Callable[[Any], Any]]) -> tuple[RuleStep, ...]:
    return tuple(RuleStep(words, act) for words, act in acts.items())


STEPS = {
    "strings": _steps(_WORD_ACTS),
    "lists": _steps(_LIST_ACTS),
    "units": _steps(_AMOUNT_ACTS),
    "game": _steps({deed: _done(deed) for deed in _DEEDS}),
}
"""The steps that rules are made of, by domain. A value is a word, a tuple of numbers, a number; in the game it is what
has been done so far, whatever the situation."""
_FITS: dict[str, Callable[[Any], bool]] = {
    "strings": lambda word: _SHORTEST <= len(word) <= _LONGEST,
    "lists": lambda some: 2 <= len(some) <= _MOST_NUMBERS and max(some) <= _GREATEST,
    "units": lambda amount: amount <= _GREATEST,
    "game": lambda done: True,
}
_PROBES: dict[str, tuple[Any, ...]] = {
    "strings": ("lantern", "apple", "river", "mirror", "eagle", "trumpet", "onions", "silk"),
    "lists": (
        (4, 17, 9, 22),
        (12, 5, 30, 8, 11),
        (7, 3, 16),
        (25, 14, 6, 19, 2),
        (10, 28, 13, 21),
        (1, 18, 24, 15, 20),
    ),
    "units": (1, 2, 7, 31),
}
