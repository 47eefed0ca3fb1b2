"""Words of solved tasks, domain by domain: what is asked, what is learned of a rule, and what is only said beside it.

The first half of each list of phrasings is for training, the second for evaluation, and words to work on and places
are divided by what they are. `{n}` is the name of a skill, `{t}` the unit that it leads to, `{x}` what it is applied
to, `{y}` what comes of that, `{s}` the steps of a rule, `{c}` when an exception holds, `{m}` a second skill.
"""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from memrl.envs.building.rules import EVAL_SHARE
from memrl.envs.building.splitting import Split, in_split
from memrl.envs.building.talk import values

WORDS = (
    "anchor angel apron autumn banana barrel basket beacon blanket border bottle branch breeze bridge button "
    "cabin camera candle canyon carpet castle cobweb circle cloud coffee copper corner cotton desert dragon eagle "
    "earth elbow emerald engine evening fabric falcon feather fiddle finger flower forest friend garden ginger "
    "guitar hammer harbor hazel helmet honey ignite insect island ivory jacket jungle kettle kernel ladder "
    "lantern lemon lettuce lobster magnet maple marble market meadow mitten monkey morning mountain needle nectar "
    "oasis ocean office olive onion orange orchard organ oyster paddle parrot pebble pencil pepper pillow planet "
    "pocket potato prism puzzle quiver rabbit ribbon river rocket saddle salmon shadow sugar spider spring "
    "statue stone summer tailor temple thunder ticket timber travel trumpet tunnel turtle umbrella uncle velvet "
    "village violin walnut window winter yellow zebra"
).split()
PLACES = (
    "in the cellar", "in the north tower", "on the rope bridge", "by the well", "in the library", "at the harbor",
    "in the old mill", "on the stairs", "in the orchard", "behind the chapel", "in the mine", "on the roof",
    "in the kitchen", "at the ford", "in the maze", "by the gate", "in the crypt", "on the pier",
)  # fmt: skip
WEATHERS = ("by day", "at night", "in the rain", "in the fog", "in the snow", "at dawn")
BEGINNINGS = "b br d dr f fl g gr k kl l m n p pl r s sk t tr v w z".split()
MIDDLES = "a e i o u".split()
ENDS = "b d dge f g k l lm m mp n nd p r rn sh sk t v x z".split()


@dataclass(frozen=True)
class Given:
    """The value that a task is about, and its words in the task."""

    value: Any
    words: str


@dataclass(frozen=True)
class Condition:
    """The circumstances in which an exception holds."""

    words: str
    holds: Callable[[Given], bool]


@dataclass(frozen=True)
class Domain:
    """A kind of skills, and how they are spoken of."""

    name: str
    label: str
    """A skill where it is only mentioned."""
    told: tuple[str, ...]
    changed: tuple[str, ...]
    excepted: tuple[str, ...]
    unknown: tuple[str, ...]
    solved: tuple[str, ...]
    ask: tuple[str, ...]
    chained: tuple[str, ...]
    """Asks for two skills, one after the other."""
    conditions: tuple[Condition, ...]
    draw: Callable[[random.Random, Split | None], Given]


def shown(value: Any) -> str:
    """Return a value as it stands in a text."""
    if isinstance(value, tuple):
        return (", then " if isinstance(value[0], str) else ", ").join(map(str, value))
    return str(value)


def golds(value: Any) -> tuple[str, ...]:
    """Return the accepted answers where a value is asked for."""
    deeds = isinstance(value, tuple) and isinstance(value[0], str)
    return (shown(value), ", ".join(value)) if deeds and len(value) > 1 else (shown(value),)


def made_up(rng: random.Random, split: Split | None, used: set[str]) -> str:
    """Return a word that nobody has used, and add it to `used`; it grows where the short ones are used up."""
    syllables, tries = 2, 0
    while True:
        tries += 1
        parts = [rng.choice(BEGINNINGS) + rng.choice(MIDDLES) for _ in range(syllables - 1)]
        name = "".join(parts) + rng.choice(BEGINNINGS) + rng.choice(MIDDLES) + rng.choice(ENDS)
        if name not in used and in_split(name, split, EVAL_SHARE):
            used.add(name)
            return name
        syllables += tries % 50 == 0


def plural(name: str) -> str:
    """Return several of a made-up thing."""
    return f"{name}es" if name.endswith(("sh", "x", "z")) else f"{name}s"


def _word(rng: random.Random, split: Split | None) -> Given:
    word = rng.choice(values(WORDS, split))
    return Given(word, word)


def _list(rng: random.Random, split: Split | None) -> Given:
    some = tuple(rng.sample(range(1, 31), rng.randint(3, 6)))
    return Given(some, shown(some))


