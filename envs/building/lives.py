"""Words and sentences of made-up lives: who lives where, what changes, what happens, and what is only said."""
# ruff: noqa: SIM905 (word lists are read and edited as text)

from __future__ import annotations

from dataclasses import dataclass

NAMES = (
    "Ada Ben Cora Dan Eva Finn Gina Hugo Iris Jack Kira Leo Mara Nils Olga Paul Rosa Sam Tara Uma Vera Walt Yara Zoe "
    "Abel Bela Carl Dora Emil Fay Gus Hana Ivan Jane Kurt Lena Max Nora Otto Pia Ralf Sara Theo Ulla Vito Wanda Xena "
    "Yuri Zack Alma Boris Clara Dirk Elsa Felix Greta Henry Ida Jonas Klara"
).split()
CITIES = (
    "Oslo Paris Rome Berlin Madrid Lisbon Vienna Prague Dublin Athens Cairo Lima Tokyo Delhi Boston Denver Quebec "
    "Havana Geneva Naples Milan Porto Turin Ghent Leeds Bergen Malaga Tunis Kyoto Sydney"
).split()
JOBS = (
    "baker nurse pilot lawyer farmer tailor painter plumber teacher sailor butcher gardener writer dentist miner "
    "barber waiter banker driver judge chemist printer welder vet"
).split()
PETS = "cat dog parrot rabbit turtle hamster goat pony snake canary ferret lizard goose donkey frog mouse".split()
FOODS = (
    "tea coffee rice soup cheese honey bread mango grapes olives pasta salad curry fish cake lemons pears nuts beans "
    "yogurt cocoa plums figs toast"
).split()
DRINKS = "milk water juice cider lemonade soda wine beer punch sherry".split()
MUSIC = "piano violin flute guitar cello harp drums trumpet banjo organ oboe tuba".split()
TONGUES = (
    "French German Dutch Greek Polish Arabic Hindi Danish Korean Turkish Czech Latin Irish Thai Malay Zulu".split()
)
PLACES = (
    "museum castle harbor market library theater garden temple stadium bridge zoo palace forest lake beach island "
    "tower circus gallery chapel mill cave farm park"
).split()
THINGS = (
    "lamp watch bicycle camera ring carpet mirror kettle wallet scarf ladder hammer radio vase coat drum basket clock "
    "chair table phone tent kite sled"
).split()
QUALITIES = (
    "old new small heavy bright quiet dusty broken green yellow purple round narrow warm cold shiny strange plain wet "
    "soft noisy empty cheap tall"
).split()
HAPPENINGS = (
    "creaked rattled leaked sparkled wobbled tipped faded squeaked dripped glowed hummed rusted cracked slipped "
    "shook vanished"
).split()
MOODS = (
    "yawned smiled sneezed laughed frowned hummed waved shrugged blinked sighed coughed nodded whistled dozed".split()
)
PHRASES = ("again", "twice", "all day", "at noon", "for hours", "once more", "before lunch", "at dawn")
MONTHS = "January February March April May June July August September October November December".split()


@dataclass(frozen=True)
class Relation:
    """A kind of fact or event: how it is told, and how it is asked about."""

    key: str
    told: str
    value: tuple[str, ...]
    ask: str
    """The question whose answer is the value (facts) or the day (events)."""
    who: str | None = None
    """The question whose answer is the person."""
    changed: str | None = None
    """How a new value `v` is told, where the relation can change."""
    corrected: str | None = None
    """How it is told that the value was `v` and never `o`, which was said before."""
    ended: str | None = None
    """How it is told that nothing holds any more."""
    was: str | None = None
    """The question for the value on an earlier day `d`."""


FACTS = (
    Relation(
        "home",
        "{n} lives in {v}.",
        tuple(CITIES),
        "Where does {n} live?",
        "Who lives in {v}?",
        changed="{n} now lives in {v}.",
        corrected="{n} lives in {v}, not in {o}.",
        was="Where did {n} live on {d}?",
    ),
    Relation(
        "job",
        "{n} works as a {v}.",
        tuple(JOBS),
        "What does {n} work as?",
        "Who works as a {v}?",
        changed="{n} now works as a {v}.",
        corrected="{n} works as a {v}, not as a {o}.",
        was="What did {n} work as on {d}?",
    ),
    Relation(
        "pet",
        "{n} owns a {v}.",
        tuple(PETS),
        "Which pet does {n} own?",
        "Who owns a {v}?",
        changed="{n} now owns a {v}.",
        corrected="{n} owns a {v}, not a {o}.",
        ended="{n} no longer owns a {v}.",
        was="Which pet did {n} own on {d}?",
    ),
    Relation(
        "taste",
        "{n} likes {v}.",
        tuple(FOODS),
        "What does {n} like?",
        "Who likes {v}?",
        changed="{n} now likes {v}.",
        corrected="{n} likes {v}, not {o}.",
        ended="{n} no longer likes {v}.",
        was="What did {n} like on {d}?",
    ),
    Relation(
        "music",
        "{n} plays the {v}.",
        tuple(MUSIC),
        "What does {n} play?",
        "Who plays the {v}?",
        corrected="{n} plays the {v}, not the {o}.",
        ended="{n} no longer plays the {v}.",
    ),
    Relation(
        "tongue",
        "{n} speaks {v}.",
        tuple(TONGUES),
        "Which language does {n} speak?",
        "Who speaks {v}?",
        corrected="{n} speaks {v}, not {o}.",
        ended="{n} no longer speaks {v}.",
    ),
)
EVENTS = (
    Relation("visit", "{n} visited the {v}.", tuple(PLACES), "When did {n} visit the {v}?", "Who visited the {v}?"),
    Relation("purchase", "{n} bought a {v}.", tuple(THINGS), "When did {n} buy a {v}?", "Who bought a {v}?"),
    Relation("meeting", "{n} met {v}.", tuple(NAMES), "When did {n} meet {v}?"),
    Relation("loss", "{n} lost a {v}.", tuple(THINGS), "When did {n} lose a {v}?", "Who lost a {v}?"),
)
COUNTED = Relation(
    "coins",
    "{n} earned {v} coins.",
    tuple(str(number) for number in range(1, 13)),
    "How many coins did {n} earn?",
)
"""A ledger: what is told adds up, and the question is for the sum."""
MOST = 100
"""A sum does not grow above this."""
HABIT = Relation("drink", "{n} drinks {v}.", tuple(DRINKS), "What does {n} drink?")
OCCASIONS = ("with guests", "on Sundays", "at work", "after dinner")
EXCEPTION = ("{n} drinks {v} {when}.", "What does {n} drink {when}?")
"""A preference for an occasion, which overrides the general one there, and how it is asked for."""
CHATTER = (
    "The {quality} {thing} {happening} {when}.",
    "{n} {mood} {when}.",
    "{n} looked at the {quality} {thing}.",
    "The {place} was {quality} {when}.",
    "{n} {mood} near the {place}.",
    "Somebody moved the {quality} {thing}.",
    "{n} talked about {food} {when}.",
    "People in {city} talked about the {place}.",
)