def _amount(rng: random.Random, split: Split | None) -> Given:
    amount = rng.randint(2, 40)
    return Given(amount, str(amount))


def _encounter(rng: random.Random, split: Split | None) -> Given:
    return Given((), f"{rng.choice(values(PLACES, split))} {rng.choice(WEATHERS)}")


def _weather(words: str) -> Condition:
    return Condition(words, lambda given: given.words.endswith(words))


DOMAINS = {
    "strings": Domain(
        "strings",
        "the {n} form",
        told=(
            "For the {n} form of a word, {s}.", "The {n} form of a word is made like this: {s}.",
            "Whoever wants the {n} form of a word must {s}.", "To bring a word into the {n} form, {s}.",
        ),
        changed=(
            "The {n} form of a word has changed: from now on, {s}.",
            "For the {n} form of a word, do no more as before: {s}.",
            "These days, whoever wants the {n} form of a word must {s}.",
            "There is a new way to bring a word into the {n} form: {s}.",
        ),
        excepted=(
            "For the {n} form of a word {c}, {s} instead.",
            "The {n} form has an exception: with a word {c}, {s} instead.",
            "Whoever wants the {n} form of a word {c} must {s} instead.",
            "To bring a word {c} into the {n} form, {s} instead.",
        ),
        unknown=(
            "How the {n} form is made is not known.", "Nobody could say what the {n} form is.",
            "It did not come out how to make the {n} form.", "The {n} form stays a riddle.",
        ),
        solved=("The {n} form of {x} is {y}.", "In the {n} form, {x} becomes {y}."),
        ask=(
            "What is the {n} form of {x}?", "Give the {n} form of {x}.",
            "How does {x} look in the {n} form?", "Bring {x} into the {n} form.",
        ),
        chained=(
            "What is the {m} form of the {n} form of {x}?", "Give the {m} form of the {n} form of {x}.",
            "How does the {n} form of {x} look in the {m} form?", "Bring the {n} form of {x} into the {m} form.",
        ),
        conditions=(
            Condition("that begins with a vowel", lambda given: given.value[0] in "aeiou"),
            Condition("of more than six letters", lambda given: len(given.value) > 6),
            Condition("that ends in a vowel", lambda given: given.value[-1] in "aeiou"),
            Condition("with a double letter", lambda given: any(map(str.__eq__, given.value, given.value[1:]))),
        ),
        draw=_word,
    ),
    "lists": Domain(
        "lists",
        "the {n} version",
        told=(
            "For the {n} version of a list, {s}.", "The {n} version of a list is made like this: {s}.",
            "Whoever wants the {n} version of a list must {s}.", "To bring a list into the {n} version, {s}.",
        ),
        changed=(
            "The {n} version of a list has changed: from now on, {s}.",
            "For the {n} version of a list, do no more as before: {s}.",
            "These days, whoever wants the {n} version of a list must {s}.",
            "There is a new way to bring a list into the {n} version: {s}.",
        ),
        excepted=(
            "For the {n} version of a list {c}, {s} instead.",
            "The {n} version has an exception: with a list {c}, {s} instead.",
            "Whoever wants the {n} version of a list {c} must {s} instead.",
            "To bring a list {c} into the {n} version, {s} instead.",
        ),
        unknown=(
            "How the {n} version is made is not known.", "Nobody could say what the {n} version is.",
            "It did not come out how to make the {n} version.", "The {n} version stays a riddle.",
        ),
        solved=("The {n} version of {x} is {y}.", "In the {n} version, {x} becomes {y}."),
        ask=(
            "What is the {n} version of the list {x}?", "Give the {n} version of the list {x}.",
            "How does the list {x} look in the {n} version?", "Bring the list {x} into the {n} version.",
        ),
        chained=(
            "What is the {m} version of the {n} version of the list {x}?",
            "Give the {m} version of the {n} version of the list {x}.",
            "How does the {n} version of the list {x} look in the {m} version?",
            "Bring the {n} version of the list {x} into the {m} version.",
        ),
        conditions=(
            Condition("of more than four numbers", lambda given: len(given.value) > 4),
            Condition("that begins with an even number", lambda given: given.value[0] % 2 == 0),
            Condition("that ends with a number above twenty", lambda given: given.value[-1] > 20),
            Condition("whose first number is its greatest", lambda given: given.value[0] == max(given.value)),
        ),
        draw=_list,
    ),
    "units": Domain(
        "units",
        "{n}",
        told=(
            "To turn {n} into {t}, {s}.", "From {n} one gets to {t} like this: {s}.",
            "Whoever wants {t} for {n} must {s}.", "For the number of {t} in {n}, {s}.",
        ),
        changed=(
            "The rate of {n} has changed: to turn them into {t}, {s} from now on.",
            "From {n} one no longer gets to {t} as before: {s}.",
            "These days, whoever wants {t} for {n} must {s}.",
            "There is a new way to the number of {t} in {n}: {s}.",
        ),
        excepted=(
            "To turn {c} {n} into {t}, {s} instead.", "From {c} {n} one gets to {t} in another way: {s}.",
            "Whoever wants {t} for {c} {n} must {s} instead.", "For the number of {t} in {c} {n}, {s} instead.",
        ),
        unknown=(
            "How to turn {n} into {t} is not known.", "Nobody could say how one gets from {n} to {t}.",
            "It did not come out how many {t} there are in {n}.", "Between {n} and {t}, the rate stays a riddle.",
        ),
        solved=("{x} {n} are {y} {t}.", "For {x} {n} there were {y} {t}."),
        ask=(
            "How many {t} are {x} {n}?", "Turn {x} {n} into {t}.",
            "How many {t} does one get for {x} {n}?", "What are {x} {n} in {t}?",
        ),
        chained=(
            "How many {t} are {x} {n}?", "Turn {x} {n} into {t}.",
            "How many {t} does one get for {x} {n}?", "What are {x} {n} in {t}?",
        ),
        conditions=(
            Condition("more than 20", lambda given: given.value > 20),
            Condition("fewer than 12", lambda given: given.value < 12),
            Condition("an odd number of", lambda given: given.value % 2 == 1),
        ),
        draw=_amount,
    ),
    "game": Domain(
        "game",
        "the {n}",
        told=(
            "To get past a {n}, {s}.", "A {n} lets you pass if you {s}.",
            "When a {n} bars the way, {s}.", "Against a {n} it helps to {s}.",
        ),
        changed=(
            "A {n} is no longer passed as before: from now on, {s}.",
            "The old way past a {n} fails; to get past it, {s}.",
            "Now, when a {n} bars the way, {s}.", "Against a {n} it helps these days to {s}.",
        ),
        excepted=(
            "To get past a {n} {c}, {s} instead.", "A {n} {c} lets you pass only if you {s}.",
            "When a {n} bars the way {c}, {s} instead.", "Against a {n} {c} it helps to {s}.",
        ),
        unknown=(
            "How to get past a {n} is not known.", "Nobody could say what gets one past a {n}.",
            "It did not come out what helps against a {n}.", "The {n} stays a riddle.",
        ),
        solved=("A {n} {x} was passed like this: {y}.", "What helped against a {n} {x} was this: {y}."),
        ask=(
            "A {n} bars your way {x}. What do you do?", "You meet a {n} {x}. What gets you past it?",
            "You come upon a {n} {x}. How do you get past it?", "A {n} waits {x}. What do you do to pass?",
        ),
        chained=(
            "A {n} bars your way {x}, and behind it a {m}. What do you do, in order?",
            "You meet a {n} {x}, and then a {m}. What gets you past both, in order?",
            "You come upon a {n} {x}, and upon a {m} after it. How do you get past both, in order?",
            "A {n} waits {x}, and a {m} behind it. What do you do to pass both, in order?",
        ),
        conditions=tuple(map(_weather, WEATHERS)),
        draw=_encounter,
    ),
}  # fmt: skip
"""By name; the steps of their rules are in `rules.STEPS`."""

RIGHT = ("That was right.", "It was solved at once.", "The answer was accepted.", "Well done.")
WRONG = (
    "That was wrong, the right answer is: {y}.", "It failed, since the right answer is: {y}.",
    "The answer was refused, it should have been: {y}.", "Not so, it had to be: {y}.",
)  # fmt: skip
FAILED = ("That was wrong.", "It failed.", "The answer was refused.", "Not so.")
REMARKS = (
    "{p} had asked about {l} before.", "{p} was fast with {l} today.",
    "{p} took a break after {l}.", "Yesterday {p} had talked about {l}.",
)  # fmt: skip
EVERYDAY = (
    ("Add {a} and {b}.", "What is the sum of {a} and {b}?"),
    ("Which is more, {a} or {b}?", "Name the greater one of {a} and {b}."),
    ("Spell {w} in capitals.", "Write {w} in capitals."),
    ("How many letters has {w}?", "Count the letters of {w}."),
)
"""Tasks that need no learning: a sum, the greater number, capitals, a count."""
CARELESS = (
    "Next time, read the task twice.", "A short pause helps against such slips.",
    "It pays to check once more before the answer.", "Haste was to blame.",
)  # fmt: skip
"""What is learned where nothing is."""
